# athena's policy decides about unpacked mail: relay refused, access map REJECT, 450, DISCARD, content milter, unknown users.
inbox_clear hub alice
mark=$(log_mark athena)
on athena bash -c 'printf "rejected@domain.com REJECT sender refused by access map\nlater@domain.com 450 4.7.1 come back later\ndiscarded@domain.com DISCARD\nclosed@domain.co.uk REJECT recipient refused by access map\n" >/etc/postfix/access; postmap /etc/postfix/access'
for who in rejected later discarded; do pc_send hub --from "$who@domain.com" --to user@domain.co.uk --id "policy-$who" >/dev/null; done
pc_send hub --from alice@domain.com --to closed@domain.co.uk --to user@domain.co.uk --id policy-closed >/dev/null
# Relaying: hub's own admin tries to use athena as a relay; athena's bsmtp-in knows remote domains only by recipient-domains.
local_send hub alice@domain.com 'victim%example.org@remote1.bsmtp.invalid' policy-relay
pc_send hub --from alice@domain.com --to user@domain.co.uk --id policy-content --body REJECT-AT-athena >/dev/null
pc_send hub --from alice@domain.com --to user@domain.co.uk --id policy-innocent >/dev/null
check_soon 40 "innocent mail of the same batch arrives" inbox_grep athena user '^X-Rig-Id: policy-innocent$'
check_soon 30 "the other recipient of a half-refused message arrives" inbox_grep athena user '^X-Rig-Id: policy-closed$'
check_soon 30 "REJECT by sender was said on the listener" log_has athena "$mark" 'bsmtp-resubmit/smtpd.*reject: .*554 5.7.1 .*sender refused by access map'
check_soon 10 "450 by sender was said on the listener" log_has athena "$mark" 'bsmtp-resubmit/smtpd.*450 4.7.1 .*come back later'
check_soon 10 "DISCARD was honoured" log_has athena "$mark" 'bsmtp-resubmit/smtpd.*discard: '
check_soon 30 "content milter refused one message of the batch" log_has athena "$mark" 'milter-reject.*5.7.1 content refused by testmilter'
check_soon 40 "its sender gets a DSN that says so" inbox_grep hub alice 'content refused by testmilter'
check_soon 40 "the refused recipient is in a DSN" inbox_grep hub alice 'Final-Recipient: *rfc822; *closed@domain.co.uk'
check_soon 40 "relaying through the tunnel is refused with a DSN" inbox_grep hub alice 'Final-Recipient: *rfc822; *victim@example.org'
check_not "the victim got nothing" on wan grep -rlq '^X-Rig-Id: policy-relay' /var/tmp/sink
check_not "refused and discarded mail did not arrive" bash -c "grep -rlE '^X-Rig-Id: policy-(rejected|discarded|content)' '$(maildir athena user)'"
check "the 450 message waits in deferred/" on athena bash -c 'find /var/spool/bsmtp/inbound/deferred /var/spool/bsmtp/inbound/accepted -type f | grep -q .'
on athena bash -c ': >/etc/postfix/access; postmap /etc/postfix/access'
check_soon 60 "when the map relents it arrives" inbox_grep athena user '^X-Rig-Id: policy-later$'
check_equal "and only once" 1 "$(grep -rlE '^X-Rig-Id: policy-later$' "$(maildir athena user)" | wc -l)"

# With recipient-domains = * the listener alone decides about relaying.
on athena bash -c 'sed -i.kept "s/^recipient-domains = .*/recipient-domains = */" /etc/bsmtp/peers.d/hub.conf; systemctl reload bsmtp-dispatch'
mark=$(log_mark athena)
local_send hub alice@domain.com 'victim2%example.org@remote1.bsmtp.invalid' policy-relay-2
local_send hub alice@domain.com '"victim3%example.org"%domain.co.uk@remote1.bsmtp.invalid' policy-relay-3
check_soon 40 "the listener refuses to relay" log_has athena "$mark" 'bsmtp-resubmit/smtpd.*reject: .*554 5.7.1 <victim2@example.org>: Relay access denied'
check_soon 40 "and the sender is told" inbox_grep hub alice 'Final-Recipient: *rfc822; *victim2@example.org'
on athena bash -c 'mv /etc/bsmtp/peers.d/hub.conf.kept /etc/bsmtp/peers.d/hub.conf; systemctl reload bsmtp-dispatch'
check_not "no victim got anything" on wan grep -rlqE '^X-Rig-Id: policy-relay' /var/tmp/sink

# 60 unknown users in one parcel: no error limit of the listener ends the session, each sender is told once.
stop hub bsmtp-dispatch
for n in $(seq 60); do echo "--to nobody$n@domain.co.uk"; done | xargs -n 40 "$SYSTEM_DIR/on" wan /rig/mail.py send --server "${IP[hub]}" --source "${PC[hub]}" --from bob@domain.com --id policy-unknown >/dev/null
for n in $(seq 20); do pc_send hub --from bob@domain.com --to "user@domain.co.uk" --id "policy-after-$n" >/dev/null; done
inbox_clear hub bob
start hub bsmtp-dispatch
check_soon 60 "mail behind 60 unknown users arrives" inbox_grep athena user '^X-Rig-Id: policy-after-20$'
check_soon 60 "the sender is told about the last unknown user" inbox_grep hub bob 'Final-Recipient: *rfc822; *nobody60@domain.co.uk'
check_soon 60 "idle" tunnel_idle
told() { cat "$(maildir hub bob)"/* | grep -ciE '^Final-Recipient: *rfc822; *nobody[0-9]+@domain.co.uk'; }
all_told() { [ "$(told)" -ge 60 ]; }
wait_for 30 "all reports" all_told
sleep 1  # one too many would come with the others
check_equal "every unknown user is reported exactly once" 60 "$(told)"

# A milter before ours tempfails one of two recipients: the client keeps that one, the other is delivered.
pc_send hub --from alice@domain.com --to later@domain.co.uk --to user@domain.co.uk --id policy-451 >"$RIG_RUN/451.out"
check "an earlier milter's 451 for one recipient reaches the client" grep -q '^451 .*later@domain.co.uk' "$RIG_RUN/451.out"
check "the other recipient is taken" grep -qE '^250 +user@domain.co.uk' "$RIG_RUN/451.out"
check_soon 30 "and arrives" inbox_grep athena user '^X-Rig-Id: policy-451$'
check_equal "the refused one was not diverted" "" "$(mail_log hub | grep 'later%domain.co.uk@remote1')"

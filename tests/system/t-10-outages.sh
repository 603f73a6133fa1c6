# Each process dead in turn, and each host MTA down for a while: what happens to tunneled and to unrelated mail.
arrives() { check_soon 60 "$1 arrives" inbox_grep athena user "^X-Rig-Id: $1\$"; }
once() { check_equal "$1 exactly once" 1 "$(grep -rlE "^X-Rig-Id: $1\$" "$(maildir athena user)" | wc -l)"; }
outside() { wait_for 20 "$1" on wan grep -rlq "^X-Rig-Id: $1" /var/tmp/sink; }

say "  bsmtp-milter dead"
kill9 hub bsmtp-milter
pc_send hub --from alice@domain.com --to user@domain.co.uk --id out-milter-1 >"$RIG_RUN/o" 2>&1
check "tunneled mail is asked to come back later (4xx)" grep -q '^4' "$RIG_RUN/o"
pc_send hub --from alice@domain.com --to x@example.org --id out-milter-2 >"$RIG_RUN/o" 2>&1
check "so is other mail of port 25, and nothing is bounced" grep -q '^4' "$RIG_RUN/o"
local_send hub alice@domain.com user@domain.co.uk out-milter-3
sleep 2
check "local submission waits in maildrop" on hub bash -c 'find /var/spool/postfix/maildrop /var/spool/postfix/incoming -type f | grep -q .'
check_not "and did not arrive" inbox_grep athena user '^X-Rig-Id: out-milter-3$'
start hub bsmtp-milter
on hub postfix flush
arrives out-milter-3
check "after the restart mail is taken" pc_send hub --from alice@domain.com --to user@domain.co.uk --id out-milter-4
arrives out-milter-4

say "  bsmtp-dispatch dead (hub)"
kill9 hub bsmtp-dispatch
check "tunneled mail is taken" pc_send hub --from alice@domain.com --to user@domain.co.uk --id out-dispatch-1
check "unrelated mail is taken" pc_send hub --from alice@domain.com --to x@example.org --id out-dispatch-2
check "unrelated mail does not notice" outside out-dispatch-2
check_soon 10 "the tunneled message waits in the spool, not in Postfix" on hub bash -c "ls /var/spool/bsmtp/peers/remote1/incoming | grep -q ."
check "bsmtpctl queue list shows it" on hub bash -c 'bsmtpctl queue list | tee /dev/stderr | grep -q domain.co.uk'
check_not "bsmtpctl status --check notices" on hub bash -c 'sleep 16; bsmtpctl status --check'
start hub bsmtp-dispatch
arrives out-dispatch-1; once out-dispatch-1

say "  bsmtp-dispatch dead (athena): accepted parcels wait"
kill9 athena bsmtp-dispatch
pc_send hub --from alice@domain.com --to user@domain.co.uk --id out-deliver-1 >/dev/null
check_soon 30 "the parcel is accepted by bsmtp-in" on athena bash -c 'ls /var/spool/bsmtp/inbound/accepted | grep -q .'
check "athena's other mail does not notice" stranger_send athena --from x@example.net --to user@domain.co.uk --id out-deliver-2
check_soon 10 "and is delivered" inbox_grep athena user '^X-Rig-Id: out-deliver-2$'
start athena bsmtp-dispatch
arrives out-deliver-1; once out-deliver-1

say "  bsmtp-out missing, then dying"
on hub mv /usr/libexec/bsmtp-tunnel/bsmtp-out /usr/libexec/bsmtp-tunnel/bsmtp-out.away
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --to x@example.org --id out-agent-1 >/dev/null
check "unrelated recipients of the same message do not notice" outside out-agent-1
check_soon 20 "the tunneled one is deferred, not bounced" log_has hub "$mark" 'to=<user%domain.co.uk@.*dsn=4\..*status=deferred'
on hub bash -c 'printf "#!/bin/sh\nkill -9 \$\$\n" >/usr/libexec/bsmtp-tunnel/bsmtp-out; chmod 755 /usr/libexec/bsmtp-tunnel/bsmtp-out'
queue_flush hub; sleep 2
check_equal "a killed agent does not bounce" "" "$(log_since hub "$mark" | grep 'status=bounced')"
on hub mv /usr/libexec/bsmtp-tunnel/bsmtp-out.away /usr/libexec/bsmtp-tunnel/bsmtp-out
queue_flush hub
arrives out-agent-1; once out-agent-1

say "  bsmtp-in missing at athena"
on athena mv /usr/libexec/bsmtp-tunnel/bsmtp-in /usr/libexec/bsmtp-tunnel/bsmtp-in.away
mark=$(log_mark athena)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id out-in-1 >/dev/null
check_soon 30 "the parcel is deferred at athena" log_has athena "$mark" 'to=<bsmtp@athena.domain.co.uk>.*status=deferred'
on athena mv /usr/libexec/bsmtp-tunnel/bsmtp-in.away /usr/libexec/bsmtp-tunnel/bsmtp-in
queue_flush athena
arrives out-in-1; once out-in-1

say "  hub's MTA down while a parcel is ready"
stop hub bsmtp-dispatch
pc_send hub --from alice@domain.com --to user@domain.co.uk --id out-mta-1 >/dev/null
check_soon 10 "spooled" on hub bash -c "ls /var/spool/bsmtp/peers/remote1/incoming | grep -q ."
stop hub postfix
start hub bsmtp-dispatch
check_soon 20 "the parcel is built and kept ready" on hub bash -c 'ls /var/spool/bsmtp/peers/remote1/ready | grep -q .'
start hub postfix
arrives out-mta-1; once out-mta-1

say "  athena's MTA down, its listener too"
stop athena postfix
pc_send hub --from alice@domain.com --to user@domain.co.uk --id out-peer-1 >/dev/null
sleep 4
start athena postfix
queue_flush hub
arrives out-peer-1; once out-peer-1

say "  killed in mid-flow, again and again: nothing lost, nothing doubled"
bulk hub flow 150 alice@domain.com user@domain.co.uk >"$RIG_RUN/flow.out" &
sender=$!
for round in 1 2 3 4; do
  sleep 1.3; kill9 hub bsmtp-dispatch; kill9 athena bsmtp-dispatch
  sleep 0.3; start hub bsmtp-dispatch; start athena bsmtp-dispatch
done
wait "$sender"
check_soon 90 "all 150 arrive" bulk_arrived flow athena user
check_soon 60 "idle" tunnel_idle
result=$(verify_bulk flow athena user 2>/dev/null)
check_equal "octets as sent" 150 "$(json_field identical <<<"$result")"
doubled=$(json_field doubled <<<"$result")
# A final reply lost by the kill (RFC 1047) is the one permitted reason, and must have been logged as such.
ambiguous=$(mail_log athena | grep -c 'outcome=ambiguous')
check "doubled messages ($doubled) are no more than those logged as ambiguous ($ambiguous)" test "$doubled" -le "$ambiguous"

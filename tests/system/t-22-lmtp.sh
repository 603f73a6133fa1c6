# The agents by LMTP, as README sets them up: what a sender asked for, several peers, agents that are missing or die, aliases.
reports() { reports_to hub alice "$1"; }
report() { inbox_file hub alice "^X-Rig-Id: $1\$"; }
items_of() { on hub bash -c "cat /var/spool/bsmtp/peers/$1/incoming/* 2>/dev/null"; }
arrived() { check_soon 60 "$1 arrives" inbox_grep athena user "^X-Rig-Id: $1\$"; }
# Every report of athena for alice goes home through the tunnel, so both ways count.
check_soon 60 "idle at the beginning" tunnel_idle
check_equal "lmtp is chrooted, as Debian has it" y "$(on hub postconf -Fh bsmtp-out-lmtp/unix/chroot)"
mark_h=$(log_mark hub) mark_a=$(log_mark athena)

say "  real mail"
bulk hub lmtp-a 80 alice@domain.com,bob@domain.com user@domain.co.uk info@domain.co.uk >/dev/null
check_soon 60 "80 messages arrive at athena" bulk_arrived lmtp-a athena user info
check "each once, and not an octet differs" verify_bulk lmtp-a athena user info
check "the items came by LMTP" log_has hub "$mark_h" 'postfix/bsmtp-out/lmtp\[.*to=<user%domain.co.uk@remote1.bsmtp.invalid>.*relay=[^ ]*private/bsmtp-out-agent\].*status=sent \(250 2\.0\.0 .* queued as [0-9a-f]{44} for remote1'
check "the parcels came by LMTP" log_has athena "$mark_a" 'postfix/bsmtp-in/lmtp\[.*to=<bsmtp@athena.domain.co.uk>.*private/bsmtp-in-agent\].*status=sent \(250 2\.0\.0 .* accepted '
check_equal "none by pipe" "" "$({ log_since hub "$mark_h"; log_since athena "$mark_a"; } | grep -E 'postfix/pipe\[.*relay=bsmtp' | head -1)"
agents=$(log_since hub "$mark_h" | grep -E 'bsmtp-out\[[0-9]+\]: [0-9a-f]{44}: enqueued ' | grep -oE 'bsmtp-out\[[0-9]+\]' | sort -u | wc -l)
check "an agent served several messages ($agents agents for 80)" test "$agents" -gt 0 -a "$agents" -lt 80
check_soon 60 "idle" tunnel_idle

say "  what the sender asked for reaches the item"
stop hub bsmtp-dispatch
check "a message with every parameter is taken" pc_send hub --from alice@domain.com --to info@domain.co.uk --id lmtp-success \
  --mail-option ENVID=QQ314159+2B --mail-option RET=HDRS --rcpt-option NOTIFY=SUCCESS,FAILURE --rcpt-option 'ORCPT=rfc822;Info+2Blist@domain.co.uk'
check "one with NOTIFY=NEVER" pc_send hub --from alice@domain.com --to nobody-here@domain.co.uk --id lmtp-never --rcpt-option NOTIFY=NEVER
check "one for an unknown user" pc_send hub --from alice@domain.com --to nobody-here@domain.co.uk --id lmtp-default
check_soon 20 "hub's Postfix handed them on" queue_empty hub
items_of remote1 >"$RIG_RUN/items"
check "ENVID and RET stand in an item" grep -qE '^MAIL FROM:<alice@domain.com>.* RET=HDRS ENVID=QQ314159\+2B|^MAIL FROM:<alice@domain.com>.* ENVID=QQ314159\+2B.* RET=HDRS' "$RIG_RUN/items"
check "NOTIFY and ORCPT too" grep -qE '^RCPT TO:<info@domain.co.uk> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Info\+2Blist@domain.co.uk' "$RIG_RUN/items"
check "NEVER too, without its label" grep -qE '^RCPT TO:<nobody-here@domain.co.uk> NOTIFY=NEVER' "$RIG_RUN/items"
check_not "the inner side of the tunnel stands nowhere" grep -q 'bsmtp\.invalid' "$RIG_RUN/items"
check_equal "hub itself has reported nothing" 0 "$(reports lmtp-success)"
start hub bsmtp-dispatch

say "  and the remote MTA, which reports"
check_soon 90 "success is reported" one_report lmtp-success
check_soon 60 "an unknown user is reported" one_report lmtp-default
file=$(report lmtp-success)
check "by athena" grep -qi '^Reporting-MTA: dns; *athena.domain.co.uk' "$file"
check "as delivered" grep -qiE '^Action: (delivered|relayed|expanded)' "$file"
grep -i '^Action:' "$file" | sed 's/^/    /'
check "with the original recipient" grep -qi '^Original-Recipient: rfc822; *Info+list@domain.co.uk' "$file"
check "and the envelope id" grep -qi '^Original-Envelope-Id: QQ314159+' "$file"
check_not "RET=HDRS: without the body" grep -q '^hello' "$file"
check "the failure names the recipient as it was typed" grep -qi '^Original-Recipient: rfc822; *nobody-here@domain.co.uk' "$(report lmtp-default)"
check_soon 60 "idle" tunnel_idle
check_equal "NOTIFY=NEVER: nothing was reported" 0 "$(reports lmtp-never)"

say "  recipients of several peers in one message; a peer's spool that cannot be written"
mark=$(log_mark hub)
on hub mv /var/spool/bsmtp/peers/remote1/tmp /var/spool/bsmtp/peers/remote1/tmp.away
pc_send hub --from alice@domain.com --to user@domain.co.uk --to user@domain.net --to info@domain.co.uk --id lmtp-two >/dev/null
check_soon 30 "remote2's recipient is served" inbox_grep zeus user '^X-Rig-Id: lmtp-two$'
check_soon 20 "remote1's are deferred" log_has hub "$mark" 'to=<(user|info)%domain.co.uk@remote1.*dsn=4\..*status=deferred'
check_equal "none is bounced" "" "$(log_since hub "$mark" | grep 'status=bounced')"
check_not "and the mail waits in Postfix' queue" queue_empty hub
on hub mv /var/spool/bsmtp/peers/remote1/tmp.away /var/spool/bsmtp/peers/remote1/tmp
queue_flush hub
arrived lmtp-two
check_soon 60 "the third recipient too" inbox_grep athena info '^X-Rig-Id: lmtp-two$'
check_equal "remote2's was not sent again" 1 "$(grep -rlE '^X-Rig-Id: lmtp-two$' "$(maildir zeus user)" | wc -l)"
check "one transaction served both peers" test "$(log_since hub "$mark" | grep -E 'status=sent \(250 .* for remote2' | wc -l)" = 1

say "  agents that are missing or die"
agent=/usr/libexec/bsmtp-tunnel/bsmtp-out
mark=$(log_mark hub)
on hub mv $agent $agent.away
pc_send hub --from alice@domain.com --to user@domain.co.uk --id lmtp-dead >/dev/null
check_soon 30 "missing: deferred" log_has hub "$mark" 'relay=[^ ]*private/bsmtp-out-agent.*status=deferred|to=<user%domain.*status=deferred'
on hub bash -c "printf '#!/bin/sh\nprintf \"220 x\\\\r\\\\n\"\nread a\nkill -9 \$\$\n' >$agent; chmod 755 $agent"
queue_flush hub; sleep 3
on hub bash -c "printf '#!/bin/sh\nexit 1\n' >$agent"
queue_flush hub; sleep 3
check_equal "dying: never bounced" "" "$(log_since hub "$mark" | grep 'status=bounced')"
on hub mv $agent.away $agent
on hub bash -c 'postfix reload' >/dev/null 2>&1
queue_flush hub
arrived lmtp-dead

say "  mail for a return address"
expects_receipts hub no
on athena bash -c 'cp /etc/postfix/bsmtp-routes /root/routes; sed -i "1i /^bsmtp@athena\\\\.domain\\\\.co\\\\.uk\$/ error:5.1.2 no gateway here" /etc/postfix/bsmtp-routes; postfix reload' >/dev/null 2>&1
pc_send hub --from alice@domain.com --to user@domain.co.uk --id lmtp-return >/dev/null
check_soon 60 "the parcel's bounce becomes alice's report" one_report lmtp-return
expects_receipts hub yes
on athena bash -c 'mv /root/routes /etc/postfix/bsmtp-routes; postfix reload' >/dev/null 2>&1
check "it came by LMTP" log_has hub "$mark_h" 'postfix/bsmtp-in/lmtp\[.*to=<bsmtp\+[^>]*@hub.domain.com>.*status=sent \(250 2\.0\.0 .* return '

say "  an alias, which no milter sees"
on hub bash -c 'printf "lmtp-carol: user@domain.co.uk\n" >>/etc/aliases; newaliases'
check "hub takes a message for the alias" stranger_send hub --from x@example.net --to lmtp-carol@domain.com --id lmtp-alias --rcpt-option NOTIFY=SUCCESS,FAILURE
arrived lmtp-alias
on hub bash -c 'sed -i /^lmtp-carol:/d /etc/aliases; newaliases'

check_soon 60 "idle" tunnel_idle

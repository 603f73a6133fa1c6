# A tunnel out of order: bsmtpctl peer bypass gives waiting mail to Postfix, which sends it on by itself and not back.
inbox_clear athena user
inbox_clear hub alice
stop hub bsmtp-dispatch
pc_send hub --from alice@domain.com --to user@domain.co.uk --id bypass-1 --mail-option ENVID=QQbypass --rcpt-option NOTIFY=SUCCESS >/dev/null
waits() { [ "$(spool_items hub remote1)" -ge 1 ]; }
check_soon 15 "the message waits in the spool" waits
check_not "bypass refuses while the peer is on" on hub bsmtpctl peer bypass remote1
on hub bash -c 'cp /etc/bsmtp/peers.d/remote1.conf /root/remote1.kept; printf "[peer.remote1]\nstate = stopping\n" >>/etc/bsmtp/peers.d/remote1.conf'
on hub bsmtpctl peer bypass remote1 >"$RIG_RUN/bypass.out" 2>&1
check "and while the exported map leads there" grep -q 'still leads domain.co.uk there' "$RIG_RUN/bypass.out"
on hub bash -c 'bsmtpctl rules export --postfix --write && systemctl reload bsmtp-milter && postfix reload'
mark=$(log_mark hub)
check "then it hands the mail over" on hub bsmtpctl peer bypass remote1
check_soon 30 "the message arrives" inbox_grep athena user '^X-Rig-Id: bypass-1$'
# For t-99-audit: the one message that may have left beside the tunnel.
log_since hub "$mark" | sed -nE 's/.*postfix\/smtp\[[0-9]+\]: ([0-9A-Za-z]+): to=<user@domain\.co\.uk>.*/\1/p' | head -1 >"$RIG_RUN/bypassed"
check_not "not through the tunnel" inbox_grep athena user 'with BSMTP'
check_equal "nothing is in the spool" 0 "$(spool_items hub remote1)"
check_equal "nothing was diverted again" "" "$(log_since hub "$mark" | grep 'remote1.bsmtp.invalid')"
on hub bash -c 'mv /root/remote1.kept /etc/bsmtp/peers.d/remote1.conf; bsmtpctl rules export --postfix --write && systemctl reload bsmtp-milter && postfix reload'
start hub bsmtp-dispatch
pc_send hub --from alice@domain.com --to user@domain.co.uk --id bypass-2 >/dev/null
check_soon 40 "back in the tunnel mail goes through it" inbox_grep athena user '^X-Rig-Id: bypass-2$'
check_soon 40 "the sender of the first gets the report he asked for" inbox_grep hub alice '^Original-Envelope-Id: QQbypass'

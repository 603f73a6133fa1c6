# Receipts: a parcel is acknowledged, one that was lost goes again, and of one that nobody ever answers each sender hears once.
conf=/etc/bsmtp/bsmtp.conf
timed() { on "$1" bash -c 'cp $0 /root/conf.away; sed -i "/^resend-after/d; /^receipt-/d" $0; { printf "%s\n" "$@"; cat $0; } >/root/conf && cat /root/conf >$0' "$conf" "${@:2}"; restart "$1" bsmtp-dispatch; }
timed hub 'resend-after = 3s' 'receipt-grace = 3s'
timed athena 'receipt-delay = 1s'
sent() { on hub bash -c 'ls /var/spool/bsmtp/peers/remote1/sent | wc -l'; }
none_sent() { [ "$(sent)" = 0 ]; }
lose() { on hub bash -c 'cp /etc/postfix/bsmtp-routes /root/routes; sed -i "1i /^bsmtp@athena\\\\.domain\\\\.co\\\\.uk\$/ discard:lost" /etc/postfix/bsmtp-routes; postfix reload' >/dev/null 2>&1; }
carry() { on hub bash -c 'mv /root/routes /etc/postfix/bsmtp-routes; postfix reload' >/dev/null 2>&1; }

mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id receipt-1 >/dev/null
check_soon 30 "a message arrives" inbox_grep athena user '^X-Rig-Id: receipt-1$'
check_soon 75 "and its parcel is acknowledged" log_has hub "$mark" ': acknowledged peer=remote1 key=[0-9A-F]{40}'

say "  lost on the way"
lose
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id receipt-2 >/dev/null
check_soon 20 "the host MTA takes the parcel" log_has hub "$mark" ': submitted peer=remote1'
carry
check_soon 20 "it is sent again" log_has hub "$mark" ': resent peer=remote1 why=no-receipt'
check_soon 20 "and arrives" inbox_grep athena user '^X-Rig-Id: receipt-2$'
check_equal "alice hears nothing" 0 "$(reports_to hub alice receipt-2)"

say "  lost for good"
lose
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id receipt-3 >/dev/null
third_is_sent() { on hub bash -c 'grep -qs "X-Rig-Id: receipt-3" /var/spool/bsmtp/peers/remote1/sent/*/items/*'; }
check_soon 20 "submitted" third_is_sent
stop hub bsmtp-dispatch
on hub bash -c 'for f in /var/spool/bsmtp/peers/remote1/{sent,ready}/*/state; do [ -e "$f" ] && grep -qs "X-Rig-Id: receipt-3" "${f%state}"items/* && sed -i "s/^expires: .*/expires: 20260101T000000Z/" "$f"; done'
start hub bsmtp-dispatch
check_soon 20 "it is asked about" log_has hub "$mark" 'why=last-question'
check_soon 30 "alice is told that nobody knows" one_report receipt-3
check "in these words" grep -q 'whose fate is not known' "$(inbox_file hub alice '^X-Rig-Id: receipt-3$')"
check "and in the log" log_has hub "$mark" 'outcome-unknown outcome=ambiguous'
carry
for h in hub athena; do on "$h" bash -c 'cat /root/conf.away >$0' "$conf"; restart "$h" bsmtp-dispatch; done
check_soon 30 "idle at the end" tunnel_idle

say "  looked at while no dispatcher runs"
stop athena bsmtp-dispatch
check "status answers" on athena bsmtpctl status
check_equal "and leaves nothing beside the ledger" "" "$(on athena find /var/spool/bsmtp -maxdepth 1 -name 'ledger.sqlite*' ! -user bsmtp-sign)"
as athena bsmtp /usr/bin/python3 -c 'import sqlite3; sqlite3.connect("file:/var/spool/bsmtp/ledger.sqlite?mode=ro", uri=True).execute("SELECT count(*) FROM parcel").fetchall()'
check_equal "SQLite's own tools do" 2 "$(on athena find /var/spool/bsmtp -maxdepth 1 -name 'ledger.sqlite-*' -user bsmtp | wc -l)"
start athena bsmtp-dispatch
pc_send hub --from alice@domain.com --to user@domain.co.uk --id receipt-4 >/dev/null
check_soon 30 "which stops no mail" inbox_grep athena user '^X-Rig-Id: receipt-4$'
check_soon 60 "idle at the end" tunnel_idle

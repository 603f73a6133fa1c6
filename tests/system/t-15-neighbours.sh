# Other filters and settings of the site: OpenDMARC, rspamd, a content filter, own milters on submission, rewriting, relayhost, instances.
recipe() { "$SYSTEM_DIR/recipe.py" "$TOP/docs/neighbours.md" "$1" --run hub=hub --run athena=athena; }
arrived() { check_soon 60 "$1 arrives" inbox_grep athena user "^X-Rig-Id: $1\$"; }
findings() { on hub bsmtpctl config check 2>&1; }
# type_remedies, follow_remedies: does what `config check` says on hub, literally (and lets Postfix know).
type_remedies() {
  findings | grep -o 'run `[^`]*`' | sed 's/^run `//; s/`$//' >"$RIG_RUN/shared/remedies"
  [ -s "$RIG_RUN/shared/remedies" ] && on hub bash -e /rig-shared/remedies
}
follow_remedies() { type_remedies && on hub systemctl reload postfix; }
no_findings() { findings | tail -1 | grep -q '^0 problems, 0 warnings'; }
check_soon 60 "idle at the beginning" tunnel_idle
on hub bsmtpctl rules export --postfix --write >/dev/null # other scenarios touch the rules, and the check would say so
check "config check begins without findings" no_findings
for host in hub athena; do on "$host" bash -c 'cp -p /etc/postfix/main.cf /root/main.cf; cp -p /etc/postfix/master.cf /root/master.cf'; done
inbox_clear hub alice

# Milters before ours on the way in, alone on the listener on the way out.
for host in hub athena; do
  on "$host" /rig/neighbours start "$host" "${PC[$host]}" >"$RIG_RUN/neighbours-$host.out" 2>&1 &
done
wait
for host in hub athena; do
  on "$host" bash -c 'postconf -e "bsmtp_site_milters = $(postconf -h bsmtp_site_milters) inet:127.0.0.1:10098 inet:127.0.0.1:11332"; systemctl reload postfix'
done
on athena bash -c "postconf -P '127.0.0.1:10027/inet/smtpd_milters=\$bsmtp_site_milters,inet:127.0.0.1:10097'; systemctl reload postfix"
check "config check has nothing against them" no_findings
mark=$(log_mark athena) hub_mark=$(log_mark hub)
gtube='XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'
pc_send hub --from alice@domain.com --to user@domain.co.uk --id near-signed >/dev/null
pc_send hub --from alice@domain.com --to user@domain.co.uk --id near-spam --body "$gtube" >"$RIG_RUN/spam.out"
check "rspamd before ours refuses on hub" grep -q '^554 .*5.7.1 ' "$RIG_RUN/spam.out"
# /usr/sbin/sendmail is neither signed nor looked at by rspamd here: athena's filters have the say.
local_send hub alice@domain.com user@domain.co.uk near-unsigned
printf 'X-Rig-Id: near-gtube\nFrom: alice@domain.org\nTo: user@domain.co.uk\nSubject: near-gtube\n\n%s\n' "$gtube" | on hub sendmail -i -f alice@domain.com -- user@domain.co.uk
arrived near-signed
check "OpenDMARC saw that the signature survived" grep -q 'dmarc=pass .*header.from=domain.com' "$(inbox_file athena user '^X-Rig-Id: near-signed$')"
check "OpenDMARC passed the parcel itself by SPF" log_has athena "$mark" 'opendmarc.*: hub.domain.com pass'
check_soon 40 "OpenDMARC on the listener refuses unsigned mail of a domain with p=reject" log_has athena "$mark" 'milter-reject: END-OF-MESSAGE from localhost.*5.7.1 rejected by DMARC policy for domain.com'
check_soon 40 "rspamd on the listener refuses spam" log_has athena "$mark" 'milter-reject: END-OF-MESSAGE from localhost.*5.7.1 .*from=<alice@domain.com>'
check_soon 60 "both senders are told" bash -c "grep -rlE '^X-Rig-Id: near-(unsigned|gtube)' '$(maildir hub alice)' | wc -l | grep -qx 2"
check_not "neither arrived" bash -c "grep -rlE '^X-Rig-Id: near-(unsigned|gtube|spam)' '$(maildir athena user)'"

# A content filter on both sides. A way back as a site would forget to make it is named, with a remedy that works.
on hub bash -c "postconf -M '127.0.0.1:10025/inet=127.0.0.1:10025 inet n - y - - smtpd'; postconf -e 'content_filter = smtp-filter:[127.0.0.1]:10024'"
check "the check names a way back that refuses diverted recipients" grep -q 'problem.*127.0.0.1:10025/inet.*refuses' <(findings)
check "and one that runs our milter again" grep -q 'warning.*127.0.0.1:10025/inet.*second time' <(findings)
check "the remedies can be typed" follow_remedies
check "and are enough" no_findings
on hub cp /root/master.cf /etc/postfix/master.cf
check "the recipe for a content filter works" recipe "## Content filter after the queue"
check "config check agrees" no_findings
pc_send hub --from alice@domain.com --to user@domain.co.uk --to bob@domain.com --id filter-1 >/dev/null
pc_send hub --from alice@domain.com --to user@domain.co.uk --id filter-2 --body VIRUS >/dev/null
local_send hub alice@domain.com user@domain.co.uk filter-3
arrived filter-1
check_soon 30 "its local recipient has it too" inbox_grep hub bob '^X-Rig-Id: filter-1$'
check "hub's filter saw it" grep -q '^X-Rig-Filter: hub' "$(inbox_file athena user '^X-Rig-Id: filter-1$')"
check "athena's too, unpacked" grep -q '^X-Rig-Filter: athena' "$(inbox_file athena user '^X-Rig-Id: filter-1$')"
check_soon 30 "what hub's filter refuses comes back" inbox_grep hub alice '^X-Rig-Id: filter-2$'
check_soon 60 "idle" tunnel_idle
for host in hub athena; do
  on "$host" bash -c "cp /root/main.cf /root/master.cf /etc/postfix/; systemctl reload postfix; /rig/neighbours stop" &
done
wait

# Submission with milters of its own.
on hub bash -c "postconf -M 'submission/inet=submission inet n - y - - smtpd'
  postconf -P 'submission/inet/smtpd_milters=inet:127.0.0.1:10099' 'submission/inet/smtpd_recipient_restrictions=permit_mynetworks,reject'; systemctl reload postfix"
check "own milters on submission are named" grep -q 'problem.*submission/inet.*milters of its own' <(findings)
check "and own restrictions" grep -q 'warning.*submission/inet.*bsmtp.invalid' <(findings)
check "the remedies can be typed" follow_remedies
check "and are enough" no_findings
sleep 1
pc_send hub --port 587 --from alice@domain.com --to user@domain.co.uk --id near-587 >/dev/null
check_soon 20 "mail of port 587 is diverted" log_has hub "$hub_mark" 'to=<user%domain.co.uk@remote1.bsmtp.invalid>'
arrived near-587
pc_send hub --port 587 --from alice@domain.com --to 'user%domain.co.uk@remote1.bsmtp.invalid' --id inner-587 >"$RIG_RUN/inner.out" 2>&1
check "its clients may not address the inner side" grep -q '^5.*5.1.2' "$RIG_RUN/inner.out"

# Rewriting that would take the return addresses, a relayhost, a second instance.
on hub bash -c "cp /root/master.cf /etc/postfix/; postconf -e 'sender_canonical_maps = inline:{ { @hub.domain.com = @domain.com } }' 'relayhost = [zeus.domain.net]'"
on zeus bash -c 'postconf -h mynetworks >/root/networks.kept; postconf -e "mynetworks = $(postconf -h mynetworks) 10.99.0.2"; systemctl reload postfix'
check "a map that takes the return addresses is named" grep -q 'problem.*sender_canonical_maps makes .*domain.com of bsmtp+probe@hub.domain.com' <(findings)
check "the recipe against it works" recipe "## Address rewriting"
check "and is enough" no_findings
mark=$(log_mark hub) zeus_mark=$(log_mark zeus)
local_send hub root@hub.domain.com user@domain.co.uk near-relayhost
arrived near-relayhost
check "the site's own rewriting still holds" grep -q '^Return-Path: <root@domain.com>' "$(inbox_file athena user '^X-Rig-Id: near-relayhost$')"
check "the parcel's return address is untouched" log_has hub "$mark" 'qmgr.*from=<bsmtp\+[^@>]*@hub.domain.com>'
check "the parcel went through the relayhost" log_has zeus "$zeus_mark" 'smtp\[.*to=<bsmtp@athena.domain.co.uk>.*status=sent'
check_not "the tunneled message did not" log_has zeus "$zeus_mark" 'to=<user[@%]'
on hub bash -c 'postmulti -e init; postmulti -I postfix-in -e create' >/dev/null 2>&1
check "an instance beside ours that is not enabled is a warning" grep -q 'warning.*instance /etc/postfix-in .*not enabled' <(findings)
on hub postconf -c /etc/postfix-in -e multi_instance_enable=yes
check "an instance beside ours is named" grep -q 'problem.*instance /etc/postfix-in .*leaves directly' <(findings)
check "its remedy can be typed" type_remedies
check "and is enough" no_findings
on hub bash -c 'cp /root/main.cf /root/master.cf /etc/postfix/; rm -rf /etc/postfix-in /var/spool/postfix-in; systemctl reload postfix'
on zeus bash -c 'postconf -e "mynetworks = $(cat /root/networks.kept)"; systemctl reload postfix'
check_soon 30 "idle" tunnel_idle

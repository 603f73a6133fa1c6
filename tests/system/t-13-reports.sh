# What a sender is told: parcels that bounce, at home and abroad; NOTIFY; and addresses beyond ASCII, end to end.
reports() { reports_to hub alice "$1"; }
sent_state() { on hub bash -c "ls /var/spool/bsmtp/peers/remote1/$1 2>/dev/null | wc -l"; }
inbox_clear hub alice
delimiter=$(on hub postconf -h recipient_delimiter)
on hub bash -c 'postconf -e "recipient_delimiter ="; postfix reload' >/dev/null 2>&1

say "  athena takes the parcel and bounces it"
expects_receipts hub no
refuse_parcels athena
pc_send hub --from alice@domain.com --to user@domain.co.uk --to info@domain.co.uk --id report-abroad-1 >/dev/null
pc_send hub --from alice@domain.com --to user@domain.co.uk --id report-abroad-2 >/dev/null
check_soon 60 "alice hears of the first message" one_report report-abroad-1
check_soon 60 "and of the second" one_report report-abroad-2
take_parcels athena
file=$(inbox_file hub alice '^X-Rig-Id: report-abroad-1$')
check "the report is a DSN that names both recipients" bash -c "grep -qi '^Content-Type: multipart/report' '$file' && grep -q '^Final-Recipient: rfc822; *user@domain.co.uk' '$file' && grep -q '^Final-Recipient: rfc822; *info@domain.co.uk' '$file'"
check "it says failed" grep -qi '^Action: failed' "$file"
check "it comes from the null sender" grep -q '^Return-Path: <>' "$file"
check_equal "nothing arrived at athena" "" "$(inbox_file athena user '^X-Rig-Id: report-abroad-1$')"

say "  hub's own Postfix bounces the parcel"
on hub bash -c 'cp /etc/postfix/bsmtp-routes /root/routes; sed -i "1i /^bsmtp@athena\\\\.domain\\\\.co\\\\.uk\$/ error:5.1.2 no route to the gateway" /etc/postfix/bsmtp-routes; postfix reload' >/dev/null 2>&1
pc_send hub --from alice@domain.com --to user@domain.co.uk --id report-home-1 >/dev/null
check_soon 60 "alice hears of it" one_report report-home-1
on hub bash -c 'mv /root/routes /etc/postfix/bsmtp-routes; postfix reload' >/dev/null 2>&1
expects_receipts hub yes

say "  NOTIFY"
pc_send hub --from alice@domain.com --to nobody-here@domain.co.uk --id report-never --rcpt-option NOTIFY=NEVER >/dev/null
pc_send hub --from alice@domain.com --to nobody-here@domain.co.uk --id report-default >/dev/null
check_soon 60 "an unknown user is reported" one_report report-default
check_soon 60 "idle" tunnel_idle
check_equal "but not to a sender who said NOTIFY=NEVER" 0 "$(reports report-never)"
pc_send hub --from alice@domain.com --to user@domain.co.uk --id report-success --rcpt-option NOTIFY=SUCCESS >/dev/null
check_soon 30 "NOTIFY=SUCCESS arrives" inbox_grep athena user '^X-Rig-Id: report-success$'
check_soon 40 "and is answered once" one_report report-success
check "by the host that delivered it" grep -qi '^Reporting-MTA: dns; *athena.domain.co.uk' "$(inbox_file hub alice '^X-Rig-Id: report-success$')"
check "as delivered" grep -qiE '^Action: (delivered|expanded)' "$(inbox_file hub alice '^X-Rig-Id: report-success$')"
check_soon 60 "idle again" tunnel_idle
for id in report-abroad-1 report-abroad-2 report-home-1 report-default report-success; do
  check_equal "$id was reported once" 1 "$(reports $id)"
done

say "  addresses beyond ASCII, domain and header too, and a report to such a sender"
on athena bash -c 'printf "üser@domain.co.uk user@domain.co.uk\nüser@bücher.domain.co.uk user@domain.co.uk\n" >/etc/postfix/utf8-alias
  postconf -e "virtual_alias_maps = texthash:/etc/postfix/utf8-alias" "virtual_alias_domains = bücher.domain.co.uk"; postfix reload' >/dev/null 2>&1
on hub bash -c 'printf "älice@domain.com alice@domain.com\n" >/etc/postfix/utf8-alias; postconf -e "virtual_alias_maps = texthash:/etc/postfix/utf8-alias"; postfix reload' >/dev/null 2>&1
printf 'From: Älice <älice@domain.com>\r\nTo: üser@bücher.domain.co.uk\r\nSubject: Grüße\r\n\r\nhallo\r\n' >"$RIG_RUN/shared/utf8.eml"
mark=$(log_mark hub)
utf8() { pc_send hub --from "$1" --to "$2" --id "$3" --file /rig-shared/utf8.eml --mail-option SMTPUTF8; }
check "hub takes a message for üser@domain.co.uk" utf8 alice@domain.com üser@domain.co.uk report-utf8
check "one from älice for üser@bücher.domain.co.uk" utf8 älice@domain.com üser@bücher.domain.co.uk report-utf8-both
check "and one for an unknown nöbody" utf8 älice@domain.com nöbody@domain.co.uk report-utf8-nobody
for id in report-utf8 report-utf8-both; do check_soon 40 "$id arrives through the tunnel" inbox_grep athena user "^X-Rig-Id: $id\$"; done
check "the envelope recipient is the one that was typed" grep -q 'X-Original-To: üser@domain.co.uk' "$(inbox_file athena user '^X-Rig-Id: report-utf8$')"
file=$(inbox_file athena user '^X-Rig-Id: report-utf8-both$')
check "with a domain beyond ASCII too" grep -q 'X-Original-To: üser@bücher.domain.co.uk' "$file"
check "and the sender" grep -q '^Return-Path: <älice@domain.com>' "$file"
check "and the header" grep -q '^Subject: Grüße' "$file"
check "handed over by LMTP" log_has hub "$mark" 'postfix/bsmtp-out/lmtp\[.*to=<üser%bücher.domain.co.uk@remote1.bsmtp.invalid>.*status=sent'
check_soon 60 "älice hears of nöbody" inbox_grep hub alice '^Final-Recipient: *utf-8; *n.+body@domain.co.uk'
check_equal "nothing for them left hub directly" "" "$(log_since hub "$mark" | grep -E 'postfix/smtp\[.*to=<.+er@|postfix/smtp\[.*body@')"
for h in hub athena; do on "$h" bash -c 'postconf -X virtual_alias_domains; postconf -e "virtual_alias_maps = hash:/etc/postfix/virtual"; postfix reload' >/dev/null 2>&1; done
check_soon 30 "idle at the end" tunnel_idle
on hub bash -c "postconf -e 'recipient_delimiter = $delimiter'; postfix reload" >/dev/null 2>&1

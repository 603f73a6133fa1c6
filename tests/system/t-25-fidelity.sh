# Not an octet changes: odd messages under simple and relaxed DKIM; what cannot be carried comes home; the gateway's name as local, virtual and relay domain under every recipient_delimiter.
check_soon 60 "idle at the beginning" tunnel_idle
for form in simple/simple relaxed/relaxed; do
  tag=odd-${form%/*}
  dkim_form "$form" hub athena
  send_odd hub "${PC[hub]}" "$tag-h" alice@domain.com user@domain.co.uk >/dev/null
  send_odd athena "${PC[athena]}" "$tag-a" user@domain.co.uk alice@domain.com >/dev/null
  check_odd "$form" "$tag-h" athena user
  check_odd "$form" "$tag-a" hub alice
  check "signed in that form" grep -rqE "c=$form;" "$(maildir athena user)"
  inbox_clear hub alice; inbox_clear athena user
done
dkim_form simple/simple hub athena
printf 'X-Rig-Id: odd-local\nFrom: alice@domain.com\nTo: user@domain.co.uk\n\nno end of line' | on hub sendmail -i -f alice@domain.com user@domain.co.uk
printf 'From: alice@domain.com\r\nTo: user@domain.co.uk\r\n\r\na\0b\r\n' >"$RIG_RUN/shared/nul.eml"
pc_send hub --from alice@domain.com --to user@domain.co.uk --id odd-nul --file /rig-shared/nul.eml >/dev/null
check_soon 30 "a message with a NUL octet comes home" one_report odd-nul
check "and the report says why" grep -q '5\.6\.1 the message has a NUL octet' "$(inbox_file hub alice '^X-Rig-Id: odd-nul$')"
check_soon 30 "a message without a final line end arrives" inbox_grep athena user '^X-Rig-Id: odd-local$'
check_equal "with one" "no end of line" "$(tail -1 "$(inbox_file athena user '^X-Rig-Id: odd-local$')")"
check_not "the one with the NUL did not arrive" inbox_grep athena user '^X-Rig-Id: odd-nul$'

gateway_as() { # local|virtual|relay DELIMITER, on hub and athena
  local h own=', $myhostname'
  [ "$1" = local ] || own=
  for h in hub athena; do
    on "$h" bash -c '
      cp /root/main.kept /etc/postfix/main.cf
      postconf -e "recipient_delimiter = $2" "mydestination = localhost.\$mydomain, localhost, \$mydomain$3"
      case $1 in
        virtual) postconf -e "virtual_mailbox_domains = \$myhostname" "virtual_mailbox_maps = regexp:/etc/postfix/bsmtp-routes" ;;
        relay) postconf -e "relay_domains = \$myhostname" "relay_recipient_maps = regexp:/etc/postfix/bsmtp-routes" ;;
      esac
      postfix reload' _ "$1" "$2" "$own" >/dev/null 2>&1
  done
}
for h in hub athena; do on "$h" cp /etc/postfix/main.cf /root/main.kept; done
expects_receipts hub no
for way in "local -" "virtual +" "relay "; do
  kind=${way% *} delimiter=${way#* }
  say "  the gateways' names as $kind domains, recipient_delimiter '$delimiter'"
  gateway_as "$kind" "$delimiter"
  mark=$(log_mark athena)
  pc_send hub --from alice@domain.com --to user@domain.co.uk --id "host0-$kind" >/dev/null
  check_soon 40 "$kind: mail arrives" inbox_grep athena user "^X-Rig-Id: host0-$kind\$"
  for address in bsmtp@ATHENA.DOMAIN.CO.UK BSMTP@athena.domain.co.uk bsmtp+x@athena.domain.co.uk; do
    check "$kind: athena takes mail for $address" parcel_to athena "$address"
    check_soon 20 "$kind: and hands it to bsmtp-in" log_has athena "$mark" "to=<${address//+/\\+}>.*$TO_IN.*status=sent"
  done
  refuse_parcels athena
  mark=$(log_mark hub)
  pc_send hub --from alice@domain.com --to user@domain.co.uk --id "host0-bounce-$kind" >/dev/null
  check_soon 40 "$kind: a bounced parcel becomes one report" one_report "host0-bounce-$kind"
  check "$kind: it came to the return address" log_has hub "$mark" "to=<bsmtp\+[0-9a-f]+@hub.domain.com>.*$TO_IN.*status=sent"
  take_parcels athena
done
expects_receipts hub yes
for h in hub athena; do on "$h" bash -c 'cp /root/main.kept /etc/postfix/main.cf; postfix reload' >/dev/null 2>&1; done
check_soon 60 "idle at the end" tunnel_idle

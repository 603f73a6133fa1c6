# Whatever MTA is on either side: real mail both ways, local submission and aliases on both, reports, nothing beside the tunnel.
handed_on='(postfix/smtp\[.*status=sent|mailer=esmtp.*stat=Sent)'
# What left HOST for the other gateway's domain without being a parcel.
direct() { # HOST MARK OTHER-DOMAIN
  log_since "$1" "$2" | grep -E "[=,]<[^>]*${3//./\\.}>.*$handed_on|$handed_on.*[=,]<[^>]*${3//./\\.}>" | grep -v 'to=<bsmtp@'
}
parcel_left() { log_since "$1" "$2" | grep -E "$handed_on" | grep 'to=<bsmtp@' >/dev/null; }
mark_h=$(log_mark hub) mark_a=$(log_mark athena) count=60
check "hub takes $count real messages" bulk hub sx-h $count alice@domain.com,bob@domain.com user@domain.co.uk info@domain.co.uk
check "athena takes $count" bulk athena sx-a $count user@domain.co.uk,info@domain.co.uk alice@domain.com bob@domain.com
for host in hub athena; do
  on "$host" bash -c 'printf "faraway: user@domain.co.uk\nfarhub: alice@domain.com\n" >>/etc/aliases; newaliases >/dev/null'
done
local_send hub alice@domain.com user@domain.co.uk sx-local-h
local_send athena user@domain.co.uk alice@domain.com sx-local-a
pc_send hub --from alice@domain.com --to faraway@domain.com --id sx-alias-h >/dev/null
pc_send athena --from user@domain.co.uk --to farhub@domain.co.uk --id sx-alias-a >/dev/null
pc_send hub --from alice@domain.com --to nobody-here@domain.co.uk --id sx-nobody-h >/dev/null
pc_send athena --from user@domain.co.uk --to nobody-here@domain.com --id sx-nobody-a >/dev/null
# Odd messages, and what either MTA itself makes of them when they stay on it.
for host in hub athena; do send_odd "$host" "${IP[wan]}" control alice@domain.com "info@${DOMAIN[$host]}" >/dev/null; done
dkim_form simple/simple hub athena
send_odd hub "${PC[hub]}" odd-simple-h alice@domain.com user@domain.co.uk >/dev/null
send_odd athena "${PC[athena]}" odd-simple-a user@domain.co.uk alice@domain.com >/dev/null
dkim_form relaxed/relaxed hub athena
send_odd hub "${PC[hub]}" odd-relaxed-h alice@domain.com user@domain.co.uk >/dev/null
send_odd athena "${PC[athena]}" odd-relaxed-a user@domain.co.uk alice@domain.com >/dev/null
dkim_form relaxed/simple hub athena
check_soon 90 "all arrive at athena" bulk_arrived sx-h athena user info
check_soon 90 "all arrive at hub" bulk_arrived sx-a hub alice bob
check "each once and unchanged (athena)" verify_bulk sx-h athena user info
check "each once and unchanged (hub)" verify_bulk sx-a hub alice bob
for side in "sx-h athena user info" "sx-a hub alice bob"; do
  result=$(verify_bulk $side 2>/dev/null)
  say "  $side: $result"
  check_equal "$side: as many DKIM passes as signatures" "$(json_field dkim_signed <<<"$result")" "$(json_field dkim_pass <<<"$result")"
  check "$side: nearly all were signed" test "$(json_field dkim_signed <<<"$result")" -ge $((count * 95 / 100))
done
on hub bsmtpctl key export >"$RIG_RUN/shared/hub.asc"; on athena bsmtpctl key export >"$RIG_RUN/shared/athena.asc"
check "oracle: all parcels to athena" "$SYSTEM_DIR/oracle.py" open --sendmail --keys "$RIG_RUN/shared/hub.asc" --manifest "$RIG_RUN/shared/sx-h.json" --from hub.domain.com --to athena.domain.co.uk $(parcel_files athena)
check "oracle: all parcels to hub" "$SYSTEM_DIR/oracle.py" open --sendmail --keys "$RIG_RUN/shared/athena.asc" --manifest "$RIG_RUN/shared/sx-a.json" --from athena.domain.co.uk --to hub.domain.com $(parcel_files hub)
for form in simple relaxed; do
  check_odd "odd messages, DKIM $form" odd-$form-h athena user
  check_odd "odd messages, DKIM $form" odd-$form-a hub alice
done
for host in hub athena; do
  mark=$mark_h; [ "$host" = hub ] || mark=$mark_a
  check "$host: agents called by LMTP" log_has "$host" "$mark" 'private/bsmtp-out-agent\].*status=sent|mailer=bsmtp-out.*stat=Sent'
done
check_soon 60 "local submission on hub" inbox_grep athena user '^X-Rig-Id: sx-local-h$'
check_soon 60 "local submission on athena" inbox_grep hub alice '^X-Rig-Id: sx-local-a$'
check_soon 60 "an alias on hub" inbox_grep athena user '^X-Rig-Id: sx-alias-h$'
check_soon 60 "an alias on athena" inbox_grep hub alice '^X-Rig-Id: sx-alias-a$'
check_soon 60 "an unknown user at athena comes home" inbox_grep hub alice '^Final-Recipient: *rfc822; *nobody-here@domain.co.uk'
check_soon 60 "an unknown user at hub comes home" inbox_grep athena user '^Final-Recipient: *rfc822; *nobody-here@domain.com'
for host in hub athena; do
  mark=$mark_h; [ "$host" = hub ] || mark=$mark_a
  check "$host: bsmtp-in logs that the parcels came by verified TLS" log_has "$host" "$mark" 'bsmtp-in.*: accepted .*tls=TLSv1\.3 verify=OK'
done
check "parcels left hub" parcel_left hub "$mark_h"
check "parcels left athena" parcel_left athena "$mark_a"
check_equal "nothing else left hub for the tunneled domain" "" "$(direct hub "$mark_h" domain.co.uk)"
check_equal "nothing else left athena" "" "$(direct athena "$mark_a" domain.com)"
# SMTPUTF8 that leaves Postfix and reaches a sendmail, which has none; so does the answer.
if [ "$(mta hub)$(mta athena)" = postfixsendmail ]; then
  on hub bash -c 'printf "älice@domain.com alice@domain.com\n" >/etc/postfix/utf8-alias; postconf -e "virtual_alias_maps = texthash:/etc/postfix/utf8-alias"; postfix reload' >/dev/null 2>&1
  printf 'From: alice@domain.com\r\nSubject: Grüße\r\n\r\nhallo\r\n' >"$RIG_RUN/shared/utf8.eml"
  utf8() { pc_send hub --from "$1" --to "$2" --id "$3" --file /rig-shared/utf8.eml --mail-option SMTPUTF8 >/dev/null; }
  utf8 alice@domain.com üser@domain.co.uk sx-utf8-to
  utf8 älice@domain.com user@domain.co.uk sx-utf8-from
  for id in sx-utf8-to sx-utf8-from; do
    check_soon 60 "$id, beyond ASCII, comes home" one_report "$id"
    check "as a report of the gateway that says why" grep -q 'does not offer SMTPUTF8' "$(inbox_file hub alice "^X-Rig-Id: $id\$")"
    check "with its status" grep -q '^Status: 5\.6\.7' "$(inbox_file hub alice "^X-Rig-Id: $id\$")"
  done
  check "the report names the recipient" grep -qF 'Original-Recipient: utf-8; \x{FC}ser@domain.co.uk' "$(inbox_file hub alice '^X-Rig-Id: sx-utf8-to$')"
  check_not "nothing of it arrived" inbox_grep athena user '^X-Rig-Id: sx-utf8'
fi
check_soon 60 "both gateways are idle" tunnel_idle
for host in hub athena; do
  check_equal "$host: the spool belongs to the agents' users" "" "$(on "$host" find /var/spool/bsmtp -user root)"
  check_equal "$host: nothing in quarantine" 0 "$(quarantined "$host")"
done

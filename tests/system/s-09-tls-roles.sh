# STARTTLS decides about parcels in every pairing: each gateway in turn shows certificates of a rogue CA, of another name, no TLS, few bits, and the other refuses it as server and as client.
# B is the side that is bad, D the one that demands. While B is bad a parcel waits on either: D's because of B as server, B's
# because of B as client. What the two MTAs have for their own stands in the functions of the first part.
tls=$RIG_RUN/shared/s09
make_ca=$TOP/docs/examples/make-ca
other() { if [ "$1" = hub ]; then echo athena; else echo hub; fi; }
user_of() { if [ "$1" = hub ]; then echo alice@domain.com; else echo user@domain.co.uk; fi; }
box_of() { if [ "$1" = hub ]; then echo alice; else echo user; fi; }
declare -A demand=() clients=() features=()

write_access() { # HOST (sendmail): the three parts of its map, without restart
  printf '%s\n' "${demand[$1]-}" "${clients[$1]-}" "${features[$1]-}" >"$RIG_RUN/shared/access"
  on "$1" bash -c 'grep -v ^TLS_ /root/kept/access | cat - /rig-shared/access | sed "/^$/d" >/etc/mail/access; makemap hash /etc/mail/access </etc/mail/access'
}
remake_cf() { # HOST OPTION-LINE...: sendmail.cf with these options instead of its own
  on "$1" bash -c 'shift; cp /root/kept/sendmail.cf /etc/mail/sendmail.cf; printf "%s\n" "$@" >>/etc/mail/sendmail.cf' _ "$@"
  restart "$1" sendmail
}
keep() {
  if [ "$(mta "$1")" = sendmail ]; then
    on "$1" bash -c 'mkdir /root/kept; cp -a /etc/mail/sendmail.cf /etc/mail/access /etc/mail/certs /root/kept'
  else
    on "$1" bash -c 'mkdir /root/kept; cp -a /etc/postfix/tls /etc/postfix/tls_policy /etc/postfix/main.cf /root/kept
      postconf -h bsmtp_site_recipient_restrictions >/root/kept/restrictions
      postconf -e smtp_connection_cache_on_demand=no smtp_tls_session_cache_database= smtpd_tls_session_cache_database= smtpd_tls_fingerprint_digest=sha256'
  fi
}
put_back() {
  if [ "$(mta "$1")" = sendmail ]; then
    on "$1" bash -c 'cd /root/kept; rm -r /etc/mail/certs; cp -a certs sendmail.cf access /etc/mail/; makemap hash /etc/mail/access </etc/mail/access; rm -r /root/kept'
    restart "$1" sendmail
  else
    on "$1" bash -c 'cd /root/kept; rm -r /etc/postfix/tls; cp -a tls tls_policy main.cf /etc/postfix/; touch -d "10 seconds ago" /etc/postfix/tls_policy; postmap /etc/postfix/tls_policy; rm -r /root/kept; postfix reload'
  fi
}
trust_ca() {
  if [ "$(mta "$1")" = sendmail ]; then
    install -m 644 "$tls/ca/ca.pem" "$(host_root "$1")/etc/mail/certs/ca.pem"; on "$1" openssl rehash /etc/mail/certs
  else
    install -m 644 "$tls/ca/ca.pem" "$(host_root "$1")/etc/postfix/tls/ca.pem"
  fi
}
shows() { # HOST CA NAME: its certificate, as server and as client; in force after `again`
  local where=etc/postfix/tls; [ "$(mta "$1")" = postfix ] || where=etc/mail/certs
  install -m 644 "$tls/$2/hosts/$3.pem" "$(host_root "$1")/$where/$1.pem"
  install -m 600 "$tls/$2/hosts/$3.key" "$(host_root "$1")/$where/$1.key"
}
again() { if [ "$(mta "$1")" = sendmail ]; then restart "$1" sendmail; else on "$1" postfix reload; fi; }
offers() { # HOST nothing|few-bits|all
  local d=${FQDN[$(other "$1")]}
  if [ "$(mta "$1")" = sendmail ]; then
    features[$1]=
    # What it demands itself would stop a client without TLS before the other side can.
    [ "$2" != nothing ] || { demand[$1]='' features[$1]=$(printf 'Srv_Features:10.99.0\tS\nTry_TLS:%s\tNO' "$d"); }
    [ "$2" != few-bits ] || demands_of_server "$1" verified
    write_access "$1"
    case $2 in
      few-bits) remake_cf "$1" 'O CipherList=ECDHE-ECDSA-AES128-GCM-SHA256' 'O ServerSSLOptions=+SSL_OP_NO_TLSv1_3' ;;
      all) remake_cf "$1" ;;
    esac
  else
    case $2 in
      nothing) on "$1" bash -c 'postconf -e smtpd_tls_security_level=none smtp_tls_security_level=none smtp_tls_policy_maps=; postfix reload' ;;
      few-bits) on "$1" bash -c 'postconf -e smtpd_tls_security_level=may smtpd_tls_protocols=TLSv1.2 smtpd_tls_ciphers=high tls_high_cipherlist=ECDHE-ECDSA-AES128-GCM-SHA256
        postfix reload' ;;
      all) on "$1" bash -c 'postconf -X smtpd_tls_protocols smtpd_tls_ciphers tls_high_cipherlist
        postconf -e smtpd_tls_security_level=may smtp_tls_security_level=may smtp_tls_policy_maps=hash:/etc/postfix/tls_policy; postfix reload' ;;
    esac
  fi
}
demands_of_server() { # D CA-VERIFIED|MANY-BITS|FINGERPRINT of the other
  local name=${FQDN[$(other "$1")]} policy
  if [ "$(mta "$1")" = sendmail ]; then
    demand[$1]=$(printf 'TLS_Srv:%s\tTEMP+VERIFY:%s+CN' "$name" "$([ "$2" = many-bits ] && echo 256 || echo 112)")
    write_access "$1"
    return
  fi
  policy="secure match=$name"
  [ "$2" != many-bits ] || policy+=' exclude=AES128'
  [ "$2" != fingerprint ] || policy="fingerprint match=$(openssl x509 -in "$tls/ca/hosts/$name.pem" -noout -fingerprint -sha256 | cut -d= -f2)"
  on "$1" bash -c 'postconf -e smtp_tls_fingerprint_digest=sha256; printf "%s\t%s\n" "$1" "$2" >/etc/postfix/tls_policy; postmap /etc/postfix/tls_policy; postfix reload' _ "$name" "$policy"
}
demands_of_client() { # D nothing|now|for-good: that parcels come with the other's certificate
  local name=${FQDN[$(other "$1")]}
  if [ "$(mta "$1")" = sendmail ]; then
    case $2 in
      nothing) clients[$1]= ;;
      now) clients[$1]=$(printf 'TLS_Clt:%s\tTEMP+VERIFY:112+CN' "$name") ;;
      for-good) clients[$1]=$(printf 'TLS_Clt:%s\tPERM+VERIFY:112+CN' "$name") ;;
    esac
    write_access "$1"
  else # as docs/tls-and-access.md has it
    openssl x509 -in "$tls/ca/hosts/$name.pem" -noout -fingerprint -sha256 | sed 's/.*=//; s/$/ OK/' >"$RIG_RUN/shared/peers"
    on "$1" bash -c 'cp /rig-shared/peers /etc/postfix/peers; postmap /etc/postfix/peers
      if [ "$2" = nothing ]; then postconf -X smtpd_restriction_classes bsmtp_peers; postconf -e "bsmtp_site_recipient_restrictions=$(cat /root/kept/restrictions)"
      else
        otherwise=defer; [ "$2" = now ] || otherwise=reject
        postconf -e smtpd_restriction_classes=bsmtp_peers "bsmtp_peers=check_ccert_access hash:/etc/postfix/peers, $otherwise" \
          "bsmtp_site_recipient_restrictions=check_recipient_access inline:{bsmtp@$1=bsmtp_peers}, $(cat /root/kept/restrictions)"
      fi; postfix reload' _ "${FQDN[$1]}" "$2"
  fi
}
# What D's log says about a parcel that B, as server, does not get.
server_reply() { # D CONDITION
  local b; b=$(other "$1")
  if [ "$(mta "$1")" = sendmail ]; then
    case $2 in
      rogue) echo '403 4\.7\.0 authentication failed' ;;
      name) echo "403 4\\.7\\.0 CN other\\.example\\.org does not match ${FQDN[$b]//./\\.}" ;;
      none) echo '403 4\.7\.0 other side does not support STARTTLS' ;;
      bits) echo '403 4\.7\.0 encryption too weak 128 less than 256' ;;
    esac
  else
    case $2 in
      rogue | name | fingerprint) echo 'Server certificate not (trusted|verified)' ;;
      none) echo 'TLS is required, but was not offered' ;;
      bits) echo 'Cannot start TLS: handshake failure' ;;
    esac
  fi
}
client_reply() { # D CONDITION: what D answers, in B's log
  if [ "$(mta "$1")" = sendmail ]; then
    case $2 in
      rogue) echo '403 4\.7\.0 authentication failed' ;;
      name) echo '403 4\.7\.0 CN other\.example\.org does not match' ;;
      none) echo '403 4\.7\.0 authentication required' ;;
    esac
  else
    echo '450 4\.3\.2 <bsmtp@[^>]*>: Recipient address rejected'
  fi
}
deferred_with() { log_has "$1" "$2" "to=<bsmtp@${FQDN[$(other "$1")]}>.*(status=deferred|stat=Deferred).*$3"; }

# --- in order --------------------------------------------------------------------------------------
rm -rf "$tls"; mkdir -p "$tls"
check "make-ca makes a CA, certificates and a rogue" bash -ec "
  '$make_ca' init 'Scenario Mail CA' --ca '$tls/ca'; '$make_ca' init 'Scenario Mail CA' --ca '$tls/rogue'
  for host in athena.domain.co.uk hub.domain.com other.example.org; do '$make_ca' host \$host --ca '$tls/ca'; '$make_ca' host \$host --ca '$tls/rogue'; done"
check_soon 60 "idle at the beginning" tunnel_idle
for host in hub athena; do
  keep $host; trust_ca $host; shows $host ca "${FQDN[$host]}"
  demands_of_server $host verified; demands_of_client $host now
done >/dev/null 2>&1
for host in hub athena; do again $host; done >/dev/null 2>&1
declare -A mark
round_trip() { # ID 'what'
  local h
  for h in hub athena; do pc_send $h --from "$(user_of $h)" --to "$(user_of "$(other $h)")" --id "$1" >/dev/null; done
  for h in hub athena; do check_soon 40 "$2: mail arrives at $h" inbox_grep $h "$(box_of $h)" "^X-Rig-Id: $1\$"; done
}
for host in hub athena; do mark[$host]=$(log_mark $host); done
round_trip tr-good "right certificates"
for host in hub athena; do
  check "$host verified the server" log_has $host "${mark[$host]}" "STARTTLS=client, relay=${FQDN[$(other $host)]}.*verify=OK|Verified TLS connection established to ${FQDN[$(other $host)]}"
  check "$host: bsmtp-in logs that the client was verified" log_has $host "${mark[$host]}" 'bsmtp-in.*: accepted .*tls=TLSv1\.3 verify=OK'
done

# --- one side is bad ---------------------------------------------------------------------------------
tried() { # B CONDITION 'what': both parcels are tried and wait
  local b=$1 d h; d=$(other "$1")
  for h in hub athena; do mark[$h]=$(log_mark $h); queue_flush $h; done
  check_soon 30 "$b $3: $d keeps its parcel, with the documented reply" deferred_with "$d" "${mark[$d]}" "$(server_reply "$d" "$2")"
  [ "$2" = bits ] || [ "$2" = fingerprint ] ||
    check_soon 30 "$b $3: so does $b, whom $d refused as client" deferred_with "$b" "${mark[$b]}" "$(client_reply "$d" "$2")"
  for h in hub athena; do check_not "$b $3: nothing arrived at $h" inbox_grep $h "$(box_of $h)" "^X-Rig-Id: tr-waits-$b\$"; done
}
for b in hub athena; do
  d=$(other $b)
  say "  $b ($(mta $b)) is bad, $d ($(mta $d)) demands"
  shows $b rogue "${FQDN[$b]}"; again $b >/dev/null 2>&1
  for h in hub athena; do pc_send $h --from "$(user_of $h)" --to "$(user_of "$(other $h)")" --id "tr-waits-$b" >/dev/null; mark[$h]=$(log_mark $h); done
  for h in hub athena; do check_soon 30 "$h has a parcel that waits" log_has $h "${mark[$h]}" 'to=<bsmtp@.*(status=deferred|stat=Deferred)'; done
  tried $b rogue "shows a rogue CA's certificate"
  shows $b ca other.example.org; again $b >/dev/null 2>&1
  tried $b name "shows another host's certificate"
  if [ "$(mta $d)" = postfix ]; then
    demands_of_server $d fingerprint >/dev/null 2>&1
    tried $b fingerprint "has not the key that $d pins by fingerprint"
    demands_of_server $d verified >/dev/null 2>&1
  fi
  offers $b nothing >/dev/null 2>&1
  tried $b none "knows no TLS"
  demands_of_server $d many-bits >/dev/null 2>&1
  shows $b ca "${FQDN[$b]}"; demands_of_client $d nothing >/dev/null 2>&1
  offers $b few-bits >/dev/null 2>&1
  for h in $d; do mark[$h]=$(log_mark $h); queue_flush $h; done
  check_soon 30 "$b has too few bits: $d keeps its parcel, with the documented reply" deferred_with $d "${mark[$d]}" "$(server_reply $d bits)"
  check_not "$b has too few bits: nothing arrived" inbox_grep $b "$(box_of $b)" "^X-Rig-Id: tr-waits-$b\$"
  offers $b all >/dev/null 2>&1
  demands_of_server $d "$([ "$(mta $d)" = postfix ] && echo fingerprint || echo verified)" >/dev/null 2>&1
  demands_of_client $d for-good >/dev/null 2>&1
  for h in hub athena; do queue_flush $h; done
  for h in hub athena; do check_soon 40 "$b is mended: what waited for $h arrives" inbox_grep $h "$(box_of $h)" "^X-Rig-Id: tr-waits-$b\$"; done
  # The same refusal of a client, final: the parcel comes home, its senders are told.
  shows $b rogue "${FQDN[$b]}"; again $b >/dev/null 2>&1
  expects_receipts $b no
  pc_send $b --from "$(user_of $b)" --to "$(user_of $d)" --id "tr-home-$b" >/dev/null
  check_soon 40 "$b is refused for good: its parcel comes home and the sender is told" inbox_grep $b "$(box_of $b)" "^X-Rig-Id: tr-home-$b\$"
  check "$b: by a report" grep -q '^Action: failed' "$(inbox_file $b "$(box_of $b)" "^X-Rig-Id: tr-home-$b\$")"
  expects_receipts $b yes
  check_not "$b: and it did not arrive" inbox_grep $d "$(box_of $d)" "^X-Rig-Id: tr-home-$b\$"
  shows $b ca "${FQDN[$b]}"; demands_of_client $d now >/dev/null 2>&1; demands_of_server $d verified >/dev/null 2>&1; again $b >/dev/null 2>&1
done
for host in hub athena; do put_back $host; done >/dev/null 2>&1
round_trip tr-after "as it was"
check_soon 60 "idle at the end" tunnel_idle

# STARTTLS decides about parcels on sendmail: as client and as server, temporary and final, cipher bits, a revoked certificate, a bare tag.
# hub has sendmail and asks; athena (Postfix) shows one certificate after the other. A parcel that waits is tried again under each
# condition, so one message serves many.
tls=$RIG_RUN/shared/s06
make_ca=$TOP/docs/examples/make-ca
rm -rf "$tls"; mkdir -p "$tls"
check "make-ca makes a CA and certificates" bash -ec "
  '$make_ca' init 'Scenario Mail CA' --ca '$tls/ca'
  for host in athena.domain.co.uk hub.domain.com other.example.org; do '$make_ca' host \$host --ca '$tls/ca'; done
  '$make_ca' crl --ca '$tls/ca'
  '$make_ca' init 'Scenario Mail CA' --ca '$tls/rogue'
  '$make_ca' host athena.domain.co.uk --ca '$tls/rogue'"
athena_has() { # CA NAME: athena shows this certificate, as server and as client
  install -m 644 "$tls/$1/hosts/$2.pem" "$(host_root athena)/etc/postfix/tls/athena.pem"
  install -m 600 "$tls/$1/hosts/$2.key" "$(host_root athena)/etc/postfix/tls/athena.key"
  on athena postfix reload
}
athena_sets() { on athena bash -c 'for each in "$@"; do postconf -e "$each"; done; postfix reload' _ "$@"; }
access() { # LINE...: beside the site's own lines without TLS tags
  printf '%s\n' "$@" >"$RIG_RUN/shared/access"
  on hub bash -c 'grep -v ^TLS_ /root/kept/access | cat - /rig-shared/access >/etc/mail/access; makemap hash /etc/mail/access </etc/mail/access'
}
# tried 'what' 'reply': the waiting parcel is tried, refused with this reply, and still waits.
tried() {
  local mark; mark=$(log_mark hub)
  queue_flush hub
  check_soon 30 "$1: the documented reply" log_has hub "$mark" "ruleset=tls_(server|rcpt).*reject=$2"
  check_soon 10 "$1: the parcel stays queued" log_has hub "$mark" "to=<bsmtp@athena.domain.co.uk>.*mailer=esmtp.*dsn=4\.[27]\.0.*stat=Deferred"
  check_not "$1: nothing arrived" inbox_grep athena user '^X-Rig-Id: ss-waits$'
}
on hub bash -c 'mkdir /root/kept; cp -a /etc/mail/sendmail.mc /etc/mail/sendmail.cf /etc/mail/access /etc/mail/certs /root/kept'
on athena bash -c 'cp -a /etc/postfix/tls /etc/postfix/tls.kept; cp /etc/postfix/main.cf /etc/postfix/main.cf.kept
  postconf -e smtp_connection_cache_on_demand=no'
install -m 644 "$tls/ca/ca.pem" "$(host_root athena)/etc/postfix/tls/ca.pem"
install -m 644 "$tls/ca/ca.pem" "$tls/ca/crl.pem" "$(host_root hub)/etc/mail/certs/"
install -m 644 "$tls/ca/hosts/hub.domain.com.pem" "$(host_root hub)/etc/mail/certs/hub.pem"
install -m 600 "$tls/ca/hosts/hub.domain.com.key" "$(host_root hub)/etc/mail/certs/hub.key"
on hub bash -c 'openssl rehash /etc/mail/certs; cd /etc/mail && sed -i "/^MAILER_DEFINITIONS/i define(\`confCRL'"'"', \`/etc/mail/certs/crl.pem'"'"')dnl" sendmail.mc && m4 sendmail.mc >sendmail.cf'
restart hub sendmail
access 'TLS_Srv:athena.domain.co.uk TEMP+VERIFY:112+CN' 'TLS_Clt:athena.domain.co.uk TEMP+VERIFY:112+CN'

say "  the right certificates, both ways"
athena_has ca athena.domain.co.uk
mark_h=$(log_mark hub) mark_a=$(log_mark athena)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id ss-good >/dev/null
pc_send athena --from user@domain.co.uk --to alice@domain.com --id ss-good-back >/dev/null
check_soon 40 "mail arrives at athena" inbox_grep athena user '^X-Rig-Id: ss-good$'
check_soon 40 "and at hub" inbox_grep hub alice '^X-Rig-Id: ss-good-back$'
check "sendmail verified the server" log_has hub "$mark_h" 'STARTTLS=client, relay=athena.domain.co.uk.*verify=OK'
check "and the client" log_has hub "$mark_h" 'STARTTLS=server, relay=athena.domain.co.uk.*verify=OK'
check_soon 20 "Received: of the parcel shows it" grep -rqE '\(version=TLSv1\.3 cipher=[A-Z0-9_]+ bits=256 verify=OK\)' "$(archive_dir hub)"
check "bsmtp-in on sendmail logs it with the parcel" log_has hub "$mark_h" 'bsmtp-in.*: accepted .*tls=TLSv1\.3 verify=OK'
check "bsmtp-in on Postfix too" log_has athena "$mark_a" 'bsmtp-in.*: accepted .*tls=TLSv1\.3 verify=OK'

say "  temporary demands on the server"
# (sendmail's own queue runs go on all the time: no moment may come in which the waiting parcel is welcome.)
athena_has rogue athena.domain.co.uk
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id ss-waits >/dev/null
check_soon 30 "a parcel waits" log_has hub "$mark" 'to=<bsmtp@athena.domain.co.uk>.*stat=Deferred'
tried "rogue CA" '403 4\.7\.0 authentication failed'
athena_has ca other.example.org
tried "wrong name" '403 4\.7\.0 CN other\.example\.org does not match athena\.domain\.co\.uk'
athena_sets smtpd_tls_security_level=none
tried "no TLS" '403 4\.7\.0 other side does not support STARTTLS'
access 'TLS_Srv:athena.domain.co.uk TEMP+ENCR:256'
athena_has ca athena.domain.co.uk
athena_sets smtpd_tls_security_level=may 'smtpd_tls_protocols=TLSv1.2' 'smtpd_tls_ciphers=high' 'tls_high_cipherlist=ECDHE-ECDSA-AES128-GCM-SHA256'
tried "too few bits, ENCR" '403 4\.7\.0 encryption too weak 128 less than 256'
access 'TLS_Srv:athena.domain.co.uk TEMP+VERIFY:256+CN'
tried "too few bits, VERIFY" '403 4\.7\.0 encryption too weak 128 less than 256'
access 'TLS_Rcpt:bsmtp@athena.domain.co.uk TEMP+VERIFY:256'
tried "too few bits for the recipient" '403 4\.7\.0 encryption too weak 128 less than 256'
"$make_ca" revoke athena.domain.co.uk --ca "$tls/ca" >/dev/null
install -m 644 "$tls/ca/crl.pem" "$(host_root hub)/etc/mail/certs/"
# A queue run that began before knows no CRL and outlives the daemon; and one that meets the old demands when it asks about
# the server, and the new ones when it asks about the recipient, finds none.
stop hub sendmail
check_soon 20 "sendmail is gone, with its queue runs" bash -c "! '$SYSTEM_DIR/on' hub pgrep -x sendmail-mta"
access 'TLS_Srv:athena.domain.co.uk TEMP+VERIFY:112+CN'
start hub sendmail
tried "revoked certificate" '403 4\.7\.0 authentication failed'
on athena bash -c 'postconf -X smtpd_tls_protocols smtpd_tls_ciphers tls_high_cipherlist; postfix reload'
"$make_ca" host athena.domain.co.uk --ca "$tls/ca" >/dev/null
athena_has ca athena.domain.co.uk
queue_flush hub
check_soon 40 "repaired: what waited arrives" inbox_grep athena user '^X-Rig-Id: ss-waits$'

say "  final demands: the parcel comes home"
access 'TLS_Srv:athena.domain.co.uk PERM+ENCR:512'
expects_receipts hub no
stop hub bsmtp-dispatch
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id ss-home-1 >/dev/null
pc_send hub --from bob@domain.com --to user@domain.co.uk --to info@domain.co.uk --id ss-home-2 >/dev/null
start hub bsmtp-dispatch
check_soon 40 "refused for good" log_has hub "$mark" 'ruleset=tls_server.*reject=503 5\.7\.0 encryption too weak 256 less than 512'
check_soon 20 "the bounce goes to the return address" log_has hub "$mark" 'to=<bsmtp\+[^>]+@hub.domain.com>.*mailer=bsmtp-in.*stat=Sent'
for user in alice bob; do check_soon 30 "$user is told" inbox_grep hub "$user" '^Final-Recipient: *rfc822; *user@domain.co.uk'; done
expects_receipts hub yes

say "  the same demands on a client"
access 'TLS_Clt:athena.domain.co.uk TEMP+VERIFY:112+CN'
clients() { # 'what' 'reply': athena's waiting parcel is refused with it
  local mark; mark=$(log_mark athena)
  queue_flush athena
  check_soon 30 "client, $1: the documented reply, and athena keeps the parcel" log_has athena "$mark" "to=<bsmtp@hub.domain.com>.*dsn=4\.7\.0.*status=deferred.*$2"
}
athena_has rogue athena.domain.co.uk
mark=$(log_mark athena)
pc_send athena --from user@domain.co.uk --to bob@domain.com --id ss-client >/dev/null
check_soon 30 "athena has a parcel" log_has athena "$mark" 'to=<bsmtp@hub.domain.com>.*status=deferred'
clients "rogue CA" '403 4\.7\.0 authentication failed'
athena_has ca other.example.org
clients "wrong name" '403 4\.7\.0 CN other\.example\.org does not match athena\.domain\.co\.uk'
athena_has ca athena.domain.co.uk
access 'TLS_Clt:athena.domain.co.uk TEMP+VERIFY:256+CN'
athena_sets smtp_tls_protocols=TLSv1.2 smtp_tls_mandatory_protocols=TLSv1.2 smtp_tls_ciphers=high smtp_tls_mandatory_ciphers=high \
  tls_high_cipherlist=ECDHE-ECDSA-AES128-GCM-SHA256
clients "too few bits" '403 4\.7\.0 encryption too weak 128 less than 256'
on athena postconf -X smtp_tls_protocols smtp_tls_mandatory_protocols smtp_tls_ciphers smtp_tls_mandatory_ciphers tls_high_cipherlist
athena_sets smtp_tls_policy_maps= smtp_tls_security_level=none
clients "no TLS" '403 4\.7\.0 authentication required'
access 'TLS_Clt:athena.domain.co.uk PERM+VERIFY:112+CN'
expects_receipts athena no
queue_flush athena
check_soon 40 "client, final: the parcel comes home to athena and its sender is told" inbox_grep athena user '^Final-Recipient: *rfc822; *bob@domain.com'
expects_receipts athena yes
check_not "and nothing arrived" inbox_grep hub bob '^X-Rig-Id: ss-client$'

say "  a bare tag"
access 'TLS_Srv: TEMP+ENCR:112'
check_not "config check is not content" on hub bsmtpctl config check
check "and names what is missing" on hub bash -c 'bsmtpctl config check | grep "bare TLS_Srv: without TLS_Srv:bsmtp-out, TLS_Srv:bsmtp-in" >/dev/null'
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id ss-bare >/dev/null
check_soon 20 "mail to our agents waits, with the documented reply" log_has hub "$mark" 'mailer=bsmtp-out.*stat=Deferred: 403 4\.7\.0'
access 'TLS_Srv: TEMP+ENCR:112' 'TLS_Srv:bsmtp-out OK' 'TLS_Srv:bsmtp-in OK'
check "with the exceptions config check is content" on hub bsmtpctl config check
queue_flush hub
check_soon 40 "and it goes on" inbox_grep athena user '^X-Rig-Id: ss-bare$'
stop hub bsmtp-dispatch
pc_send hub --from carla@domain.com --to user@domain.co.uk --id ss-bare-clt >/dev/null
access 'TLS_Clt: TEMP+ENCR:112'
check "a bare TLS_Clt: is named too" on hub bash -c 'bsmtpctl config check | grep "bare TLS_Clt: without TLS_Clt:localhost, TLS_Clt:127" >/dev/null'
mark=$(log_mark hub)
start hub bsmtp-dispatch
check_soon 20 "parcels from the loopback are refused for now, as documented" log_has hub "$mark" 'ruleset=(tls_client|check_rcpt).*relay=localhost.*reject=403 4\.7\.0 encryption too weak 0'
access 'TLS_Clt: TEMP+ENCR:112' 'TLS_Clt:localhost OK' 'TLS_Clt:127 OK'
check "with the exceptions it is content" on hub bsmtpctl config check
check_soon 40 "and they go on" inbox_grep athena user '^X-Rig-Id: ss-bare-clt$'

for user in alice bob; do
  check_equal "each sender had one report ($user)" 1 "$(grep -rlE '^Final-Recipient: *rfc822; *user@domain.co.uk' "$(maildir hub "$user")" | wc -l)"
done
on athena bash -c 'rm -r /etc/postfix/tls; mv /etc/postfix/tls.kept /etc/postfix/tls; mv /etc/postfix/main.cf.kept /etc/postfix/main.cf; postfix reload'
on hub bash -c 'cd /root/kept; cp sendmail.mc sendmail.cf access /etc/mail/; rm -r /etc/mail/certs; cp -a certs /etc/mail/; makemap hash /etc/mail/access </etc/mail/access; rm -r /root/kept'
restart hub sendmail
check_soon 60 "idle at the end" tunnel_idle

# sendmail's agents as pipe mailers, by one define; what they tell by exit codes; back to LMTP, and an agent that is missing.
agents=/usr/libexec/bsmtp-tunnel
remake() { # sed expression on the site's sendmail.mc
  on hub bash -c 'cd /etc/mail && sed "$1" sendmail.mc >try.mc && m4 try.mc >sendmail.cf' _ "$1"
  restart hub sendmail
}
send_both() { # ID
  pc_send hub --from alice@domain.com --to user@domain.co.uk --id "$1" --rcpt-option NOTIFY=SUCCESS >/dev/null
  pc_send athena --from user@domain.co.uk --to bob@domain.com --id "$1" >/dev/null
  check_soon 60 "$1 arrives at athena" inbox_grep athena user "^X-Rig-Id: $1\$"
  check_soon 60 "$1 arrives at hub" inbox_grep hub bob "^X-Rig-Id: $1\$"
}
check_soon 60 "idle at the beginning" tunnel_idle
remake "/^FEATURE(.bsmtp.)/i define(\`BSMTP_PIPE')dnl"
check "both mailers are pipes" bash -c "[ \"\$('$SYSTEM_DIR/on' hub grep -c '^Mbsmtp-.*X-Unix' /etc/mail/sendmail.cf)\" = 2 ]"
mark=$(log_mark hub)
send_both sm-pipe
for host in hub athena; do send_odd "$host" "${IP[wan]}" control alice@domain.com "info@${DOMAIN[$host]}" >/dev/null; done
send_odd hub "${PC[hub]}" odd-pipe-h alice@domain.com user@domain.co.uk >/dev/null
send_odd athena "${PC[athena]}" odd-pipe-a user@domain.co.uk alice@domain.com >/dev/null
check_odd "odd messages" odd-pipe-h athena user
check_odd "odd messages" odd-pipe-a hub alice
check "the item's log line has sendmail's queue id" log_has hub "$mark" 'bsmtp-out.*enqueued qid=[0-9A-Za-z]{14} peer=remote1'
check "the parcel's too, and the client" log_has hub "$mark" 'bsmtp-in.*accepted qid=[0-9A-Za-z]{14} peer=remote1 client=10\.99\.0\.3'
check_soon 30 "NOTIFY=SUCCESS ends at the pipe: relayed" inbox_grep hub alice '^Action: relayed'
stop hub bsmtp-dispatch
for user in alice bob; do pc_send hub --from carla@domain.com --to "$user@domain.com" --id sm-local-before >/dev/null; done
pc_send hub --from alice@domain.com --to user@domain.co.uk --to info@domain.co.uk --id sm-pipe-two >/dev/null
check_soon 20 "a message is spooled" log_has hub "$mark" 'mailer=bsmtp-out.*stat=Sent'
check_soon 20 "as the service user, whoever was served before" bash -c "
  [ \"\$('$SYSTEM_DIR/on' hub bash -c 'stat -c %U:%G /var/spool/bsmtp/peers/remote1/incoming/* | sort -u')\" = bsmtp:bsmtp ]"
on hub mv /var/spool/bsmtp/peers/remote1/tmp /var/spool/bsmtp/peers/remote1/tmp.away
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id sm-pipe-deferred >/dev/null
check_soon 20 "trouble in the spool defers" log_has hub "$mark" 'mailer=bsmtp-out.*dsn=4\..*stat=Deferred'
on hub mv /var/spool/bsmtp/peers/remote1/tmp.away /var/spool/bsmtp/peers/remote1/tmp
start hub bsmtp-dispatch
for id in sm-pipe-two sm-pipe-deferred; do check_soon 60 "$id arrives" inbox_grep athena user "^X-Rig-Id: $id\$"; done
expects_receipts hub no
refuse_parcels athena
pc_send hub --from alice@domain.com --to user@domain.co.uk --id sm-pipe-bounced >/dev/null
check_soon 60 "a bounced parcel comes to the return address by pipe" log_has hub "$mark" 'to=<bsmtp\+[^>]+@hub.domain.com>.*mailer=bsmtp-in.*stat=Sent'
check_soon 30 "and becomes one report" one_report sm-pipe-bounced
take_parcels athena
expects_receipts hub yes
check_soon 60 "idle" tunnel_idle

remake ""
check "LMTP again" on hub grep -q '^Mbsmtp-out.*T=DNS/RFC822/SMTP' /etc/mail/sendmail.cf
mark=$(log_mark hub)
send_both sm-lmtp
check_soon 60 "success is reported" inbox_grep hub alice 'X-Rig-Id: sm-lmtp$'
check "by athena" grep -q '^Reporting-MTA: dns; *athena' "$(inbox_file hub alice 'X-Rig-Id: sm-lmtp$')"
on hub mv /var/spool/bsmtp/peers/remote1/tmp /var/spool/bsmtp/peers/remote1/tmp.away
pc_send hub --from alice@domain.com --to user@domain.co.uk --id sm-lmtp-deferred >/dev/null
check_soon 20 "trouble in the spool defers" log_has hub "$mark" 'mailer=bsmtp-out.*dsn=4\..*stat=(Deferred|.*4\.)'
on hub mv /var/spool/bsmtp/peers/remote1/tmp.away /var/spool/bsmtp/peers/remote1/tmp
check_soon 60 "and it arrives" inbox_grep athena user '^X-Rig-Id: sm-lmtp-deferred$'
mark=$(log_mark hub)
on hub mv $agents/bsmtp-out $agents/away
pc_send hub --from alice@domain.com --to user@domain.co.uk --id sm-lmtp-missing >/dev/null
check_soon 20 "an agent that is missing defers" log_has hub "$mark" 'mailer=bsmtp-out.*stat=Deferred'
for form in 'exit 1' 'printf "220 x\r\n"; read a; kill -9 $$'; do
  mark_form=$(log_mark hub)
  on hub bash -c 'printf "%s\n" "#!/bin/sh" "$1" >$2; chmod 755 $2' _ "$form" $agents/bsmtp-out
  pc_send hub --from alice@domain.com --to user@domain.co.uk --id sm-lmtp-dying >/dev/null
  check_soon 20 "one that ends by '${form##*; }' too" log_has hub "$mark_form" 'mailer=bsmtp-out.*stat=Deferred'
done
on hub mv $agents/away $agents/bsmtp-out
for id in sm-lmtp-missing sm-lmtp-dying; do check_soon 60 "$id arrives" inbox_grep athena user "^X-Rig-Id: $id\$"; done
check_equal "nothing was bounced" "" "$(log_since hub "$mark" | grep -E 'DSN: (Service|User|unknown)' | head -1)"
# The gateway's name as a virtual domain where nobody has a mailbox.
on hub bash -c 'printf "@hub.domain.com\terror:5.1.1:550 nobody here\n" >/etc/mail/virtusertable; makemap hash /etc/mail/virtusertable </etc/mail/virtusertable'
remake "/^FEATURE(.bsmtp.)/i VIRTUSER_DOMAIN(\`hub.domain.com')dnl"
mark=$(log_mark hub)
pc_send athena --from user@domain.co.uk --to bob@domain.com --id sm-virtual-host >/dev/null
check_soon 60 "parcels come" inbox_grep hub bob '^X-Rig-Id: sm-virtual-host$'
for address in bsmtp@HUB.DOMAIN.COM BSMTP@hub.domain.com bsmtp+x@hub.domain.com; do
  check "hub takes mail for $address" parcel_to hub "$address"
done
check_soon 20 "all for bsmtp-in" bash -c "[ \"\$(. '$SYSTEM_DIR/lib.sh'; log_since hub '$mark' | grep -ciE 'to=<bsmtp(\+x)?@hub.domain.com>.*mailer=bsmtp-in.*stat=Sent')\" -ge 4 ]"
expects_receipts hub no
refuse_parcels athena
pc_send hub --from alice@domain.com --to user@domain.co.uk --id sm-virtual-bounced >/dev/null
check_soon 60 "a bounced parcel comes home" one_report sm-virtual-bounced
take_parcels athena
expects_receipts hub yes
on hub bash -c ': >/etc/mail/virtusertable; makemap hash /etc/mail/virtusertable </etc/mail/virtusertable'
remake ""
check_soon 60 "idle at the end" tunnel_idle

# sendmail on hub, either MTA on athena: every path of a message into the tunnel, both directions, and what does not go there.
check_soon 5 "sendmail listens on 25 and 10027" on hub bash -c "ss -ltn | grep -q '127.0.0.1:10027' && ss -ltn | grep -q '0.0.0.0:25 '"
check_equal "our milter is the last" "O InputMailFilters=opendkim, testmilter, bsmtp" "$(on hub grep '^O InputMailFilters' /etc/mail/sendmail.cf)"
check "sendmail's cf tree is as Debian packed it" on hub bash -c 'cd / && dpkg -V sendmail-cf | grep . && exit 1 || exit 0'
check "bsmtpctl config check is content" on hub bsmtpctl config check
check "and has read sendmail.cf" on hub bash -c 'bsmtpctl config check | grep "sendmail.cf has the milter" >/dev/null'
check "it sees that makemap was forgotten" on hub bash -c 'touch /var/lib/bsmtp/transport; bsmtpctl config check | grep "run .makemap hash /etc/mail/bsmtp" >/dev/null'
on hub bash -c 'makemap hash /etc/mail/bsmtp </var/lib/bsmtp/transport'

mark_h=$(log_mark hub) mark_a=$(log_mark athena)
check "hub takes a message for user@domain.co.uk" pc_send hub --from alice@domain.com --to user@domain.co.uk --id sm-1
check "athena takes one for alice@domain.com" pc_send athena --from user@domain.co.uk --to alice@domain.com --id sm-2
check_soon 40 "it arrives at athena" inbox_grep athena user '^X-Rig-Id: sm-1$'
check_soon 40 "it arrives at hub" inbox_grep hub alice '^X-Rig-Id: sm-2$'
check_soon 10 "sendmail handed the diverted form to bsmtp-out" log_has hub "$mark_h" 'to=<user%domain.co.uk@remote1.bsmtp.invalid>.*mailer=bsmtp-out.*stat=Sent'
check_soon 10 "the parcel went to athena with a verified certificate" log_has hub "$mark_h" 'STARTTLS=client, relay=athena.domain.co.uk.*verify=OK'
check_soon 10 "athena's parcel went to bsmtp-in" log_has hub "$mark_h" 'to=<bsmtp@hub.domain.com>.*mailer=bsmtp-in.*stat=Sent'
check_soon 10 "the unpacked message came by the listener" log_has hub "$mark_h" 'daemon=bsmtp-resubmit'
file=$(inbox_file athena user '^X-Rig-Id: sm-1$')
check "its envelope sender is the user" grep -q '^Return-Path: <alice@domain.com>' "$file"
check_equal "spool owned by the agents' user only" "" "$(on hub find /var/spool/bsmtp -user root)"

# Every other way in: local submission, alias, .forward, virtusertable.
on hub bash -c 'printf "list: root@athena.domain.co.uk, user@domain.co.uk\n" >>/etc/aliases; newaliases >/dev/null
  echo "info@domain.co.uk" >/home/carla/.forward; chown carla: /home/carla/.forward
  printf "virt@domain.com\tbob@athena.domain.co.uk\n" >/etc/mail/virtusertable; makemap hash /etc/mail/virtusertable </etc/mail/virtusertable'
mark=$(log_mark hub)
local_send hub alice@domain.com user@domain.co.uk sm-local
pc_send hub --from alice@domain.com --to list@domain.com --id sm-alias >/dev/null
pc_send hub --from alice@domain.com --to carla@domain.com --id sm-forward >/dev/null
pc_send hub --from alice@domain.com --to virt@domain.com --id sm-virtual >/dev/null
pc_send hub --from alice@domain.com --to '"odd user"@domain.co.uk' --id sm-odd >/dev/null
check_soon 60 "local submission through the MSP" inbox_grep athena user '^X-Rig-Id: sm-local$'
check_soon 40 "alias to user@domain.co.uk" inbox_grep athena user '^X-Rig-Id: sm-alias$'
check_soon 40 "alias to root@athena" inbox_grep athena alice '^X-Rig-Id: sm-alias$'
check_soon 40 ".forward" inbox_grep athena info '^X-Rig-Id: sm-forward$'
on hub rm /home/carla/.forward
check_soon 40 "virtusertable" inbox_grep athena bob '^X-Rig-Id: sm-virtual$'
check_soon 40 "a quoted local part reaches athena and its report comes home" inbox_grep hub alice 'odd user'
check_equal "nothing for the tunneled domain left directly but parcels" "" \
  "$(log_since hub "$mark" | grep -E 'mailer=esmtp.*athena|to=<[^>]*domain\.co\.uk>.*mailer=esmtp' | grep -v 'to=<bsmtp@athena\.domain\.co\.uk>')"
pc_send hub --from alice@domain.com --to postmaster@athena.domain.co.uk --id sm-pm >/dev/null
check_soon 30 "postmaster@athena goes directly" log_has hub "$mark" 'to=<postmaster@athena.domain.co.uk>.*mailer=esmtp.*stat=Sent'

# The null sender, and a bounce of the parcel's own path.
pc_send hub --from '' --to user@domain.co.uk --id sm-null >/dev/null
check_soon 40 "the null sender stays null" inbox_grep athena user '^X-Rig-Id: sm-null$'
check "Return-Path is the null sender's (sendmail: MAILER-DAEMON)" bash -c "sed -n 1,20p '$(inbox_file athena user '^X-Rig-Id: sm-null$')' | grep -qE '^Return-Path: <(MAILER-DAEMON(@.*)?)?>'"

# The log ties sendmail's queue ids to our items and parcels.
tied() { # what sendmail's line has, what ours has before and after the queue id
  local qid
  qid=$(log_since hub "$mark_h" | sed -nE "s/.*sm-mta\\[[0-9]+\\]: ([0-9A-Za-z]{14}): $1.*/\\1/p" | head -1)
  [ -n "$qid" ] && log_has hub "$mark_h" "$2 qid=$qid $3"
}
check "to the item" tied 'to=<user%domain.co.uk@remote1.bsmtp.invalid>.*mailer=bsmtp-out.*stat=Sent' 'bsmtp-out\[[0-9]+\]: [0-9a-f]{44}: enqueued' peer=remote1
check "to the parcel" tied 'to=<bsmtp@hub.domain.com>.*mailer=bsmtp-in.*stat=Sent' 'bsmtp-in\[[0-9]+\]: [0-9a-f]{44}: accepted' peer=remote1

# What a sender asked for goes all the way, and the remote MTA reports.
stop hub bsmtp-dispatch
pc_send hub --from alice@domain.com --to info@domain.co.uk --id sm-success --mail-option ENVID=QQ314159+2B --mail-option RET=HDRS \
  --rcpt-option NOTIFY=SUCCESS,FAILURE --rcpt-option 'ORCPT=rfc822;Info+2Blist@domain.co.uk' >/dev/null
pc_send hub --from alice@domain.com --to nobody-here@domain.co.uk --id sm-never --rcpt-option NOTIFY=NEVER >/dev/null
pc_send hub --from alice@domain.com --to nobody-here@domain.co.uk --id sm-default >/dev/null
check_soon 20 "three messages are spooled" bash -c "[ \"\$('$SYSTEM_DIR/on' hub bash -c 'ls /var/spool/bsmtp/peers/remote1/incoming | wc -l')\" = 3 ]"
on hub bash -c 'cat /var/spool/bsmtp/peers/remote1/incoming/*' >"$RIG_RUN/items"
check_equal "the items are the service user's, although sendmail starts the agents as root" "bsmtp:bsmtp" \
  "$(on hub bash -c 'stat -c %U:%G /var/spool/bsmtp/peers/remote1/incoming/* | sort -u')"
check "ENVID and RET stand in an item" bash -c "grep '^MAIL FROM:<alice@domain.com>' '$RIG_RUN/items' | grep 'RET=HDRS' | grep -q 'ENVID=QQ314159+2B'"
check "NOTIFY and ORCPT too" grep -qE '^RCPT TO:<info@domain.co.uk> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Info\+2Blist@domain.co.uk' "$RIG_RUN/items"
check "NEVER too" grep -qE '^RCPT TO:<nobody-here@domain.co.uk> NOTIFY=NEVER' "$RIG_RUN/items"
check_not "the inner side of the tunnel stands nowhere" grep -q 'bsmtp\.invalid' "$RIG_RUN/items"
start hub bsmtp-dispatch
check_soon 60 "success is reported" inbox_grep hub alice '^X-Rig-Id: sm-success$'
file=$(inbox_file hub alice '^X-Rig-Id: sm-success$')
check "by athena" grep -qi '^Reporting-MTA: dns; *athena.domain.co.uk' "$file"
check "with the original recipient and the envelope id" bash -c "grep -qi '^Original-Recipient: rfc822; *Info+list@domain.co.uk' '$file' && grep -qi '^Original-Envelope-Id: QQ314159+' '$file'"
check_soon 60 "an unknown user is reported" inbox_grep hub alice '^X-Rig-Id: sm-default$'
check_soon 60 "idle" tunnel_idle
check_not "NOTIFY=NEVER is not" inbox_grep hub alice '^X-Rig-Id: sm-never$'

# A tunnel out of order: bsmtpctl peer bypass gives waiting mail to sendmail, which sends it on by itself and not back.
inbox_clear athena user
stop hub bsmtp-dispatch
pc_send hub --from alice@domain.com --to user@domain.co.uk --id sm-bypass --mail-option ENVID=QQbypass --rcpt-option NOTIFY=SUCCESS \
  --rcpt-option 'ORCPT=rfc822;User+2Blist@domain.co.uk' >/dev/null
check_soon 20 "a message waits for a silent peer" bash -c "[ \"\$('$SYSTEM_DIR/on' hub bash -c 'ls /var/spool/bsmtp/peers/remote1/incoming | wc -l')\" = 1 ]"
on hub bash -c 'cp /etc/bsmtp/peers.d/remote1.conf /root/remote1.kept; printf "[peer.remote1]\nstate = stopping\n" >>/etc/bsmtp/peers.d/remote1.conf'
new_map() {
  on hub bash -c "bsmtpctl rules export --sendmail --write && makemap hash /etc/mail/bsmtp </var/lib/bsmtp/transport && systemctl reload bsmtp-milter"
}
new_map
mark=$(log_mark hub)
check "bypass hands it to sendmail" on hub bsmtpctl peer bypass remote1
check_soon 30 "it arrives" inbox_grep athena user '^X-Rig-Id: sm-bypass$'
check "sendmail sent it on by itself" log_has hub "$mark" 'to=<user@domain.co.uk>.*mailer=esmtp, .*stat=Sent'
check_not "not through the tunnel" inbox_grep athena user 'with BSMTP'
check "with its own envelope sender" inbox_grep athena user '^Return-Path: <alice@domain.com>'
check_equal "nothing was diverted again" "" "$(log_since hub "$mark" | grep -e 'remote1.bsmtp.invalid' -e 'mailer=bsmtp-out')"
check_equal "nothing is left in the spool" "" "$(on hub bash -c 'cd /var/spool/bsmtp/peers/remote1 && find tmp incoming building ready -mindepth 1')"
on hub mv /root/remote1.kept /etc/bsmtp/peers.d/remote1.conf
new_map
start hub bsmtp-dispatch
check_soon 40 "the sender gets the report he asked for" inbox_grep hub alice '^Original-Envelope-Id: QQbypass'
check "it names the original recipient" grep -qi '^Original-Recipient: rfc822; *User+list@domain.co.uk' "$(inbox_file hub alice '^Original-Envelope-Id: QQbypass')"

# Real mail.
inbox_clear athena user
bulk hub sm-bulk 80 alice@domain.com user@domain.co.uk >/dev/null
check_soon 60 "80 messages of real mail arrive" bulk_arrived sm-bulk athena user
check "each once and unchanged" verify_bulk sm-bulk athena user

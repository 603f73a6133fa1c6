# sendmail's own policy decides about unpacked mail, and nothing leaks while parts of us are away.
mark=$(log_mark hub)
on hub bash -c 'printf "From:refused@domain.co.uk\tREJECT\nFrom:later@domain.co.uk\tERROR:4.7.1:450 come back later\nFrom:gone@domain.co.uk\tDISCARD\nTo:closed@domain.com\tREJECT\n" >/root/more
  cat /etc/mail/access /root/more | makemap hash /etc/mail/access'
for who in refused later gone; do pc_send athena --from "$who@domain.co.uk" --to alice@domain.com --id "sp-$who" >/dev/null; done
pc_send athena --from user@domain.co.uk --to closed@domain.com --to bob@domain.com --id sp-closed >/dev/null
pc_send athena --from user@domain.co.uk --to alice@domain.com --id sp-content --body REJECT-AT-hub >/dev/null
# A hostile peer puts what it likes into its batches.
relay() { printf 'X-Rig-Id: sp-relay\nFrom: user@domain.co.uk\nSubject: relay\n\nhello\n' | as athena bsmtp /usr/libexec/bsmtp-tunnel/bsmtp-out --peer hub --sender user@domain.co.uk -- "$1"; }
on hub bash -c 'sed -i.kept "s/^recipient-domains = .*/recipient-domains = */" /etc/bsmtp/peers.d/*.conf; systemctl reload bsmtp-dispatch'
relay victim@example.org
relay victim2%example.org@hub.domain.com
relay '"victim4@example.org"@domain.com'
relay 'victim5@[10.99.0.66]'
check_soon 60 "the other recipient of a half-refused message arrives" inbox_grep hub bob '^X-Rig-Id: sp-closed$'
check_soon 60 "the refused recipient is in a DSN" inbox_grep athena user 'closed@domain.com'
check_soon 60 "the site's other milter refused a message on the listener" inbox_grep athena user 'content refused by testmilter'
for victim in victim@example.org victim2%example.org@hub.domain.com victim4@example.org 'victim5@.10.99.0.66'; do
  check_soon 60 "relaying to $victim is refused with a DSN" inbox_grep athena user "^Final-Recipient:.*$victim"
done
check_soon 30 "the access map refused a sender, who is told" log_has hub "$mark" 'notice kind=failure to=<refused@domain.co.uk>'
check_soon 30 "and deferred one" log_has hub "$mark" 'come back later'
on hub bash -c 'for f in /etc/bsmtp/peers.d/*.kept; do mv "$f" "${f%.kept}"; done; systemctl reload bsmtp-dispatch'
check_not "the victim got nothing" on wan grep -rlq '^X-Rig-Id: sp-relay' /var/tmp/sink
on hub bash -c 'makemap hash /etc/mail/access </etc/mail/access'
check_soon 60 "when the map relents the deferred one arrives" inbox_grep hub alice '^X-Rig-Id: sp-later$'
check_not "refused and discarded mail did not arrive" bash -c "grep -rlE '^X-Rig-Id: sp-(refused|gone|content)' '$(maildir hub alice)'"

stop hub bsmtp-milter
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id sp-nomilter >"$RIG_RUN/out" 2>&1
check "without the milter clients are asked to come back" grep -q '^451\|^4' "$RIG_RUN/out"
pc_send athena --from user@domain.co.uk --to bob@domain.com --id sp-inbound-nomilter >/dev/null
start hub bsmtp-milter
check_soon 60 "inbound mail came through" inbox_grep hub bob '^X-Rig-Id: sp-inbound-nomilter$'

stop hub bsmtp-dispatch
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --to someone@example.org --id sp-nodispatch >/dev/null
check_soon 20 "without the dispatcher mail is spooled" log_has hub "$mark" 'mailer=bsmtp-out.*stat=Sent'
check_soon 20 "mail for other domains does not notice" on wan grep -rlq '^X-Rig-Id: sp-nodispatch' /var/tmp/sink
start hub bsmtp-dispatch
check_soon 60 "and leaves when it is back" inbox_grep athena user '^X-Rig-Id: sp-nodispatch$'

on hub mv /etc/mail/bsmtp.db /etc/mail/bsmtp.away
restart hub sendmail
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to list@domain.com --to user@domain.co.uk --id sp-nomap >"$RIG_RUN/out" 2>&1
sleep 3
check_equal "without the map nothing leaves directly" "" "$(log_since hub "$mark" | grep -E 'to=<[^>]*domain\.co\.uk>.*mailer=esmtp.*stat=Sent' | grep -v 'to=<bsmtp@')"
on hub mv /etc/mail/bsmtp.away /etc/mail/bsmtp.db
restart hub sendmail
check_soon 60 "what waited without the map goes through the tunnel when it is back" inbox_grep athena alice '^X-Rig-Id: sp-nomap$'

# A parcel that athena refuses comes home to its return address; the users inside it are told.
if [ "${RIG_MTA_athena:-postfix}" = postfix ]; then
  on athena bash -c 'echo "bsmtp@athena.domain.co.uk REJECT no parcels today" >/etc/postfix/access; postmap /etc/postfix/access'
  expects_receipts hub no
  mark=$(log_mark hub)
  pc_send hub --from bob@domain.com --to user@domain.co.uk --id sp-bounced >/dev/null
  check_soon 60 "sendmail's bounce goes to the return address" log_has hub "$mark" 'to=<bsmtp\+[^>]+@hub.domain.com>.*mailer=bsmtp-in.*stat=Sent'
  check_soon 60 "and the sender gets a report" inbox_grep hub bob 'Final-Recipient: *rfc822; *user@domain.co.uk'
  on athena bash -c ': >/etc/postfix/access; postmap /etc/postfix/access'
  expects_receipts hub yes
fi

# Two filters besides ours: the listener's own list has both.
on hub bash -c 'cd /etc/mail && sed "s/^FEATURE(.bsmtp.)dnl/&\nINPUT_MAIL_FILTER(\`second'"'"', \`S=inet:10099@127.0.0.1, F=T'"'"')dnl/" sendmail.mc >two.mc && m4 two.mc >sendmail.cf'
restart hub sendmail
mark=$(log_mark hub)
pc_send athena --from user@domain.co.uk --to alice@domain.com --id sp-two >/dev/null
check_soon 60 "unpacked mail passes both" inbox_grep hub alice '^X-Rig-Id: sp-two$'
check "on port 25 there are three" on hub grep -q '^O InputMailFilters=opendkim, testmilter, second, bsmtp$' /etc/mail/sendmail.cf
check "the listener asked the second, not ours" bash -c "
  id=\$('$SYSTEM_DIR/on' hub sed -n 's/.*sm-mta.*: \([^ :]*\): .*daemon=bsmtp-resubmit.*/\1/p' /var/log/mail.log | tail -1)
  '$SYSTEM_DIR/on' hub grep -aF \"\$id\" /var/log/mail.log >'$RIG_RUN/two.log'
  grep -q 'Milter (second)' '$RIG_RUN/two.log' && grep -q 'Milter (testmilter)' '$RIG_RUN/two.log' && ! grep -q 'Milter (bsmtp)' '$RIG_RUN/two.log'"
on hub bash -c 'cd /etc/mail && m4 sendmail.mc >sendmail.cf'
restart hub sendmail

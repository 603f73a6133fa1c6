# SIGHUP under load: new rules take effect, bad ones are refused and the old kept; configuration mistakes cost no mail.
bulk hub reload 120 bob@domain.com user@domain.co.uk >"$RIG_RUN/reload.out" &
sender=$!
for _ in 1 2 3 4 5 6; do reload hub bsmtp-milter; reload hub bsmtp-dispatch; sleep 0.3; done
wait "$sender"; code=$?
check_equal "no message was refused during six reloads" 0 "$code"
check_soon 90 "all arrive" bulk_arrived reload athena user
mark=$(log_mark hub)
on hub bash -c 'cp /etc/bsmtp/rewrite /root/rewrite.kept; echo "domain.org  \$U%\$H@BSOUT-NOSUCH" >>/etc/bsmtp/rewrite'
on hub systemctl reload bsmtp-milter
check_soon 10 "the bad rule is named with file and line" log_has hub "$mark" 'rewrite:[0-9]+'
check "mail is taken under the old rules" pc_send hub --from alice@domain.com --to user@domain.co.uk --id reload-old
check_soon 30 "and arrives" inbox_grep athena user '^X-Rig-Id: reload-old$'
on hub bash -c 'cp /root/rewrite.kept /etc/bsmtp/rewrite; systemctl reload bsmtp-milter'

mark=$(log_mark hub)
on hub bash -c 'cp /etc/bsmtp/bsmtp.conf /root/conf.kept; echo "max-reciepients = 5" >>/etc/bsmtp/bsmtp.conf'
check_not "config check names the unknown key" on hub bsmtpctl config check
check "with the nearest known one" grep -q 'max-recipients' <(on hub bsmtpctl config check 2>&1)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id reload-typo >/dev/null
check_soon 20 "an admin's typo defers mail at bsmtp-out" log_has hub "$mark" "$TO_OUT.*dsn=4.*status=deferred.*max-reciepients"
check_equal "and bounces nothing" "" "$(log_since hub "$mark" | grep -E "$TO_OUT.*status=bounced")"
on hub cp /root/conf.kept /etc/bsmtp/bsmtp.conf
queue_flush hub
check_soon 40 "mended, the mail arrives" inbox_grep athena user '^X-Rig-Id: reload-typo$'

mark=$(log_mark athena)
on athena mv /var/lib/bsmtp/openpgp/verify /var/lib/bsmtp/openpgp/verify.away
pc_send hub --from alice@domain.com --to user@domain.co.uk --id reload-keys >/dev/null
check_soon 30 "an unreadable key ring defers parcels" log_has athena "$mark" "$TO_IN.*dsn=4.*status=deferred"
check_equal "none is bounced or quarantined for it" "" "$(log_since athena "$mark" | grep -E "$TO_IN.*status=(bounced|sent)")"
on athena bash -c 'rm -rf /var/lib/bsmtp/openpgp/verify; mv /var/lib/bsmtp/openpgp/verify.away /var/lib/bsmtp/openpgp/verify'
queue_flush athena
check_soon 40 "mended, the mail arrives" inbox_grep athena user '^X-Rig-Id: reload-keys$'
check_soon 30 "idle" tunnel_idle

# Clean shutdown with mail in flight.
bulk hub shutdown 60 bob@domain.com user@domain.co.uk >"$RIG_RUN/shutdown.out" &
sender=$!
sleep 0.5
check "bsmtp-milter stops cleanly with mail in flight" stop hub bsmtp-milter
start hub bsmtp-milter
wait "$sender"
check_soon 60 "what was taken arrives" bulk_arrived shutdown athena user

# The whole run's logs: nothing for a tunneled domain left directly, nobody crashed, no service was restarted by itself.
allowed='bsmtp@|bsmtp\+[^@]*@|postmaster@(athena|hub|zeus)\.|abuse@(athena|hub|zeus)\.'
bypassed=$(cat "$RIG_RUN/bypassed" 2>/dev/null)
check_equal "hub sent nothing to domain.co.uk or domain.net outside parcels" "" \
  "$(mail_log hub | grep -E 'postfix/smtp\[.*to=<[^>]*domain\.(co\.uk|net)>' | grep -vE "to=<($allowed)|: ${bypassed:-no-queue-id}: to=")"
check_equal "athena sent nothing to domain.com outside parcels" "" \
  "$(mail_log athena | grep -E 'postfix/smtp\[.*to=<[^>]*domain\.com>' | grep -vE "to=<($allowed)")"
check_equal "zeus sent nothing to domain.com outside parcels" "" \
  "$(mail_log zeus | grep -E 'postfix/smtp\[.*to=<[^>]*domain\.com>' | grep -vE "to=<($allowed)")"
check_equal "nothing for the inner side reached an SMTP client" "" "$(for g in "${GATEWAYS[@]}"; do mail_log "$g" | grep -E 'postfix/(smtp|relay)\[.*bsmtp\.invalid'; done)"
for g in "${GATEWAYS[@]}"; do
  check_equal "$g: no Postfix fatal or panic" "" "$(mail_log "$g" | grep -E 'postfix.*(fatal|panic):' | grep -vE 'Queue report unavailable|mail system is (down|not running|already)|the Postfix mail system is not running|execvp /usr/libexec/bsmtp-tunnel' | head -3)"
  check_equal "$g: no crash of ours" "" "$(mail_log "$g" | grep -E 'Command died with signal (6|11)|AddressSanitizer|internal error' | head -3)"
  check_equal "$g: no content in our log lines" "" "$(mail_log "$g" | grep -E 'bsmtp-(in|out|dispatch|milter)\[' | grep -F 'REJECT-AT-athena')"
  check "$g: milter is up" on "$g" systemctl is-active bsmtp-milter
  check "$g: dispatcher is up" on "$g" systemctl is-active bsmtp-dispatch
  check "$g: memory of the dispatcher is small ($(on "$g" bash -c 'grep VmHWM /proc/$(cat /run/units/bsmtp-dispatch.service.pid)/status' | tr -s ' \t' ' '))" \
    on "$g" bash -c '[ "$(awk "/VmHWM/ { print \$2 }" /proc/$(cat /run/units/bsmtp-dispatch.service.pid)/status)" -lt 65536 ]'
done

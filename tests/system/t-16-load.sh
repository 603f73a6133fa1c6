# Rules swapped under load (bad, half written, empty, good), and one message with as many recipients as Postfix takes.
check_soon 60 "idle at the beginning" tunnel_idle
on hub cp /etc/bsmtp/rewrite /root/rewrite.swap
mark=$(log_mark hub)
bulk hub swap 100 bob@domain.com user@domain.co.uk >"$RIG_RUN/swap.out" &
sender=$!
for _ in 1 2 3; do
  # An editor that writes in place shows each of these for a moment.
  for text in 'domain.co.uk  $(bad' 'domain.co.uk      $U%$H@BSOUT-REM' '' "$(cat "$(host_root hub)/root/rewrite.swap")"; do
    printf '%s\n' "$text" >"$(host_root hub)/etc/bsmtp/rewrite"
    reload hub bsmtp-milter
  done
done
wait "$sender"; code=$?
check_equal "no message was refused" 0 "$code"
check_soon 60 "all arrive" bulk_arrived swap athena user
check "each once" verify_bulk swap athena user
check "a bad rule is named with its line" log_has hub "$mark" 'reload-failed.*rewrite:1'
check_equal "nothing left directly while there were no rules" "" \
  "$(log_since hub "$mark" | grep -E 'postfix/smtp\[.*to=<[^>]*domain\.co\.uk>' | grep -v 'to=<bsmtp')"
check "the milter runs" on hub systemctl is-active bsmtp-milter
check_soon 60 "idle" tunnel_idle

# (Ten thousand in one LMTP transaction: tests/program/lmtp_test.py.)
many=1000
stop hub bsmtp-dispatch
seq "$many" | sed 's/.*/--to=user+&@domain.co.uk/' | xargs -n "$many" "$SYSTEM_DIR/on" wan /rig/mail.py send --server "${IP[hub]}" --source "${PC[hub]}" \
  --from bob@domain.com --id many >"$RIG_RUN/many.out"
check_equal "one message for 1,000 recipients is taken" "$many" "$(grep -c '^250 *user+' "$RIG_RUN/many.out")"
check "and its text" grep -q '^250 .*DATA' "$RIG_RUN/many.out"
check_soon 90 "Postfix handed all on" queue_empty hub
items=/var/spool/bsmtp/peers/remote1/incoming
check_equal "each recipient stands once in the spool" "$many" \
  "$(sh_on hub "cat $items/* | grep -ao '^RCPT TO:<user+[0-9]*@domain.co.uk>' | sort -u | wc -l")"
check_equal "and no more" "$many" "$(sh_on hub "cat $items/* | grep -ac '^RCPT TO:'")"
sh_on hub "rm -f $items/*"
start hub bsmtp-dispatch
check_soon 30 "idle" tunnel_idle

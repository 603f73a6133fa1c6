# 400 odd addresses against real Postfix: what the milter adds arrives at the agent and undoes to the original, or was not diverted.
stop hub bsmtp-dispatch
check_soon 30 "hub's Postfix is idle" queue_empty hub
on hub bash -c 'find /var/spool/bsmtp/peers/remote1/incoming -type f | wc -l' >"$RIG_RUN/before"
on wan /rig/odd_addresses.py "${IP[hub]}" "${PC[hub]}" /rig-shared/odd.json 400 >"$RIG_RUN/odd.out" 2>&1
check "addresses were offered ($(tail -1 "$RIG_RUN/odd.out"))" grep -q 'taken=[1-9]' "$RIG_RUN/odd.out"
check_soon 60 "Postfix handed all on" queue_empty hub
check "each arrived as itself in the spool" "$SYSTEM_DIR/odd_addresses.py" --check "$RIG_RUN/shared/odd.json" \
  "$(host_root hub)/var/spool/bsmtp/peers/remote1/incoming" "$(host_root hub)/var/log/mail.log"
sed 's/^/    /' "$RIG_RUN/check.out" | head -5
inbox_clear hub bob
start hub bsmtp-dispatch
check_soon 90 "idle" tunnel_idle

# 450 odd addresses against real Postfix: what the milter adds arrives at the agent and undoes to the original, or was not diverted.
# Every message that hub took is accounted for: at athena with exactly that recipient, or in a report to its sender.
seed=20261122
# athena takes any local part and hands it, as it understood it, to a server that writes it down.
on athena bash -c '
  for name in resolve_dequoted_address mydestination local_recipient_maps local_transport; do echo "$name = $(postconf -h $name)"; done >/root/main.kept
  rm -rf /var/tmp/odd; mkdir /var/tmp/odd
  setsid /rig/sink.py 127.0.0.1 2525 /var/tmp/odd </dev/null >/var/log/odd-sink.out 2>&1 & echo $! >/run/odd-sink.pid
  # (Postfix alone would take "user@domain.co.uk"@domain.co.uk for user@domain.co.uk.)
  postconf -e resolve_dequoted_address=no "mydestination = $(postconf -h mydestination), sub.domain.co.uk, x-1.domain.co.uk" local_recipient_maps= \
    "local_transport = smtp:[127.0.0.1]:2525"
  systemctl reload postfix'
stop hub bsmtp-dispatch
check_soon 30 "hub's Postfix is idle" queue_empty hub
inbox_clear hub bob
mark=$(log_mark hub)
on wan /rig/odd_addresses.py --offer "${IP[hub]}" "${PC[hub]}" /rig-shared/odd.json 450 "$seed" >"$RIG_RUN/odd.out" 2>&1
check "addresses were offered ($(tail -1 "$RIG_RUN/odd.out"))" grep -Eq 'taken=[34][0-9][0-9] utf8=[1-9][0-9]' "$RIG_RUN/odd.out"
check_soon 60 "Postfix handed all on" queue_empty hub
log_since hub "$mark" >"$RIG_RUN/odd.log"
check "each stands as itself in the spool" "$SYSTEM_DIR/odd_addresses.py" --spool "$RIG_RUN/shared/odd.json" \
  "$(host_root hub)/var/spool/bsmtp/peers/remote1/incoming" "$RIG_RUN/odd.log"
sed 's/^/    /' "$RIG_RUN/check.out" | head -1
start hub bsmtp-dispatch
check_soon 120 "idle: nothing is still queued" tunnel_idle
check "each is accounted for" "$SYSTEM_DIR/odd_addresses.py" --account "$RIG_RUN/shared/odd.json" \
  "$(host_root athena)/var/tmp/odd" "$(maildir hub bob)"
sed 's/^/    /' "$RIG_RUN/check.out" | head -1
inbox_clear hub bob
on athena bash -c 'xargs -d "\n" postconf -e </root/main.kept 2>/dev/null; systemctl reload postfix; kill "$(cat /run/odd-sink.pid)"; rm -r /var/tmp/odd'

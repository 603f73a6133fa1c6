# 1,000 messages from hub to athena: each once, unchanged; how long it took.
began=$SECONDS
check "hub takes 1000 ($(bulk hub thousand 1000 alice@domain.com,bob@domain.com user@domain.co.uk info@domain.co.uk))" test -s "$RIG_RUN/shared/thousand.json"
say "    submitted in $((SECONDS - began)) s"
check_soon 240 "all 1000 arrive" bulk_arrived thousand athena user info
say "    delivered after $((SECONDS - began)) s"
result=$(verify_bulk thousand athena user info 2>"$RIG_RUN/thousand.err")
check_equal "identical" 1000 "$(json_field identical <<<"$result")"
check_equal "doubled" 0 "$(json_field doubled <<<"$result")"
check_equal "DKIM passes = signatures" "$(json_field dkim_signed <<<"$result")" "$(json_field dkim_pass <<<"$result")"
on hub bsmtpctl key export >"$RIG_RUN/shared/hub.asc"
check "oracle: all parcels opened without our code" "$SYSTEM_DIR/oracle.py" open --keys "$RIG_RUN/shared/hub.asc" \
  --manifest "$RIG_RUN/shared/thousand.json" --from hub.domain.com --to athena.domain.co.uk $(parcel_files athena)
sed 's/^/    /' "$RIG_RUN/check.out"
check_soon 60 "idle" tunnel_idle

# 100 real messages each way: once, unchanged, DKIM still valid; every parcel taken apart without our code.
before=$(parcels_at athena)
check "hub takes 100" bulk hub real-h 100 alice@domain.com,bob@domain.com user@domain.co.uk info@domain.co.uk
check "athena takes 100" bulk athena real-a 100 user@domain.co.uk,info@domain.co.uk alice@domain.com bob@domain.com
check_soon 90 "all arrive at athena" bulk_arrived real-h athena user info
check_soon 90 "all arrive at hub" bulk_arrived real-a hub alice bob
check "each once and with the octets that were sent (athena)" verify_bulk real-h athena user info
check "each once and with the octets that were sent (hub)" verify_bulk real-a hub alice bob
for side in "real-h athena user info" "real-a hub alice bob"; do
  result=$(verify_bulk $side 2>/dev/null)
  check_equal "$side: as many DKIM passes as signatures" "$(json_field dkim_signed <<<"$result")" "$(json_field dkim_pass <<<"$result")"
  check "$side: at least 95 of 100 were signed" test "$(json_field dkim_signed <<<"$result")" -ge 95
done
on hub bsmtpctl key export >"$RIG_RUN/shared/hub.asc"; on athena bsmtpctl key export >"$RIG_RUN/shared/athena.asc"
check "oracle: all parcels to athena" "$SYSTEM_DIR/oracle.py" open --keys "$RIG_RUN/shared/hub.asc" --manifest "$RIG_RUN/shared/real-h.json" --from hub.domain.com --to athena.domain.co.uk $(parcel_files athena)
check "oracle: all parcels to hub" "$SYSTEM_DIR/oracle.py" open --keys "$RIG_RUN/shared/athena.asc" --manifest "$RIG_RUN/shared/real-a.json" --from athena.domain.co.uk --to hub.domain.com $(parcel_files hub)
after=$(parcels_at athena)
check "far fewer parcels than messages ($((after - before)))" test $((after - before)) -le 20

# One message each way, of a user's machine; STARTTLS between the gateways; the parcel seen by Python and gpg.
mark_h=$(log_mark hub) mark_a=$(log_mark athena)
check "hub takes a message for user@domain.co.uk" pc_send hub --from alice@domain.com --to user@domain.co.uk --id two-ways-1
check "athena takes one for alice@domain.com" pc_send athena --from user@domain.co.uk --to alice@domain.com --id two-ways-2
check_soon 30 "it arrives at athena" inbox_grep athena user '^X-Rig-Id: two-ways-1$'
check_soon 30 "it arrives at hub" inbox_grep hub alice '^X-Rig-Id: two-ways-2$'
check_soon 10 "hub's Postfix handed it to bsmtp-out in diverted form" log_has hub "$mark_h" 'postfix/bsmtp-out/lmtp\[.*to=<user%domain.co.uk@remote1.bsmtp.invalid>.*private/bsmtp-out-agent\].*status=sent \(250 2\.0\.0 .* queued as [0-9a-f]{44} for remote1'
check_soon 10 "athena's handed the parcel to bsmtp-in" log_has athena "$mark_a" 'postfix/bsmtp-in/lmtp\[.*to=<bsmtp@athena.domain.co.uk>.*private/bsmtp-in-agent\].*status=sent \(250 2\.0\.0 .* accepted '
check_soon 10 "the report names the original recipient" log_has hub "$mark_h" 'orig_to=<user@domain.co.uk>|to=<user%domain.co.uk@remote1'
check_soon 10 "the parcel went from MTA to MTA with a verified certificate" log_has hub "$mark_h" 'Verified TLS connection established to athena.domain.co.uk'
check_soon 10 "the parcel's own reverse-path is a return address" log_has hub "$mark_h" 'qmgr.*from=<bsmtp\+[^>@]+@hub.domain.com>'
check_soon 10 "athena's listener took the unpacked message" log_has athena "$mark_a" 'bsmtp-resubmit/smtpd.*client='
file=$(inbox_file athena user '^X-Rig-Id: two-ways-1$')
check "its envelope sender is the user" grep -q '^Return-Path: <alice@domain.com>' "$file"
check "OpenDKIM verified it behind the tunnel" grep -Pzoq '(?s)Authentication-Results: athena[^\n]*\n?.{0,80}dkim=pass' "$file"
check_equal "Received lines: athena's listener, ours, hub's port 25" 3 "$(sed '/^$/q' "$file" | grep -c '^Received:')"
check_equal "no message of a user passed hub's port to athena directly" "" \
  "$(log_since hub "$mark_h" | grep -E 'postfix/smtp\[.*to=<user@' )"
check_soon 20 "both gateways are empty" tunnel_idle
parcel=$(parcel_files athena | head -1)
on hub bsmtpctl key export >"$RIG_RUN/shared/hub.asc"
check "the parcel opens with Python's email, gzip and gpg" "$SYSTEM_DIR/oracle.py" open --keys "$RIG_RUN/shared/hub.asc" --from hub.domain.com --to athena.domain.co.uk "$parcel"
cp "$parcel" "$RIG_RUN/shared/parcel.eml"; chmod 644 "$RIG_RUN/shared/parcel.eml"
check "bsmtpctl parcel inspect describes it" on hub bsmtpctl parcel inspect /rig-shared/parcel.eml
check "parcel headers say that a machine made it" grep -qi '^Auto-Submitted: auto-generated' "$parcel"

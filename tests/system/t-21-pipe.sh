# The pipe form, by the recipe of docs/install-postfix.md, at hub and athena: real mail, what a pipe tells of a sender's wishes, failing agents; and back.
recipe() { "$SYSTEM_DIR/recipe.py" "$TOP/docs/install-postfix.md" "$1" --run hub=hub --run athena=athena; }
reports() { reports_to hub alice "$1"; }
arrived() { check_soon 60 "$1 arrives" inbox_grep athena user "^X-Rig-Id: $1\$"; }
check_soon 60 "idle at the beginning" tunnel_idle
check "the recipe works" recipe "## Pipe instead of LMTP"
mark_h=$(log_mark hub) mark_a=$(log_mark athena)

bulk hub pipe-a 60 alice@domain.com,bob@domain.com user@domain.co.uk info@domain.co.uk >/dev/null
bulk athena pipe-b 40 user@domain.co.uk alice@domain.com bob@domain.com >/dev/null
send_odd hub "${PC[hub]}" pipe-odd-h alice@domain.com user@domain.co.uk >/dev/null
send_odd athena "${PC[athena]}" pipe-odd-a user@domain.co.uk alice@domain.com >/dev/null
printf 'From: alice@domain.com\r\nTo: user@domain.co.uk\r\n\r\na\0b\r\n' >"$RIG_RUN/shared/nul.eml"
pc_send hub --from alice@domain.com --to user@domain.co.uk --id pipe-nul --file /rig-shared/nul.eml >/dev/null
check_soon 60 "60 messages arrive at athena" bulk_arrived pipe-a athena user info
check_soon 60 "40 messages arrive at hub" bulk_arrived pipe-b hub alice bob
check "each once, and not an octet differs (athena)" verify_bulk pipe-a athena user info
check "each once, and not an octet differs (hub)" verify_bulk pipe-b hub alice bob
check_odd "odd messages" pipe-odd-h athena user
check_odd "odd messages" pipe-odd-a hub alice
check_soon 30 "a message with a NUL octet comes home" one_report pipe-nul
check "and the report says why" grep -q 'the message has a NUL octet' "$(inbox_file hub alice '^X-Rig-Id: pipe-nul$')"
check "the items came by pipe" log_has hub "$mark_h" 'postfix/pipe\[.*to=<user%domain.co.uk@remote1.bsmtp.invalid>.*relay=bsmtp-out,.*status=sent'
check "the parcels came by pipe" log_has athena "$mark_a" 'postfix/pipe\[.*to=<bsmtp@athena.domain.co.uk>.*relay=bsmtp-in,.*status=sent'
check_equal "none by LMTP" "" "$({ log_since hub "$mark_h"; log_since athena "$mark_a"; } | grep -E 'private/bsmtp-' | head -1)"

pc_send hub --from alice@domain.com --to nobody-here@domain.co.uk --id pipe-never --rcpt-option NOTIFY=NEVER >/dev/null
pc_send hub --from alice@domain.com --to nobody-here@domain.co.uk --id pipe-default >/dev/null
pc_send hub --from alice@domain.com --to user@domain.co.uk --id pipe-success --rcpt-option NOTIFY=SUCCESS >/dev/null
arrived pipe-success
check_soon 30 "NOTIFY=SUCCESS is answered by hub" one_report pipe-success
check "with Action: relayed" grep -qi '^Action: relayed' "$(inbox_file hub alice '^X-Rig-Id: pipe-success$')"
check_soon 60 "an unknown user is reported" one_report pipe-default

say "  agents that are missing or die"
agent=/usr/libexec/bsmtp-tunnel/bsmtp-out
mark=$(log_mark hub)
on hub mv $agent $agent.away
pc_send hub --from alice@domain.com --to user@domain.co.uk --id pipe-agent >/dev/null
check_soon 20 "missing: deferred" log_has hub "$mark" 'relay=bsmtp-out.*dsn=4\..*status=deferred'
on hub bash -c "printf '#!/bin/sh\nkill -9 \$\$\n' >$agent; chmod 755 $agent"
mark_killed=$(log_mark hub)
queue_flush hub
check_soon 20 "killed: deferred" log_has hub "$mark_killed" 'relay=bsmtp-out.*status=deferred'
check_equal "never bounced" "" "$(log_since hub "$mark" | grep 'status=bounced')"
on hub mv $agent.away $agent
queue_flush hub
arrived pipe-agent
check_soon 60 "idle" tunnel_idle
check_equal "NOTIFY=NEVER, carried by its label: nothing was reported" 0 "$(reports pipe-never)"
check_equal "NOTIFY=SUCCESS was reported once" 1 "$(reports pipe-success)"

check "the recipe back to LMTP works" recipe "## From pipe to LMTP"
check "and leaves nothing that Postfix warns of" on hub bash -c '[ -z "$(postconf -n 2>&1 >/dev/null)" ]'
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id pipe-lmtp-again >/dev/null
arrived pipe-lmtp-again
check "by LMTP" log_has hub "$mark" 'private/bsmtp-out-agent\].*status=sent'
check_soon 60 "idle at the end" tunnel_idle

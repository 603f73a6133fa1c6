# A parcel goes, a signed receipt comes back: through both MTAs, untouched, undiverted, unanswered.
# The next receipt of HOST need not wait for the minute that lies between two.
receipt_now() { on "$1" /usr/bin/python3 -c 'import sqlite3; b = sqlite3.connect("/var/spool/bsmtp/ledger.sqlite", timeout=10); b.execute("DELETE FROM receipt_written"); b.commit()'; }
# receipt_comes SENDING-HOST RECEIVING-HOST SENDER USER
receipt_comes() {
  local s=$1 r=$2 from=$3 user=$4 mark_s mark_r held parcel copy receipts
  mark_s=$(log_mark "$s") mark_r=$(log_mark "$r") held=$(quarantined "$s")
  receipt_now "$r"
  pc_send "$s" --from "$from" --to "$user@${DOMAIN[$r]}" --id "receipt-$s" >/dev/null
  check_soon 40 "a message of $s arrives at $r" inbox_grep "$r" "$user" "^X-Rig-Id: receipt-$s\$"
  parcel=$(log_since "$s" "$mark_s" | sed -nE 's/.*bsmtp-dispatch.* ([0-9a-f]{44}): built peer=.*/\1/p' | tail -1)
  check "its parcel has an id" test -n "$parcel"
  check_soon 90 "$r answers it" log_has "$r" "$mark_r" "bsmtp-dispatch.*$parcel: answered .*state=accepted"
  check_soon 30 "bsmtp-in of $s verifies the receipt and keeps it" log_has "$s" "$mark_s" 'bsmtp-in.*: receipt-received .*key=[0-9A-F]{40}'
  check_soon 10 "the MTA of $r sent it, with the null sender" log_has "$r" "$mark_r" 'qmgr\[.*from=<>|from=(<>|bsmtp-sign|bsmtp),'
  check_soon 10 "straight to the parcel address of $s, as typed" log_has "$r" "$mark_r" "postfix/smtp\\[.*to=<bsmtp@${FQDN[$s]}>, relay=${FQDN[$s]}.*status=sent|to=<bsmtp@${FQDN[$s]}>.*mailer=esmtp.*stat=Sent"
  check_equal "its path was not diverted" "" "$(log_since "$r" "$mark_r" | grep -E 'to=<bsmtp%|diverted .*bsmtp@')"
  copy=$(parcel_files "$r" | xargs -rd '\n' grep -lE "^Subject: BSMTP parcel $parcel" | head -1)
  receipt_is_kept() { receipt_files "$s" | xargs -rd '\n' grep -q "$parcel"; }
  check_soon 20 "a copy of it is in the archive of $s" receipt_is_kept
  receipts=$(receipt_files "$s" | xargs -rd '\n' grep -l "$parcel")
  on "$r" bsmtpctl key export >"$RIG_RUN/shared/$r.asc"
  # shellcheck disable=SC2086 # file names of a Maildir
  check "it verifies by gpg, and Python's email reads that this parcel was accepted" "$SYSTEM_DIR/oracle.py" receipt \
    --keys "$RIG_RUN/shared/$r.asc" --from "${FQDN[$r]}" --to "${FQDN[$s]}" --parcel "$parcel" --of "$copy" $receipts
  # shellcheck disable=SC2086
  check "it says that it answers by itself" grep -qi '^Auto-Submitted: auto-replied' $receipts
  check_equal "nothing was quarantined at $s" "$held" "$(quarantined "$s")"
  check_equal "and nobody answered it" "" "$(log_since "$s" "$mark_s" | grep -E 'bsmtp-(in|dispatch).*(: asked |: notice .*kind=(failure|null-sender))')"
}
check_soon 60 "idle" tunnel_idle
receipt_comes hub athena alice@domain.com user
[ -z "${receipts_both_ways-}" ] || receipt_comes athena hub user@domain.co.uk alice
check_soon 20 "idle again" tunnel_idle

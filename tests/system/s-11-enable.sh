# The tunnel is taken out of either MTA by the commands that bsmtpctl prints, and brought in again by those.
other() { if [ "$1" = hub ]; then echo athena; else echo hub; fi; }
user_of() { echo "user@${DOMAIN[$1]}"; } # there is one on either
type_in() { on "$1" bash -c 'bsmtpctl $1 $2 >/root/commands && sh -e /root/commands' _ "$(mta "$1")" "$2"; }
round_trip() { # ID: mail of a user on each side to the other
  local h
  for h in hub athena; do pc_send $h --from "$(user_of $h)" --to "$(user_of "$(other $h)")" --id "$1" >/dev/null; done
  for h in hub athena; do check_soon 60 "$1: mail arrives at $h" inbox_grep $h user "^X-Rig-Id: $1\$"; done
}
check_soon 60 "idle at the beginning" tunnel_idle
for host in hub athena; do
  check "$host: $(mta $host) disable, as printed" type_in $host disable
  check_not "$host: and no second time" type_in $host disable
done
declare -A mark; for host in hub athena; do mark[$host]=$(log_mark $host); done
round_trip en-direct
for host in hub athena; do
  check "$host: it left directly" log_has $host "${mark[$host]}" "to=<$(user_of "$(other $host)")>.*(status=sent|stat=Sent)"
  check_equal "$host: no agent had it" "" "$(log_since $host "${mark[$host]}" | grep -E 'bsmtp-out\[|bsmtp-in\[' | head -1)"
done
for host in hub athena; do
  check "$host: $(mta $host) enable, as printed" type_in $host enable
  check_not "$host: and no second time" type_in $host enable
  check "$host: $(mta $host) check is content" on $host bsmtpctl "$(mta $host)" check
  mark[$host]=$(log_mark $host)
done
round_trip en-tunnel
for host in hub athena; do
  check "$host: bsmtp-out had it" log_has $host "${mark[$host]}" "bsmtp-out\\[.*enqueued .*from=<$(user_of $host)>"
  check "$host: bsmtp-in had it" log_has $host "${mark[$host]}" 'bsmtp-in\[.*: accepted '
done
check_soon 60 "idle at the end" tunnel_idle

# One message to both remotes, the outside and a local user, while zeus is down: athena does not wait, zeus gets it later.
stop zeus postfix
mark=$(log_mark hub)
check "one message to four destinations is taken" pc_send hub --from alice@domain.com --to user@domain.co.uk \
  --to user@domain.net --to someone@example.org --to bob@domain.com --id four-1
check_soon 30 "athena has it while zeus is down" inbox_grep athena user '^X-Rig-Id: four-1$'
check_soon 10 "the local user has it" inbox_grep hub bob '^X-Rig-Id: four-1$'
check_soon 10 "the outside has it, directly" on wan grep -rlq '^X-Rig-Id: four-1' /var/tmp/sink
for n in 1 2 3 4 5; do pc_send hub --from alice@domain.com --to user@domain.co.uk --to user@domain.net --id "four-flow-$n" >/dev/null; sleep 0.5; done
check_soon 40 "athena's mail flows on" inbox_grep athena user '^X-Rig-Id: four-flow-5$'
check "zeus has nothing yet" test "$(inbox_count zeus user)" = 0
check_soon 20 "its parcel waits with hub's Postfix" on hub bash -c "postqueue -j | grep -q bsmtp@zeus.domain.net"
start zeus postfix
queue_flush hub
check_soon 60 "zeus has the first" inbox_grep zeus user '^X-Rig-Id: four-1$'
check_soon 60 "and the last" inbox_grep zeus user '^X-Rig-Id: four-flow-5$'
check_soon 30 "idle" tunnel_idle
check_equal "zeus has each once" 6 "$(inbox_count zeus user)"
check_equal "no recipient of one tunnel is named in the other's message" "" "$(grep -rlE 'domain\.net' "$(maildir athena user)" 2>/dev/null | xargs -r grep -l 'X-Rig-Id: four-1' )"

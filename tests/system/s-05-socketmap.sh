# sendmail asks bsmtp-milter's socketmap, and the tunnel's processes die: rules no table can express, exemptions, reload, nothing beside the tunnel.
rig_recipe() { "$SYSTEM_DIR/recipe.py" "$TOP/docs/install-sendmail.md" "$1" --run hub=hub; }
arrived() { check_soon 60 "$1 arrives" inbox_grep athena user "^X-Rig-Id: $1\$"; }
outside() { check_soon 20 "${2:-mail for other domains does not notice} ($1)" on wan grep -rlq "^X-Rig-Id: $1" /var/tmp/sink; }
nothing_direct() { # MARK WHEN
  check_equal "nothing for the tunneled domains left directly ($2)" "" "$(left_directly hub "$1" domain.co.uk; left_directly hub "$1" depth.example)"
}
flush_all() { on hub sendmail-msp -Ac -q; queue_flush hub; }
check_soon 60 "idle at the beginning" tunnel_idle
on hub bash -c 'mkdir /root/kept; cp /etc/mail/sendmail.mc /etc/mail/sendmail.cf /etc/bsmtp/bsmtp.conf /etc/bsmtp/rewrite /etc/aliases /etc/mail/virtusertable /root/kept'
check "the recipe works" rig_recipe "## Rules that no table can express"
# As set up, but an answer must come within a second: this test waits for some that never come.
on hub bash -c 'cd /etc/mail && sed -i "s/socketmap=unix/socketmap=-d1 unix/" sendmail.mc && m4 sendmail.mc >sendmail.cf
  printf "*.depth.example  \$U%%domain.co.uk@BSOUT-REMOTE1\$Nbsout_remote1\n" >>/etc/bsmtp/rewrite
  printf "map-broken: |/usr/bin/false\nmap-plain: user@domain.co.uk\nmap-deep: user@one.depth.example\nmap-list: bob, user@two.depth.example, user@domain.co.uk\n" >>/etc/aliases; newaliases >/dev/null
  printf "virt@domain.com\tuser@one.depth.example\n" | makemap hash /etc/mail/virtusertable
  echo user@one.depth.example >/home/carla/.forward; chown carla: /home/carla/.forward'
restart hub sendmail
reload hub bsmtp-milter
# A path each for mail that no milter sees, and one that it does see; all through a rule that only the socketmap knows.
mark=$(log_mark hub)
stranger_send hub --from x@example.net --to map-deep@domain.com --id sk-alias >/dev/null
stranger_send hub --from x@example.net --to map-list@domain.com --id sk-list >/dev/null
stranger_send hub --from x@example.net --to carla@domain.com --id sk-forward >/dev/null
stranger_send hub --from x@example.net --to virt@domain.com --id sk-virtual >/dev/null
stranger_send hub --from x@example.net --to map-plain@domain.com --id sk-plain >/dev/null
pc_send hub --from alice@domain.com --to user@one.depth.example --id sk-milter >/dev/null
local_send hub alice@domain.com user@one.depth.example sk-local
pc_send hub --from user@domain.co.uk --to map-broken@domain.com --id sk-bounce >/dev/null
pc_send hub --from alice@domain.com --to someone@example.org --to user@three.levels.depth.example --id sk-other >/dev/null
pc_send hub --from alice@domain.com --to postmaster@athena.domain.co.uk --id sk-exempt >/dev/null
for id in alias list forward virtual plain milter local bounce; do arrived "sk-$id"; done
outside sk-other
check_soon 20 "a host at another depth is left to the MTA" log_has hub "$mark" 'to=<user@three.levels.depth.example>.*mailer=esmtp'
check_soon 20 "an exempt address goes directly" log_has hub "$mark" 'to=<postmaster@athena.domain.co.uk>.*mailer=esmtp.*stat=Sent'
check "parcels too" log_has hub "$mark" 'to=<bsmtp@athena.domain.co.uk>.*mailer=esmtp.*stat=Sent'
check "the recipient in the tunnel is the rules' one, though no milter made it" log_has hub "$mark" 'to=<?user@one.depth.example>?.*mailer=bsmtp-out.*stat=Sent'
nothing_direct "$mark" "in order"

say "  the milter is dead, hangs, comes back; only the map stands in the way"
on hub sed -i 's/^O InputMailFilters=.*/O InputMailFilters=opendkim, testmilter/' /etc/mail/sendmail.cf
restart hub sendmail
mark=$(log_mark hub)
dead_for() { # NAME: tunneled, other and local mail while bsmtp-milter does not answer
  pc_send hub --from alice@domain.com --to user@domain.co.uk --id "sk-$1" >"$RIG_RUN/out" 2>&1
  check "$1: a client is asked to come back" grep -q '^451 4.3' "$RIG_RUN/out"
  pc_send hub --from alice@domain.com --to someone@example.org --id "sk-$1-other" >"$RIG_RUN/out" 2>&1
  check "$1: for other domains too, as documented" grep -q '^451 4.3' "$RIG_RUN/out"
  check "$1: mail for an alias that is partly local is taken" stranger_send hub --from x@example.net --to map-list@domain.com --id "sk-$1-list"
  stranger_send hub --from x@example.net --to bob@domain.com --id "sk-$1-local" >/dev/null
  check_soon 20 "$1: local mail does not notice" inbox_grep hub bob "^X-Rig-Id: sk-$1-local\$"
  check_soon 20 "$1: nor do the local members of a list" inbox_grep hub bob "^X-Rig-Id: sk-$1-list\$"
  local_send hub alice@domain.com user@one.depth.example "sk-$1-queued"
}
on hub systemctl kill bsmtp-milter
dead_for dead
queue_flush hub; sleep 1
nothing_direct "$mark" "dead"
start hub bsmtp-milter
flush_all
arrived sk-dead-list; arrived sk-dead-queued
pid=$(on hub cat /run/units/bsmtp-milter.service.pid)
on hub kill -STOP "$pid"
dead_for hung
on hub kill -CONT "$pid"
flush_all
arrived sk-hung-list; arrived sk-hung-queued
nothing_direct "$mark" "hung"
check_equal "nothing was bounced" "" "$(log_since hub "$mark" | grep -E 'DSN: (Service|User|Return|unknown)|dsn=5')"

say "  everything under load: rules reloaded, each process killed and started again"
on hub bash -c 'cd /etc/mail && m4 sendmail.mc >sendmail.cf'
restart hub sendmail
mark=$(log_mark hub)
: >"$RIG_RUN/load.out"
(for n in $(seq 14); do
   local_send hub alice@domain.com user@one.depth.example "load-tunnel-$n"
   stranger_send hub --from x@example.net --to map-list@domain.com --id "load-list-$n" >/dev/null 2>&1 && echo taken >>"$RIG_RUN/load.out"
   local_send hub alice@domain.com someone@example.org "load-other-$n"
 done) &
sender=$!
for _ in 1 2; do
  for _ in 1 2; do reload hub bsmtp-milter; reload hub bsmtp-dispatch; done
  kill9 hub bsmtp-milter; start hub bsmtp-milter
  kill9 hub bsmtp-dispatch; kill9 athena bsmtp-dispatch; start hub bsmtp-dispatch; start athena bsmtp-dispatch
done
on hub mv /usr/libexec/bsmtp-tunnel/bsmtp-in /usr/libexec/bsmtp-tunnel/away
pc_send athena --from user@domain.co.uk --to alice@domain.com --id sk-no-agent >/dev/null
wait "$sender"
check_soon 20 "without bsmtp-in a parcel waits" log_has hub "$mark" 'to=<bsmtp@hub.domain.com>.*mailer=bsmtp-in.*stat=Deferred'
on hub mv /usr/libexec/bsmtp-tunnel/away /usr/libexec/bsmtp-tunnel/bsmtp-in
flush_all
all_of() { [ "$(find "$1" -type f -exec sed -nE "s/^X-Rig-Id: ($2-[0-9]+)\r?\$/\\1/p" {} + | sort -u | wc -l)" -ge "$3" ]; }
check_soon 90 "all for the tunneled domain arrive" all_of "$(maildir athena user)" load-tunnel 14
check_soon 30 "all for other domains too" all_of "$(host_root wan)/var/tmp/sink" load-other 14
accepted=$(grep -c taken "$RIG_RUN/load.out")
check_soon 60 "and what the list was sent ($accepted)" all_of "$(maildir athena user)" load-list "$accepted"
check_soon 60 "and the parcel" inbox_grep hub alice '^X-Rig-Id: sk-no-agent$'
nothing_direct "$mark" "under load"
check_equal "nothing was bounced" "" "$(log_since hub "$mark" | grep -E 'DSN: (Service|User|Return|unknown)')"

on hub bash -c 'cd /root/kept && cp sendmail.mc sendmail.cf virtusertable /etc/mail/ && cp bsmtp.conf rewrite /etc/bsmtp/ && cp aliases /etc/ && newaliases >/dev/null
  makemap hash /etc/mail/virtusertable </etc/mail/virtusertable; rm -r /root/kept /home/carla/.forward'
restart hub bsmtp-milter
restart hub sendmail
check_not "without the key there is no socket" on hub test -e /run/bsmtp/map.sock
check_soon 60 "idle at the end" tunnel_idle

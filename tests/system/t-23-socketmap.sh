# Postfix asks bsmtp-milter's socketmap: from the chroot and through proxymap; exceptions, reload, and a milter that is dead.
recipe() { "$SYSTEM_DIR/recipe.py" "$TOP/docs/install-postfix.md" "$1" --run hub=hub --run athena=athena; }
arrived() { check_soon 60 "$1 arrives" inbox_grep athena user "^X-Rig-Id: $1\$"; }
map_says() { on hub postmap -q "$1" socketmap:unix:/var/spool/postfix/bsmtp/map.sock:transport; }
check_soon 60 "idle at the beginning" tunnel_idle
on hub bash -c 'cp /etc/postfix/main.cf /root/main.kept; cp /etc/bsmtp/bsmtp.conf /root/conf.kept; cp /etc/bsmtp/rewrite /root/rewrite.kept; cp /etc/aliases /root/aliases.kept'
on athena bash -c 'cp /etc/postfix/main.cf /root/main.kept; cp /etc/bsmtp/bsmtp.conf /root/conf.kept'
check "the recipe works" recipe "## Rules that no table can express"
check "config check asks it as Postfix' user" on hub bash -c 'bsmtpctl config check | grep "socketmap-socket.*map.sock answers" >/dev/null'
check_equal "trivial-rewrite is chrooted, as Debian has it" y "$(on hub postconf -Fh rewrite/unix/chroot)"
check_equal "a tunneled address" bsmtp-out:remote1.bsmtp.invalid "$(map_says user@domain.co.uk)"
check_equal "the peer's parcel address" : "$(map_says bsmtp@athena.domain.co.uk)"
check_equal "other mail" "" "$(map_says user@example.net)"
check_equal "a domain alone" "" "$(map_says domain.co.uk)"

# A rule that no table can express, and an alias that only a map can catch.
on hub bash -c 'printf "*.depth.example  \$U%%domain.co.uk@BSOUT-REMOTE1\$Nbsout_remote1\n" >>/etc/bsmtp/rewrite
  printf "map-carol: user@domain.co.uk\nmap-deep: user@one.depth.example\n" >>/etc/aliases; newaliases'
reload hub bsmtp-milter
check_soon 10 "the map follows a reload of the milter alone" test "$(map_says user@one.depth.example)" = bsmtp-out:remote1.bsmtp.invalid
check_equal "the static map cannot" "" "$(on hub postmap -q user@one.depth.example texthash:/var/lib/bsmtp/transport)"
for way in socketmap proxy:socketmap; do
  tag=${way%%:*}
  on hub bash -c "postconf -e 'transport_maps = regexp:/etc/postfix/bsmtp-routes, $way:unix:bsmtp/map.sock:transport, \$bsmtp_site_transports'; systemctl reload postfix"
  sleep 1
  mark=$(log_mark hub)
  check "$way: mail for an alias is taken" stranger_send hub --from x@example.net --to map-carol@domain.com --id "map-alias-$tag"
  check "$way: diverted mail too" pc_send hub --from alice@domain.com --to user@domain.co.uk --id "map-plain-$tag"
  check "$way: mail for another domain too" pc_send hub --from alice@domain.com --to someone@example.net --id "map-other-$tag"
  check "$way: an alias by the rule that no table can express" stranger_send hub --from x@example.net --to map-deep@domain.com --id "map-deep-$tag"
  arrived "map-alias-$tag"; arrived "map-plain-$tag"
  check_soon 20 "$way: the alias went to bsmtp-out undiverted" log_has hub "$mark" 'to=<user@domain.co.uk>.*relay=bsmtp-out.*status=sent'
  check_soon 20 "$way: so did the other one" log_has hub "$mark" 'to=<user@one.depth.example>.*relay=bsmtp-out.*status=sent'
  check_soon 20 "$way: other mail went out directly" log_has hub "$mark" 'postfix/smtp\[.*to=<someone@example.net>.*status=sent'
done

say "  the milter is dead"
mark=$(log_mark hub)
stop hub bsmtp-milter
# Local submission meets no smtpd; without its milter only the map is in the way.
on hub bash -c 'postconf -e non_smtpd_milters= smtpd_milters=; systemctl reload postfix'
sleep 1
local_send hub alice@domain.com user@domain.co.uk map-dead
local_send hub alice@domain.com someone@example.net map-dead-other
check_soon 30 "tunneled mail is deferred" log_has hub "$mark" 'to=<user@domain.co.uk>.*status=deferred'
check_soon 30 "other mail is deferred too, as documented" log_has hub "$mark" 'to=<someone@example.net>.*status=deferred'
stranger_send hub --from x@example.net --to alice@domain.com --id map-dead-in >"$RIG_RUN/dead.out" 2>&1
check "a stranger is asked to come back" grep -q '^4' "$RIG_RUN/dead.out"
check_equal "nothing is bounced" "" "$(log_since hub "$mark" | grep 'status=bounced')"
check_equal "nothing for the tunneled domain left directly" "" "$(log_since hub "$mark" | grep -E 'postfix/smtp\[.*to=<[^>]*domain.co.uk>.*status=sent' | grep -v 'to=<bsmtp@')"
start hub bsmtp-milter
queue_flush hub
arrived map-dead
check_soon 30 "other mail goes on" log_has hub "$mark" 'postfix/smtp\[.*to=<someone@example.net>.*status=sent'

say "  the milter hangs for a while"
mark=$(log_mark hub)
pid=$(on hub cat /run/units/bsmtp-milter.service.pid)
on hub kill -STOP "$pid"
local_send hub alice@domain.com user@domain.co.uk map-hung
pc_send hub --from alice@domain.com --to user@domain.co.uk --id map-hung-smtp >"$RIG_RUN/hung.out" 2>&1 &
sender=$!
sleep 3
check_equal "nothing moves meanwhile" "" "$(log_since hub "$mark" | grep -E 'to=<[^>]*domain.co.uk>.*status=(sent|bounced)')"
on hub kill -CONT "$pid"
wait "$sender"; code=$?
check_equal "a client was only kept waiting" 0 "$code"
queue_flush hub
arrived map-hung; arrived map-hung-smtp
check_equal "nothing for the tunneled domain left directly" "" "$(left_directly hub "$mark" domain.co.uk)"

say "  reload under load"
bulk hub mapload 80 bob@domain.com user@domain.co.uk >"$RIG_RUN/mapload.out" &
sender=$!
for _ in 1 2 3 4 5 6; do reload hub bsmtp-milter; sleep 0.3; done
wait "$sender"; code=$?
check_equal "no message was refused" 0 "$code"
check_soon 90 "all arrive" bulk_arrived mapload athena user

for g in hub athena; do
  on "$g" bash -c 'cp /root/main.kept /etc/postfix/main.cf; cp /root/conf.kept /etc/bsmtp/bsmtp.conf; [ ! -e /root/rewrite.kept ] || cp /root/rewrite.kept /etc/bsmtp/rewrite
    [ ! -e /root/aliases.kept ] || { cp /root/aliases.kept /etc/aliases; newaliases; }; bsmtpctl rules export --postfix --write >/dev/null; systemctl restart bsmtp-milter; systemctl reload postfix'
done
check_not "without the key there is no socket" on hub test -e /var/spool/postfix/bsmtp/map.sock
check_soon 60 "idle at the end" tunnel_idle

# Both gateways ask bsmtp-milter's socketmap, whatever MTA they have: a rule that no table can express, exceptions, a milter that is dead or hangs, rules swapped under load, nothing beside the tunnel.
other() { if [ "$1" = hub ]; then echo athena; else echo hub; fi; }
both() { local r; for r in hub athena; do "$@" "$r" "$(other "$r")"; done; }
tag_at() { if [ "$1" = hub ]; then echo REMOTE1; else echo HUB; fi; }
peer_at() { if [ "$1" = hub ]; then echo remote1; else echo hub; fi; }
user_of() { echo "user@${DOMAIN[$1]}"; } # there is one on either
deep() { echo "one.$1-depth.example"; } # where only the map of HOST leads, to the other side
ids_in() { # HOST USER PREFIX: the rig ids in a mailbox, one word each time they occur
  find "$(maildir "$1" "$2")" -type f -exec sed -nE "s/^X-Rig-Id: ($3[^ ]*)\$/\\1/p" {} + 2>/dev/null | sort | xargs
}
ids_are() { [ "$(ids_in "$1" "$2" "$3")" = "$4" ]; }
check_ids() { # SECONDS WHAT HOST USER PREFIX ID...: this mailbox gets these, each once
  local limit=$1 what=$2 host=$3 user=$4 prefix=$5 wanted; shift 5
  wanted=$(printf '%s\n' "$@" | sort | xargs)
  wait_for "$limit" "$what" ids_are "$host" "$user" "$prefix" "$wanted"
  check_equal "$what" "$wanted" "$(ids_in "$host" "$user" "$prefix")"
}
outside() { on wan grep -rlq "^X-Rig-Id: $1" /var/tmp/sink; }
nothing_direct() { # R S: since mark[R]
  check_equal "$1: nothing for the tunneled domains left directly" "" \
    "$(left_directly "$1" "${mark[$1]}" "${DOMAIN[$2]}"; left_directly "$1" "${mark[$1]}" "$1-depth.example")"
}
flush() { [ "$(mta "$1")" = postfix ] || on "$1" sendmail-msp -Ac -q; queue_flush "$1"; }

set_up() { # R S
  on "$1" bash -c 'mkdir /root/kept; cp -a /etc/bsmtp/bsmtp.conf /etc/bsmtp/rewrite /etc/bsmtp/peers.d /etc/aliases /root/kept
    sed -i "s/^recipient-domains = .*/& .$2-depth.example/" "/etc/bsmtp/peers.d/$1.conf"; systemctl reload bsmtp-dispatch' _ "$(peer_at "$1")" "$2"
  if [ "$(mta "$1")" = sendmail ]; then
    on "$1" bash -c 'cp -a /etc/mail/sendmail.mc /etc/mail/sendmail.cf /etc/mail/local-host-names /root/kept; echo "$1" >>/etc/mail/local-host-names' _ "$(deep "$2")"
    check "$1: the recipe works" "$SYSTEM_DIR/recipe.py" "$TOP/docs/install-sendmail.md" "## Rules that no table can express" --run hub="$1"
    # As set up, but an answer must come within a second: this test waits for some that never come.
    on "$1" bash -c 'cd /etc/mail && sed -i "s/socketmap=unix/socketmap=-d1 unix/" sendmail.mc && m4 sendmail.mc >sendmail.cf'
    restart "$1" sendmail
  else
    on "$1" bash -c 'cp -a /etc/postfix/main.cf /root/kept; postconf -e "mydestination=$(postconf -h mydestination), $1"' _ "$(deep "$2")"
    check "$1: the recipe works" "$SYSTEM_DIR/recipe.py" "$TOP/docs/install-postfix.md" "## Rules that no table can express" --run hub="$1"
  fi
  on "$1" bash -c 'printf "*.%s-depth.example  \$U%%\$H\$D@BSOUT-%s\$Nbsout_%s\n" "$1" "$2" "${2,,}" >>/etc/bsmtp/rewrite
    printf "map-deep: user@%s\nmap-plain: %s\n" "$3" "$4" >>/etc/aliases; newaliases >/dev/null' _ "$1" "$(tag_at "$1")" "$(deep "$1")" "$(user_of "$2")"
  reload "$1" bsmtp-milter
  check "$1: config check has an answer of the socketmap" on "$1" bash -c 'bsmtpctl config check | grep "^ok *socketmap-socket: .* answers" >/dev/null'
}
put_back() {
  if [ "$(mta "$1")" = sendmail ]; then
    on "$1" cp -a /root/kept/sendmail.mc /root/kept/sendmail.cf /root/kept/local-host-names /etc/mail/; restart "$1" sendmail
  else
    on "$1" bash -c 'cp -a /root/kept/main.cf /etc/postfix/; postfix reload'
  fi
  on "$1" bash -c 'cd /root/kept; cp -a bsmtp.conf rewrite peers.d /etc/bsmtp/; cp -a aliases /etc/; newaliases; bsmtpctl rules export --$1 --write; rm -r /root/kept
    [ "$1" = postfix ] || makemap hash /etc/mail/bsmtp </var/lib/bsmtp/transport' _ "$(mta "$1")"
  restart "$1" bsmtp-milter; reload "$1" bsmtp-dispatch
}

# --- each path, by the rule that only the map knows and by one that a table has ----------------------
paths() { # R S
  mark[$1]=$(log_mark "$1")
  stranger_send "$1" --from x@example.net --to "map-deep@${DOMAIN[$1]}" --id "mr-$1-alias" >/dev/null
  stranger_send "$1" --from x@example.net --to "map-plain@${DOMAIN[$1]}" --id "mr-$1-plain" >/dev/null
  pc_send "$1" --from "$(user_of "$1")" --to "user@$(deep "$1")" --id "mr-$1-milter" >/dev/null
  local_send "$1" "$(user_of "$1")" "user@$(deep "$1")" "mr-$1-local"
  pc_send "$1" --from "$(user_of "$1")" --to someone@example.org --to "user@two.$(deep "$1")" --id "mr-$1-other" >/dev/null
  pc_send "$1" --from "$(user_of "$1")" --to "postmaster@${FQDN[$2]}" --id "mr-$1-exempt" >/dev/null
}
arrive() { # R S
  check_ids 60 "$1: alias, static rule, milter and local submission arrive, each once" "$2" user "mr-$1" "mr-$1-"{alias,plain,milter,local}
  check_soon 20 "$1: mail for other domains goes out" outside "mr-$1-other"
  check_soon 20 "$1: an exempt address goes directly" log_has "$1" "${mark[$1]}" "to=<postmaster@${FQDN[$2]}>.*(postfix/smtp\\[|mailer=esmtp).*|postfix/smtp\\[.*to=<postmaster@${FQDN[$2]}>.*status=sent"
  nothing_direct "$1" "$2"
}
# --- the milter does not answer ------------------------------------------------------------------------
milters_off() { # R S: only the map stands in the way
  if [ "$(mta "$1")" = sendmail ]; then
    on "$1" sed -i 's/^O InputMailFilters=.*/O InputMailFilters=opendkim, testmilter/' /etc/mail/sendmail.cf; restart "$1" sendmail
  else
    on "$1" bash -c 'postconf -e smtpd_milters= non_smtpd_milters=; postfix reload' >/dev/null 2>&1
  fi
  mark[$1]=$(log_mark "$1")
}
unanswered() { # WAY R S
  pc_send "$2" --from "$(user_of "$2")" --to "$(user_of "$3")" --id "mr-$2-$1-smtp" >"$RIG_RUN/out-$2" 2>&1 &
  local sender=$!
  local_send "$2" "$(user_of "$2")" "user@$(deep "$2")" "mr-$2-$1-local"
  pids[$2]=$sender
}
still() { # WAY R S
  check_equal "$2 $1: nothing was bounced" "" "$(log_since "$2" "${mark[$2]}" | grep -E 'status=bounced|DSN: (Service|User|Return|unknown)|dsn=5')"
  check_equal "$2 $1: nothing arrived" "" "$(ids_in "$3" user "mr-$2-$([ "$1" = hung ] && echo hung || echo dead)")"
  nothing_direct "$2" "$3"
}
milters_on() {
  if [ "$(mta "$1")" = sendmail ]; then
    on "$1" bash -c 'cd /etc/mail && m4 sendmail.mc >sendmail.cf'; restart "$1" sendmail
  else
    on "$1" bash -c 'a=$(postconf -c /root/kept -h smtpd_milters) b=$(postconf -c /root/kept -h non_smtpd_milters); postconf -e "smtpd_milters=$a" "non_smtpd_milters=$b"; postfix reload' >/dev/null 2>&1
  fi
}
# One that answers nonsense, for one host and a moment.
bad_map() { # WAY HOST
  local socket=/var/spool/postfix/bsmtp/map.sock mode=0666
  [ "$(mta "$2")" = postfix ] || socket=/run/bsmtp/map.sock mode=0600 # sendmail wants nobody else to write to it
  on "$2" bash -c '[ ! -e /run/badmap.pid ] || kill "$(cat /run/badmap.pid)"; rm -f "$1"
    [ "$3" = none ] || { setsid setpriv --reuid=bsmtp-milter --regid=bsmtp-milter --clear-groups /rig/badmap.py "$@" </dev/null >>/var/log/badmap.out 2>&1 & echo $! >/run/badmap.pid; }
    for _ in $(seq 50); do [ "$3" = none ] || [ -S "$1" ] && break; sleep 0.1; done' _ "$socket" "$mode" "$1"
}
asked_again() { log_has "$1" "${mark[$1]}" 'status=deferred \(address resolver failure|socket_map_lookup|bsmtp-milter does not answer'; }
# --- rules swapped under load ------------------------------------------------------------------------------
load() { # R S: in the background
  local n
  (for n in $(seq 12); do
     local_send "$1" "$(user_of "$1")" "user@$(deep "$1")" "mr-$1-load-$n"
     stranger_send "$1" --from x@example.net --to "map-plain@${DOMAIN[$1]}" --id "mr-$1-load-alias-$n" >/dev/null 2>&1 || echo refused
     sleep 0.2
   done) >"$RIG_RUN/load-$1" &
  pids[$1]=$!
  mark[$1]=$(log_mark "$1")
}
# An editor that writes in place shows each of these for a moment. (An empty file is a rules file: t-16 has it, with the
# exported map behind.)
swap() { # R S
  local text
  cp "$(host_root "$1")/etc/bsmtp/rewrite" "$RIG_RUN/rewrite-$1"
  for text in '*.x  $(bad' '*.hub-depth.example      $U%$H@BSOUT-REM' "$(cat "$RIG_RUN/rewrite-$1")"; do
    printf '%s\n' "$text" >"$(host_root "$1")/etc/bsmtp/rewrite"
    reload "$1" bsmtp-milter
  done
}
swapped() { # R S
  wait "${pids[$1]}"
  flush "$1" >/dev/null 2>&1
  check_equal "$1: no message was refused" "" "$(cat "$RIG_RUN/load-$1")"
  check "$1: a bad rule was named" log_has "$1" "${mark[$1]}" 'reload-failed.*rewrite:1'
  check_ids 60 "$1: all arrive, each once" "$2" user "mr-$1-load" "mr-$1-load-"{1,2,3,4,5,6,7,8,9,10,11,12} "mr-$1-load-alias-"{1,2,3,4,5,6,7,8,9,10,11,12}
  nothing_direct "$1" "$2"
}

declare -A mark=() pids=()
check_soon 60 "idle at the beginning" tunnel_idle
both set_up; both paths; both arrive
say "  the milter is dead; only the map stands in the way"
both milters_off
for host in hub athena; do kill9 $host bsmtp-milter; done
both unanswered dead
sleep 3
for host in hub athena; do wait "${pids[$host]}"; check_not "$host dead: a client is not told that its mail is taken for good" grep -q '^5' "$RIG_RUN/out-$host"; done
both still dead
for way in garbage half cut huge temp perm strange; do
  for host in hub athena; do
    bad_map $way $host; mark[$host]=$(log_mark $host)
    [ "$(mta $host)" = sendmail ] || on $host postfix reload >/dev/null 2>&1 # its processes keep connections
    flush $host >/dev/null 2>&1
  done
  for host in hub athena; do check_soon 20 "$host $way: the MTA tried" asked_again $host; done
  both still "$way"
done
for host in hub athena; do bad_map none $host; done
for host in hub athena; do start $host bsmtp-milter; flush $host; done >/dev/null 2>&1
for host in hub athena; do check_soon 60 "$host dead: what waited arrives" ids_are "$(other $host)" user "mr-$host-dead-local" "mr-$host-dead-local"; done
say "  the milter hangs"
for host in hub athena; do mark[$host]=$(log_mark $host); on $host bash -c 'kill -STOP "$(cat /run/units/bsmtp-milter.service.pid)"'; done
both unanswered hung
sleep 3
both still hung
for host in hub athena; do on $host bash -c 'kill -CONT "$(cat /run/units/bsmtp-milter.service.pid)"'; done
for host in hub athena; do wait "${pids[$host]}"; flush $host; done >/dev/null 2>&1
for host in hub athena; do check_soon 60 "$host hung: what waited arrives" ids_are "$(other $host)" user "mr-$host-hung-local" "mr-$host-hung-local"; done
say "  rules swapped under load"
for host in hub athena; do milters_on $host; done
both load
for _ in 1 2; do both swap; done
both swapped
for host in hub athena; do put_back $host; done >/dev/null 2>&1
check_soon 60 "idle at the end" tunnel_idle

# Greylisting, HELO restrictions, rate and error limits at the receiving host harm no batch, on sendmail (hub) and Postfix (athena); IPv6 loopback.
run=$(date +%s) # names that no greylist knows
other() { if [ "$1" = hub ]; then echo athena; else echo hub; fi; }
both() { local r; for r in hub athena; do "$@" "$r" "$(other "$r")"; done; }
many_from() { on wan /rig/mail.py many --server "${IP[$1]}" --source "${PC[$1]}"; }
ids_in() { # HOST USER PREFIX: the rig ids in a mailbox, one word each time they occur
  find "$(maildir "$1" "$2")" -type f -exec sed -n "s/^X-Rig-Id: \($3[^ ]*\)\$/\1/p" {} + 2>/dev/null | sort | xargs
}
ids_are() { [ "$(ids_in "$1" "$2" "$3")" = "$4" ]; }
check_ids() { # SECONDS WHAT HOST USER PREFIX ID...: this mailbox gets these, each once
  local limit=$1 what=$2 host=$3 user=$4 prefix=$5 wanted; shift 5
  wanted=$(printf '%s\n' "$@" | sort | xargs)
  wait_for "$limit" "$what" ids_are "$host" "$user" "$prefix" "$wanted"
  check_equal "$what" "$wanted" "$(ids_in "$host" "$user" "$prefix")"
}

# --- what differs: the strictest that either MTA has for strangers, none of it relaxed for the tunnel ---
strict() { # R S
  local n
  on "$1" bash -c 'cp -a /etc/aliases /etc/aliases.kept; cp -a /etc/bsmtp/bsmtp.conf /etc/bsmtp/bsmtp.conf.kept'
  for n in 1 2 3 4 5 6; do echo "grey-at-$1-$run-$n: info"; done | on "$1" bash -c 'cat >>/etc/aliases; newaliases >/dev/null'
  if [ "$(mta "$1")" = sendmail ]; then
    # testmilter greylists grey-at-HOST. Not excepted for 127.0.0.1: ClientRate, ClientConn, GreetPause.
    cat >"$RIG_RUN/shared/strict.mc" <<'M'
FEATURE(`ratecontrol', `nodelay', `terminate')dnl
FEATURE(`conncontrol', `nodelay', `terminate')dnl
FEATURE(`greet_pause', `500')dnl
FEATURE(`block_bad_helo')dnl
define(`confCONNECTION_RATE_THROTTLE', `3')dnl
define(`confCONNECTION_RATE_WINDOW_SIZE', `10s')dnl
define(`confBAD_RCPT_THROTTLE', `1')dnl
define(`confMAX_RCPTS_PER_MESSAGE', `5')dnl
M
    on "$1" bash -c 'cd /etc/mail && cp -a sendmail.mc sendmail.mc.kept && sed -i "/^FEATURE(.virtusertable/r /rig-shared/strict.mc" sendmail.mc
      m4 sendmail.mc >sendmail.cf; printf "ClientRate:\t6\nClientConn:\t2\n" | cat access - | makemap hash access'
    restart "$1" sendmail
  else
    on "$1" bash -c 'cd /etc/postfix && cp -a main.cf main.cf.kept && cp -a master.cf master.cf.kept
      setsid /rig/greylist.py 127.0.0.1:10023 3 </dev/null >/var/log/greylist.out 2>&1 & echo $! >/run/greylist.pid
      helo="reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname, reject_unknown_helo_hostname"
      helo="$helo, check_helo_access inline:{{$1 = REJECT you are not me}, {$2 = REJECT you are not me}}"
      postconf -e "bsmtp_site_recipient_restrictions=permit_mynetworks, $helo, check_recipient_access inline:{bsmtp@$1=OK}, check_policy_service inet:127.0.0.1:10023" \
        smtpd_helo_required=yes smtpd_recipient_limit=5 smtpd_recipient_overshoot_limit=2 smtpd_error_sleep_time=2s smtpd_soft_error_limit=1 smtpd_hard_error_limit=3 \
        smtpd_junk_command_limit=2 smtpd_client_message_rate_limit=5 smtpd_client_recipient_rate_limit=8 smtpd_client_connection_rate_limit=5 smtpd_client_connection_count_limit=2 \
        "smtpd_client_event_limit_exceptions=\$mynetworks, $3" # parcels are not what is tested here
      for _ in $(seq 50); do (: </dev/tcp/127.0.0.1/10023) 2>/dev/null && break; sleep 0.1; done; postfix reload' _ "${FQDN[$1]}" "${DOMAIN[$1]}" "${IP[$2]}"
  fi
}
relaxed() {
  on "$1" bash -c 'mv /etc/aliases.kept /etc/aliases; newaliases >/dev/null; mv /etc/bsmtp/bsmtp.conf.kept /etc/bsmtp/bsmtp.conf'
  if [ "$(mta "$1")" = sendmail ]; then
    on "$1" bash -c 'cd /etc/mail && mv sendmail.mc.kept sendmail.mc; m4 sendmail.mc >sendmail.cf; makemap hash access <access'
    restart "$1" sendmail
  else
    on "$1" bash -c 'cd /etc/postfix && mv main.cf.kept main.cf && mv master.cf.kept master.cf; kill "$(cat /run/greylist.pid)"; postfix stop; postfix start'
  fi
  restart "$1" bsmtp-milter; restart "$1" bsmtp-dispatch
}
batch() { # R S: one parcel: 9 messages, one of them with 6 recipients, and 3 to unknown users
  local d=${DOMAIN[$1]} from=${DOMAIN[$2]} n
  {
    for n in 1 2 3 4; do echo "lim-$1-$n carla@$from grey-at-$1-$run-$n@$d"; done
    for n in 1 2 3; do echo "lim-$1-no$n carla@$from nobody-$n@$d"; done
    for n in 1 2 3 4; do echo "lim-$1-last$n alice@$from bob@$d"; done
    echo "lim-$1-many alice@$from $(for n in 1 2 3 4 5 6; do echo "grey-at-$1-$run-$n@$d"; done | xargs)"
  } | many_from "$2"
}
taken() { log_since "$1" "${mark[$1]}" | grep -oE '[0-9a-f]{44}: delivered index=[0-9]+ peer=[^ ]* to=<(bob|grey)[^>]*>' | wc -l; }
fates() { # R S
  check_ids 60 "$1: every message arrives once" "$1" bob "lim-$1" "lim-$1-last"{1,2,3,4}
  wait_for 60 "$1: info's" has_all "$1"
  check_equal "$1: greylisted recipients too" "$(printf '%s\n' "lim-$1-"{1,2,3,4,many} | xargs)" "$(ids_in "$1" info "lim-$1" | tr ' ' '\n' | uniq | xargs)"
  check_equal "$1: the host took each recipient of each message once" 14 "$(taken "$1")"
  check_ids 40 "$1: only mail to unknown users came home, once each" "$2" carla "lim-$1" "lim-$1-no"{1,2,3}
  check_equal "$1: nobody else got a report" "" "$(ids_in "$2" alice "lim-$1")"
}
has_all() { [ "$(ids_in "$1" info "lim-$1" | tr ' ' '\n' | uniq | wc -l)" = 5 ] && [ "$(taken "$1")" -ge 14 ]; }

declare -A mark
for host in hub athena; do stop $host bsmtp-dispatch; mark[$host]=$(log_mark $host); done
both batch; both strict
for host in hub athena; do start $host bsmtp-dispatch; done
both fates
for host in hub athena; do check "$host: greylisting was at work on the listener" log_has $host "${mark[$host]}" 'bsmtp-dispatch.*deferred .*to=<grey-at'; done
[ "$(mta hub)" != sendmail ] || check "hub: so were limits of connections" log_has hub "${mark[hub]}" 'relay=localhost .*reject=421 4.3.2 '

# --- IPv6 loopback for both keys; Postfix under the same limits -----------------------------------------------
ipv6() { # R S
  if [ "$(mta "$1")" = sendmail ]; then
    cat >"$RIG_RUN/shared/six.mc" <<'M'
DAEMON_OPTIONS(`Family=inet6, Name=MTA-v6, Port=smtp, Addr=::1')dnl
FEATURE(`bsmtp', `listen=::1')dnl
M
    on "$1" bash -c 'cd /etc/mail && sed -i -e "/^FEATURE(.bsmtp/{r /rig-shared/six.mc" -e "d}" sendmail.mc; m4 sendmail.mc >sendmail.cf
      makemap hash access <access'
    restart "$1" sendmail
  else
    on "$1" bash -c 'cd /etc/postfix && sed -i "s/^127.0.0.1:10027/[::1]:10027/" master.cf && postconf -e inet_protocols=all "mynetworks=[::1]/128 $(postconf -h mynetworks)"; postfix stop; postfix start' >/dev/null 2>&1
  fi
  on "$1" bash -c 'printf "submit = smtp://[::1]:25\nresubmit = smtp://[::1]:10027\n" >>/etc/bsmtp/bsmtp.conf'
  restart "$1" bsmtp-milter; restart "$1" bsmtp-dispatch
  check_soon 5 "$1: listens on [::1], not on 127.0.0.1" on "$1" bash -c 'ss -ltn | grep -F "[::1]:10027" >/dev/null && ! ss -ltn | grep -F "127.0.0.1:10027"'
}
send_v6() { # R S
  local n
  { for n in 1 2 3 4 5 6 7 8 9; do echo "six-$1-$n alice@${DOMAIN[$2]} bob@${DOMAIN[$1]}"; done; echo "six-$1-no carla@${DOMAIN[$2]} nobody-6@${DOMAIN[$1]}"; } | many_from "$2"
}
fates_v6() { # R S
  check_ids 60 "$1: mail arrives by [::1], each once" "$1" bob "six-$1" "six-$1-"{1,2,3,4,5,6,7,8,9}
  check_ids 40 "$1: and the report of an unknown user leaves by it" "$2" carla "six-$1" "six-$1-no"
  check "$1: as the MTA's own Received: says" grep -qE '^Received: from .*(\[IPv6:::1\]|\[IPv6:0:0:0:0:0:0:0:1\]|\[::1\])' "$(inbox_file "$1" bob "^X-Rig-Id: six-$1-1\$")"
  check_equal "$1: OpenDKIM verified, and signed nothing" "1 1" "$(sed '/^X-Rig-Id/q' "$(inbox_file "$1" bob "^X-Rig-Id: six-$1-1\$")" >"$RIG_RUN/head"; grep -c '^DKIM-Signature:' "$RIG_RUN/head") $(grep -c 'dkim=pass' "$RIG_RUN/head")"
  on "$1" /rig/mail.py dialogue --server ::1 --port 10027 "EHLO x.example.net" "MAIL FROM:<carla@${DOMAIN[$2]}>" "RCPT TO:<victim@example.org>" \
    "RCPT TO:<victim%example.org@${DOMAIN[$1]}>" "RCPT TO:<info@${DOMAIN[$1]}>" QUIT >"$RIG_RUN/relay"
  check_equal "$1: the listener on [::1] is no open relay" "5 5" "$(sed -n '/^> RCPT.*victim/{n;s/^< *\(.\).*/\1/p}' "$RIG_RUN/relay" | xargs)"
  check "$1: bsmtpctl config check is content" on "$1" bash -c '! bsmtpctl config check | grep -i "^problem"'
}
both ipv6
both send_v6
both fates_v6
both relaxed
check_soon 30 "idle" tunnel_idle

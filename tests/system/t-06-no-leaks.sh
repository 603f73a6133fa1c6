# Recipients that no milter sees (aliases, .forward, virtual maps, bounces) and odd spellings do not escape the tunnel.
on hub bash -c '
  printf "postmaster: root\nabuse: root\nroot: alice\ncarol: user@domain.co.uk\nlist: bob, info@domain.co.uk\nbroken: \"|exit 69\"\n" >/etc/aliases; newaliases
  printf "vuser@domain.com user@domain.co.uk\n" >/etc/postfix/virtual; postmap /etc/postfix/virtual
  echo user@domain.co.uk >/home/carla/.forward; chown carla: /home/carla/.forward'
mark=$(log_mark hub)
check "alias" stranger_send hub --from x@example.net --to carol@domain.com --id leak-alias
check "list" stranger_send hub --from x@example.net --to list@domain.com --id leak-list
check ".forward" stranger_send hub --from x@example.net --to carla@domain.com --id leak-forward
check "virtual map" stranger_send hub --from x@example.net --to vuser@domain.com --id leak-virtual
check "local sendmail command" local_send hub alice@domain.com user@domain.co.uk leak-local
check "a message that hub will bounce to user@domain.co.uk" pc_send hub --from user@domain.co.uk --to broken@domain.com --id leak-bounce
for id in leak-alias leak-forward leak-virtual leak-local; do
  check_soon 40 "$id arrives through the tunnel" inbox_grep athena user "^X-Rig-Id: $id\$"
done
check_soon 40 "leak-list arrives through the tunnel" inbox_grep athena info '^X-Rig-Id: leak-list$'
check_soon 40 "the bounce of hub's own MTA arrives through the tunnel" inbox_grep athena user 'Undelivered|leak-bounce'
check_soon 10 "plain recipients went to bsmtp-out by the static map" log_has hub "$mark" "to=<user@domain.co.uk>.*$TO_OUT.*status=sent"

# Spellings: each either arrives through the tunnel or is refused; none leaves directly (checked at the end).
n=0
for address in 'user@domain.co.uk.' '@relay.example:user@domain.co.uk' 'USER@DOMAIN.CO.UK' 'User@Domain.Co.Uk' '"user"@domain.co.uk' \
    'user+tag@domain.co.uk' 'user%domain.co.uk@hub.domain.com' 'domain.co.uk!user@hub.domain.com' '"user@domain.co.uk"@domain.com' \
    'user%athena.domain.co.uk@domain.co.uk' '"a b"@domain.co.uk' "$(printf 'x%.0s' $(seq 64))@domain.co.uk" "user@$(printf 'sub.%.0s' $(seq 40))domain.co.uk"; do
  n=$((n + 1))
  pc_send hub --from alice@domain.com --to "$address" --id "spell-$n" >"$RIG_RUN/spell.out" 2>&1
  say "    $(head -1 "$RIG_RUN/spell.out" | cut -c1-110)"
done
for n in 1 2 3 4 5 6; do check_soon 40 "spelling $n arrives" inbox_grep athena user "^X-Rig-Id: spell-$n\$"; done
check_soon 60 "idle" tunnel_idle
stranger_send hub --from x@example.net --to 'user%domain.co.uk@remote1.bsmtp.invalid' --id inner-1 >"$RIG_RUN/inner.out" 2>&1
# (Debian's smtpd_relay_restrictions end in defer_unauth_destination: 454.)
check "a stranger may not address the inner side" grep -q '^[45]5[0-9] .*remote1.bsmtp.invalid' "$RIG_RUN/inner.out"
pc_send hub --from alice@domain.com --to 'user%domain.co.uk@remote1.bsmtp.invalid' --id inner-2 >"$RIG_RUN/inner.out" 2>&1
check "nor may a client of mynetworks" grep -q '^5.*5.1.2' "$RIG_RUN/inner.out"
pc_send hub --from alice@domain.com --to 'user%remote1.bsmtp.invalid@hub.domain.com' --id inner-3 >"$RIG_RUN/inner.out" 2>&1
check "nor by the percent hack" grep -q '^5.*5.1.2' "$RIG_RUN/inner.out"
# Nothing is diverted without the milter, but the map still holds (local submission, milter off).
on hub bash -c 'postconf -h non_smtpd_milters >/root/milters.kept; postconf -e non_smtpd_milters=; systemctl reload postfix'
sleep 1
local_send hub alice@domain.com user@domain.co.uk leak-no-milter
check_soon 40 "with the milter taken out the map alone keeps it in the tunnel" inbox_grep athena user '^X-Rig-Id: leak-no-milter$'
on hub bash -c 'postconf -e "non_smtpd_milters = $(cat /root/milters.kept)"; systemctl reload postfix; rm /home/carla/.forward'

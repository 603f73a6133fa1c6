# The receiving host's policy decides about unpacked mail, and the same expectations hold for sendmail (hub) and Postfix (athena).
# Each part sends to both hosts at once, S being the other side of R. What is theirs alone stands in the functions here.
# Run on a pairing of the same MTA it checks that one twice.
other() { if [ "$1" = hub ]; then echo athena; else echo hub; fi; }
peer_at() { if [ "$1" = hub ]; then echo remote1; else echo hub; fi; } # how R calls the other side
both() { local r; for r in hub athena; do "$@" "$r" "$(other "$r")"; done; }
many_from() { on wan /rig/mail.py many --server "${IP[$1]}" --source "${PC[$1]}"; } # behind gateway $1
ids_in() { # HOST USER PREFIX: the rig ids in a mailbox, one word each time they occur
  local d; d=$(maildir "$1" "$2")
  [ ! -d "$d" ] || find "$d" -type f -exec sed -n "s/^X-Rig-Id: \\($3[^ ]*\\)\$/\\1/p" {} + | sort | xargs
}
words() { printf '%s\n' "$@" | sort | xargs; }
ids_are() { [ "$(ids_in "$1" "$2" "$3")" = "$4" ]; }
check_ids() { # WHAT HOST USER PREFIX ID...: this mailbox gets these, each once
  local what=$1 host=$2 user=$3 prefix=$4; shift 4
  wait_for 40 "$what" ids_are "$host" "$user" "$prefix" "$(words "$@")"
  check_equal "$what" "$(words "$@")" "$(ids_in "$host" "$user" "$prefix")"
}

# --- what differs ------------------------------------------------------------------------------
access() { # HOST, lines "from|to ADDRESS reject|wait|never|discard|hold" on standard input
  if [ "$(mta "$1")" = sendmail ]; then
    sed -E 's/^from /From:/; s/^to /To:/; s/ reject$/\tREJECT/; s/ wait$/\tERROR:4.7.1:450 not today/; s/ never$/\tERROR:5.7.1:550 not ever/
      s/ discard$/\tDISCARD/; s/ hold$/\tQUARANTINE:a human looks at it/' | on "$1" bash -c 'cat /etc/mail/access - | makemap hash /etc/mail/access'
  else
    sed -E 's/ reject$/ REJECT/; s/ wait$/ 450 4.7.1 not today/; s/ never$/ 550 5.7.1 not ever/; s/ discard$/ DISCARD/
      s/ hold$/ HOLD a human looks at it/' >"$RIG_RUN/shared/rules"
    # Two maps: reports to a sender who is refused here must still leave.
    on "$1" bash -c 'cd /etc/postfix; sed -n "s/^from //p" /rig-shared/rules >access; sed -n "s/^to //p" /rig-shared/rules >access-to; postmap access access-to'
  fi
}
held() { if [ "$(mta "$1")" = sendmail ]; then on "$1" bash -c 'ls /var/spool/mqueue/hf* 2>/dev/null | wc -l'; else on "$1" bash -c 'ls /var/spool/postfix/hold | wc -l'; fi; }
held_are() { [ "$(held "$1")" = "$2" ]; }
let_go() { if [ "$(mta "$1")" = sendmail ]; then on "$1" sendmail-mta -Q -qQ; queue_flush "$1"; else on "$1" postsuper -H ALL; queue_flush "$1"; fi; }
site() { # HOST: domains of every kind, and an access rule by which strangers may relay to one
  if [ "$(mta "$1")" = sendmail ]; then
    on "$1" bash -c 'cd /etc/mail && for f in local-host-names virtusertable access sendmail.mc; do cp -a $f $f.kept; done
      echo relay.example.net >relay-domains; echo box.test >>local-host-names; echo "box: alice" >>/etc/aliases
      printf "sales@alias.test\tcarla\n" >>virtusertable; makemap hash virtusertable <virtusertable
      printf "To:open.example.net\tRELAY\n" >>access; makemap hash access <access
      sed -i "/^FEATURE(.virtusertable/i VIRTUSER_DOMAIN(\`alias.test'"'"')dnl" sendmail.mc; m4 sendmail.mc >sendmail.cf; newaliases >/dev/null'
    restart "$1" sendmail
  else
    on "$1" bash -c 'cd /etc/postfix && for f in main.cf master.cf virtual; do cp -a $f $f.kept; done
      printf "sales@alias.test carla\n" >>virtual; postmap virtual; newaliases
      relay="check_recipient_access inline:{open.example.net=OK}, reject_unauth_destination"
      : >access-to; postmap access-to
      postconf -e "bsmtp_site_recipient_restrictions=check_recipient_access hash:/etc/postfix/access-to" relay_domains=relay.example.net virtual_alias_domains=alias.test virtual_alias_maps=hash:/etc/postfix/virtual \
        virtual_mailbox_domains=box.test "virtual_mailbox_maps=inline:{box@box.test=alice/Maildir/}" virtual_mailbox_base=/home \
        "virtual_uid_maps=static:$(id -u alice)" "virtual_gid_maps=static:$(id -g alice)" "smtpd_relay_restrictions=permit_mynetworks, $relay" smtpd_error_sleep_time=0
      postconf -P "127.0.0.1:10027/inet/smtpd_relay_restrictions=${relay// /,}"; postfix reload'
  fi
}
site_back() {
  if [ "$(mta "$1")" = sendmail ]; then
    on "$1" bash -c 'cd /etc/mail && for f in *.kept; do mv $f ${f%.kept}; done; rm relay-domains; makemap hash virtusertable <virtusertable
      makemap hash access <access; m4 sendmail.mc >sendmail.cf; makemap hash bsmtp </var/lib/bsmtp/transport'
    restart "$1" sendmail
  else
    on "$1" bash -c 'cd /etc/postfix && for f in *.kept; do mv $f ${f%.kept}; done; postmap virtual; : >access; postmap access; postfix reload'
  fi
}

# --- the access map: REJECT, 4xx, 5xx, DISCARD, hold, by sender and by recipient --------------------
verdicts=(reject wait never discard hold)
prepare() { # R S
  local v
  on "$1" bash -c 'cp -a /etc/aliases /etc/aliases.kept'
  for v in "${verdicts[@]}"; do echo "from-$v: carla"; echo "to-$v: info"; done | on "$1" bash -c 'cat >>/etc/aliases; newaliases >/dev/null'
}
rules() { local v; for v in "${verdicts[@]}"; do echo "from from-$v@${DOMAIN[$2]} $v"; echo "to to-$v@${DOMAIN[$1]} $v"; done | access "$1"; }
batch() { # R S: one parcel for R
  local d=${DOMAIN[$1]} from=${DOMAIN[$2]} v
  {
    echo "acc-$1-first alice@$from bob@$d"
    for v in "${verdicts[@]}"; do echo "acc-$1-from-$v from-$v@$from info@$d"; echo "acc-$1-to-$v carla@$from to-$v@$d"; done
    echo "acc-$1-mixed carla@$from to-reject@$d bob@$d to-wait@$d"
    echo "acc-$1-last alice@$from bob@$d"
  } | many_from "$2"
}
fates() { # R S
  check_ids "$1: innocent messages and the innocent recipient of a mixed one arrive" "$1" bob "acc-$1" "acc-$1-first" "acc-$1-last" "acc-$1-mixed"
  check_soon 20 "$1: hold, by sender and by recipient, keeps two in the MTA's queue" held_are "$1" 2
  check_ids "$1: senders are told of REJECT and 5xx, once for each refused recipient, of nothing else" "$2" carla "acc-$1" \
    "acc-$1-"{from-reject,to-reject,from-never,to-never,mixed}
  check_soon 10 "$1: temporary refusals wait with us" on "$1" bash -c 'ls /var/spool/bsmtp/inbound/deferred | grep -q .'
  check_equal "$1: nothing else was delivered" "" "$(ids_in "$1" info "acc-$1")"
  file=$(inbox_file "$2" carla "^X-Rig-Id: acc-$1-from-reject\$")
  check "$1: REJECT is reported by us as what the MTA said" bash -c "grep -q '^Action: failed' '$file' && grep -qE '^Status: 5\.' '$file' &&
    grep -qE '^Diagnostic-Code: smtp; *55[0-9] ' '$file' && grep -q '^Reporting-MTA: dns; *${FQDN[$1]}' '$file' && grep -q '^Return-Path: <\\(MAILER-DAEMON.*\\)\\?>' '$file'"
  file=$(inbox_file "$2" carla "^X-Rig-Id: acc-$1-from-never\$")
  check "$1: ERROR:5.x with its own code and words" bash -c "grep -qE '^Diagnostic-Code: smtp; *550 5\.7\.1 ' '$file' && grep -q 'not ever' '$file'"
  check_equal "$1: the mixed message's report is about the refused recipient alone" "to-reject@${DOMAIN[$1]}" \
    "$(sed -nE 's/^Final-Recipient: *rfc822; *//p' "$(inbox_file "$2" carla "^X-Rig-Id: acc-$1-mixed\$")" | xargs)"
  file=$(inbox_file "$1" bob "^X-Rig-Id: acc-$1-first\$")
  check_equal "$1: OpenDKIM verified what S signed and signed nothing itself" "1 ${DOMAIN[$2]} dkim=pass" \
    "$(sed '/^X-Rig-Id/q' "$file" | awk -v RS= '{ gsub(/\n[ \t]+/, " "); print }' | tee "$RIG_RUN/head" | grep -c '^DKIM-Signature:') $(grep '^DKIM-Signature:' "$RIG_RUN/head" |
      grep -oE ' d=[^;]*' | cut -c4-) $(grep "^Authentication-Results: *${FQDN[$1]}" "$RIG_RUN/head" | grep -o 'dkim=pass')"
}
relents() { # R S
  check_ids "$1: when the map relents, what waited and what was held arrives once" "$1" info "acc-$1" "acc-$1-"{from-wait,to-wait,mixed,from-hold,to-hold}
  check_ids "$1: and no further report was written" "$2" carla "acc-$1" "acc-$1-"{from-reject,to-reject,from-never,to-never,mixed}
}
both site; both prepare; both rules
for host in hub athena; do stop $host bsmtp-dispatch; done
declare -A mark; for host in hub athena; do mark[$host]=$(log_mark $host); done
both batch
for host in hub athena; do wait_for 20 "the batch in $host's spool" queue_empty $host; start $host bsmtp-dispatch; done
both fates
for host in hub athena; do check "$host: it was one parcel, perhaps with reports for the other side's" log_has $host "${mark[$host]}" 'accepted .*messages=(1[3-9]|2[0-9])( |$)'; done
for host in hub athena; do access $host </dev/null; let_go $host >/dev/null 2>&1; on $host bsmtpctl queue flush >/dev/null 2>&1; done
both relents

# --- a verified but hostile peer: parcels made by gpg and Python, signed with its real key ----------
run=$(date +%s) work=$RIG_RUN/policy; rm -rf "$work"; mkdir -p -m 700 "$work"
key_of() { gpg --homedir "$1" --list-keys --with-colons 2>/dev/null | awk -F: '/^fpr/ { print $10; exit }'; }
for host in hub athena; do
  mkdir -m 700 "$work/$host"
  as $host bsmtp-sign gpg --homedir /var/lib/bsmtp/openpgp/sign --batch --pinentry-mode loopback --passphrase '' --export-secret-keys 2>/dev/null |
    gpg --homedir "$work/$host" --batch -q --import 2>/dev/null
done
parcel() { # R S oracle-options...: one made by S's key reaches R
  local r=$1 s=$2; shift 2
  { printf 'From: bsmtp@%s\r\nTo: bsmtp@%s\r\nSubject: parcel\r\nMessage-ID: <%s@x>\r\nDate: Sun, 22 Nov 2026 01:10:00 +0000\r\n' "${FQDN[$s]}" "${FQDN[$r]}" "$RANDOM.$run"
    "$SYSTEM_DIR/oracle.py" make --gnupghome "$work/$s" --key "$(key_of "$work/$s")" --from "${FQDN[$s]}" --to "${FQDN[$r]}" "$@"; } >"$RIG_RUN/shared/policy.eml"
  on wan /rig/mail.py send --server "${IP[$r]}" --source "${IP[wan]}" --from "x@example.net" --to "bsmtp@${FQDN[$r]}" --file /rig-shared/policy.eml >/dev/null
}
# A third peer of each, whose domain is nobody else's business.
third() {
  on "$1" bash -c 'cp -a /etc/bsmtp/rewrite /etc/bsmtp/rewrite.kept; bsmtpctl peer add third --host zeus.domain.net --recipient-domains none.test
    printf "domain.net \$U%%\$H@BSOUT-THIRD\$Nbsout_third\n" >>/etc/bsmtp/rewrite
    bsmtpctl rules export --$1 --write; [ "$1" = postfix ] || makemap hash /etc/mail/bsmtp </var/lib/bsmtp/transport
    systemctl reload bsmtp-milter; systemctl reload bsmtp-dispatch; [ "$1" = sendmail ] || postfix reload' _ "$(mta "$1")" >/dev/null 2>&1
}
trust() { # KEY VALUE R S: in R's section for S
  on "$3" bash -c 'f=/etc/bsmtp/peers.d/$3.conf; [ -e $f.before ] || cp -a $f $f.before; sed -i "/^$1 = /d" $f; echo "$1 = $2" >>$f; systemctl reload bsmtp-dispatch' _ "$1" "$2" "$(peer_at "$3")"
}
victims() { # R: each named by its number; none may be taken
  local d=${DOMAIN[$1]} h=${FQDN[$1]}
  printf '%s\n' v01@example.org "v02%example.org@$d" "v03%example.org@$h" "example.org!v04@$d" "@$d:v05@example.org" "\"v06@example.org\"@$d" \
    "\"v07%example.org\"@$d" "\"example.org!v08\"@$h" "v09@[10.99.0.66]" "v10%[10.99.0.66]@$d" v11@domain.net "v12%domain.net@third.bsmtp.invalid" \
    "v13%domain.net@$d" "v14@relay.example.org" "v15-nobody@$d"
}
welcome() { printf '%s\n' "info@${DOMAIN[$1]}" box@box.test sales@alias.test x@relay.example.net x@open.example.net; }
numbers() { grep -oE 'v[0-9][0-9]' | sort -u | xargs; }
joined() { paste -sd, -; }
stranger() { # R S: what port 25 says to somebody on the Internet
  local lines=()
  mapfile -t lines < <({ welcome "$1"; victims "$1"; } | sed 's/.*/RCPT TO:<&>/')
  on wan /rig/mail.py dialogue --server "${IP[$1]}" --source "${IP[wan]}" "EHLO client.example.net" "MAIL FROM:<carla@${DOMAIN[$2]}>" "${lines[@]}" QUIT |
    sed 's/^< *//' | awk '/^> RCPT/ { asked = $0; next } asked { print substr($0, 1, 1), asked; asked = "" }' >"$RIG_RUN/stranger-$1"
  check_equal "$1: port 25 takes from a stranger what is its own, relayed, virtual" 5 "$(grep -c '^2' "$RIG_RUN/stranger-$1")"
  check_equal "$1: and refuses him the rest for good" "$(victims "$1" | numbers)" "$(grep '^5' "$RIG_RUN/stranger-$1" | numbers)"
}
refused_for() { # R S ID: the numbers of all recipients that reports about this message name
  local reports; mapfile -t reports < <(grep -lE "^X-Rig-Id: $3\$" "$(maildir "$2" carla)"/*)
  [ ${#reports[@]} = 0 ] || grep -h '^Final-Recipient:' "${reports[@]}" | numbers
}
all_refused() { [ "$(refused_for "$1" "$2" "$3")" = "$(victims "$1" | numbers)" ]; }
in_sink() { on wan bash -c 'grep -l "^X-Rig-Id: $1" /var/tmp/sink/*.eml 2>/dev/null | xargs -r grep -h "^X-Sink-To:" | sed "s/.*<//; s/>.*//" | sort | xargs' _ "$1"; }
sink_is() { [ "$(in_sink "$1")" = "$2" ]; }
own_domains_only() { # R S: as the recipe has set recipient-domains
  parcel "$1" "$2" --sender "carla@${DOMAIN[$2]}" --mark "pol-$1-own-$run" --message "carla@${DOMAIN[$2]}" "info@${DOMAIN[$1]},$(victims "$1" | joined)" "pol-$1-own-$run"
  local name sender message=()
  for name in own case below route gateway literal peer null world; do
    case $name in
      own) sender=bob@${DOMAIN[$1]} ;;
      case) sender=Bob@$(tr a-z A-Z <<<"${DOMAIN[$1]}") ;;
      below) sender=bob@sub.${DOMAIN[$1]} ;;
      route) sender=@${DOMAIN[$2]}:bob@${DOMAIN[$1]} ;;
      gateway) sender=bob@${FQDN[$1]} ;;
      literal) sender=bob@[${IP[$1]}] ;;
      peer) sender=carla@${DOMAIN[$2]} ;;
      null) sender= ;;
      world) sender=someone@example.net ;;
    esac
    message+=(--message "$sender" "bob@${DOMAIN[$1]}" "forge-$1-$run-$name")
  done
  parcel "$1" "$2" "${message[@]}"
}
forged() { find "$(maildir "$1" bob)" -type f -exec grep -LE '^Action: failed' {} + | xargs -r grep -hoE "^X-Rig-Id: forge-$1-$run-[a-z]+\$" | cut -c11- | sort | xargs; }
forged_are() { [ "$(forged "$1")" = "$2" ]; }
own_only_fates() { # R S
  check_soon 40 "$1: every form of a foreign recipient in a verified parcel is refused and reported" all_refused "$1" "$2" "pol-$1-own-$run"
  check_ids "$1: its recipient here has it" "$1" info "pol-$1-own-$run" "pol-$1-own-$run"
  check_soon 40 "$1: a peer that sends as our user is refused, and our user is told" inbox_grep "$1" bob "^Diagnostic-Code:.*may not come through the tunnel|may not come through the tunnel"
  local passed; passed=$(words "forge-$1-$run-"{null,peer,world})
  wait_for 20 "the others" forged_are "$1" "$passed"
  check_equal "$1: the peer's sender passed, the null sender and the world's; no form of our own users' addresses" "$passed" "$(forged "$1")"
}
listener_alone() { # R S
  parcel "$1" "$2" --message "carla@${DOMAIN[$2]}" "$({ welcome "$1"; victims "$1"; } | joined)" "pol-$1-any-$run"
  parcel "$1" "$2" --message "alice@${DOMAIN[$1]}" "bob@${DOMAIN[$1]}" "allowed-$1-$run"
}
listener_fates() { # R S
  check_soon 40 "$1: with recipient-domains = * the listener refuses what port 25 refuses" all_refused "$1" "$2" "pol-$1-any-$run"
  check_ids "$1: and takes for its own domains" "$1" info "pol-$1-any-$run" "pol-$1-any-$run"
  check_ids "$1: for a virtual mailbox or class w domain" "$1" alice "pol-$1-any-$run" "pol-$1-any-$run"
  check_ids "$1: for a virtual alias domain" "$1" carla "pol-$1-any-$run" "pol-$1-any-$run"
  check_soon 20 "$1: and for relay domains, by class or access map, nothing else" sink_is "pol-$1-any-$run" "x@open.example.net x@relay.example.net"
  check_ids "$1: sender-domains allows what it says" "$1" bob "allowed-$1" "allowed-$1-$run"
  check_equal "$1: OpenDKIM did not sign it, although it is from our own user" "0 1" \
    "$(sed '/^X-Rig-Id/q' "$(inbox_file "$1" bob "^X-Rig-Id: allowed-$1")" | grep -c '^DKIM-Signature:') $(sed '/^X-Rig-Id/q' "$(inbox_file "$1" bob "^X-Rig-Id: allowed-$1")" | grep -c "^Authentication-Results: *${FQDN[$1]}")"
  check_equal "$1: nothing was spooled for the third peer" 0 "$(spool_items "$1" third)"
}
both third; both stranger
both own_domains_only; both own_only_fates
both trust recipient-domains '*'; both trust sender-domains '*'
both listener_alone; both listener_fates

# --- as it was -------------------------------------------------------------------------------------
third_away() {
  on "$1" bash -c 'rm /etc/bsmtp/peers.d/third.conf; mv /etc/bsmtp/rewrite.kept /etc/bsmtp/rewrite; for f in /etc/bsmtp/peers.d/*.before; do mv $f ${f%.before}; done
    mv /etc/aliases.kept /etc/aliases; newaliases >/dev/null; bsmtpctl rules export --$1 --write; systemctl reload bsmtp-milter; systemctl reload bsmtp-dispatch' _ "$(mta "$1")" >/dev/null 2>&1
}
both third_away; both site_back
for host in hub athena; do gpgconf --homedir "$work/$host" --kill all; done; rm -rf "$work"

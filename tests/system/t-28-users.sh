# Who may write what: every command as root and as each service's user, while the services run, stand still or were killed.
at=athena agents=/usr/libexec/bsmtp-tunnel spool=/var/spool/bsmtp
# whatever is not as "Users and modes" of docs/security.md says
foreign() {
  on $at bash -c '
    find /var/spool/bsmtp \( ! -group bsmtp -o ! \( -user bsmtp -o -user bsmtp-sign \) -o -type d ! -perm 2770 -o -type f ! -perm 0660 ! -name VERSION \) -printf "%u:%g %m %p\n"
    find /var/lib/bsmtp/openpgp/sign ! -user bsmtp-sign -printf "%u %m %p\n"; find /var/lib/bsmtp/openpgp/verify ! -user bsmtp -printf "%u %m %p\n"
    find /etc/bsmtp /var/lib/bsmtp/transport \( ! -user root -o ! -perm -0444 \) -printf "%u:%g %m %p\n"
    find /root/.gnupg /var/spool/bsmtp-new ! -user bsmtp ! -user bsmtp-sign 2>/dev/null
    grep "ledger.*deleted" "/proc/$(cat /run/units/bsmtp-dispatch.service.pid 2>/dev/null)/maps" 2>/dev/null'
}
# every_command: as root and as each user, with the umask of a careful admin; prints what ended by a signal or in no documented way
every_command() {
  on $at bash -c '
    umask 077
    first() { ls -d $1 2>/dev/null | head -1 | xargs -r basename; }
    for user in root bsmtp bsmtp-sign; do
      as=(); [ $user = root ] || as=(setpriv --reuid=$user --regid=bsmtp --init-groups --)
      item=$(first "/var/spool/bsmtp/peers/*/incoming/0*") entry=$(first "/var/spool/bsmtp/inbound/quarantine/0*")
      while read -r command; do
        timeout 60 "${as[@]}" $command </dev/null >/run/said 2>&1; code=$?
        case $code in 0|1|75) ;; *) echo "$user: $command: $code: $(tail -1 /run/said)" ;; esac
      done <<C
bsmtpctl status --check
bsmtpctl config check --offline
bsmtpctl config show
bsmtpctl key list
bsmtpctl key export
bsmtpctl key export --peer hub
bsmtpctl key import /root/hub.asc --peer hub
bsmtpctl peer list
bsmtpctl peer bypass hub --dry-run
bsmtpctl peer bypass hub
bsmtpctl spool create
bsmtpctl queue list
bsmtpctl queue show ${item:-000000} --text
bsmtpctl parcel list
bsmtpctl parcel show 000000
bsmtpctl parcel resend 000000
bsmtpctl parcel inspect /root/parcel
bsmtpctl parcel verify /root/parcel
bsmtpctl parcel extract /root/parcel --to /run/extracted-$user-$RANDOM$RANDOM
bsmtpctl quarantine list
bsmtpctl quarantine show ${entry:-000000}
bsmtpctl clock accept
bsmtpctl rules export --postfix
$([ $user != root ] || echo bsmtpctl rules export --postfix --write)
C
    done'
}
# by_hand: what moves mail, typed by root
by_hand() { on $at bash -c 'umask 077; '$agents'/bsmtp-dispatch --once --flush; bsmtpctl queue flush'; }
owners_hold() { check_equal "$1: nothing is anybody else's" "" "$(foreign)"; }

on $at bash -c 'rm -f /root/parcel'; f=$(parcel_files $at | tail -1); [ -z "$f" ] || cp "$f" "$(host_root $at)/root/parcel"
owners_hold "before"
say "  while the services run"
check_equal "each command ends as its manual page says" "" "$(every_command)"
check "bsmtp-dispatch and queue flush by root end well" by_hand
owners_hold "running"

say "  stopped, with mail waiting and a parcel in quarantine"
on $at bash -c 'cp -p /etc/bsmtp/peers.d/hub.conf /root/hub.kept; sed -i /^openpgp-key/d /etc/bsmtp/peers.d/hub.conf'
on $at touch /run/before-users-1 # other scenarios left entries, too
kept() { on $at find $spool/inbound/quarantine -name meta -newer /run/before-users-1 -exec grep -ls unknown-key {} +; }
is_kept() { [ -n "$(kept)" ]; }
pc_send hub --from alice@domain.com --to user@domain.co.uk --id users-1 >/dev/null
check_soon 20 "the parcel is set aside" is_kept
on $at bash -c 'cat /root/hub.kept >/etc/bsmtp/peers.d/hub.conf'
stop $at bsmtp-dispatch
printf 'From: user@domain.co.uk\nTo: alice@domain.com\nX-Rig-Id: users-2\n\n%s\n' "$(date +%s)" |
  on $at $agents/bsmtp-out --peer hub --sender user@domain.co.uk -- alice@domain.com
check_equal "each command ends as its manual page says" "" "$(every_command)"
check "root releases the parcel" on $at bash -c 'umask 077; bsmtpctl quarantine release "$1"' _ "$(basename "$(dirname "$(kept | head -1)")")"
owners_hold "stopped"
start $at bsmtp-dispatch
check_soon 20 "and it is delivered" inbox_grep $at user '^X-Rig-Id: users-1$'
check_soon 20 "what bsmtp-out took from root goes out" inbox_grep hub alice '^X-Rig-Id: users-2$'

say "  killed, its log not yet in the ledger"
kill9 $at bsmtp-dispatch
check "a log is left" on $at test -s $spool/ledger.sqlite-wal
check_equal "each command ends as its manual page says" "" "$(every_command)"
check "bsmtp-dispatch and queue flush by root end well" by_hand
owners_hold "killed"

say "  a spool that is new"
for user in root bsmtp bsmtp-sign; do
  on $at bash -c 'rm -rf /var/spool/bsmtp-new; install -d -o bsmtp -g bsmtp -m 2770 /var/spool/bsmtp-new
    (echo "spool-directory = /var/spool/bsmtp-new"; cat /etc/bsmtp/bsmtp.conf) >/etc/bsmtp/new.conf; umask 077
    as=(); [ $1 = root ] || as=(setpriv --reuid=$1 --regid=bsmtp --init-groups --)
    for command in "bsmtpctl status" "bsmtpctl queue list" "'$agents'/bsmtp-dispatch --once" "bsmtpctl status"; do "${as[@]}" ${command%% *} --config /etc/bsmtp/new.conf ${command#* }; done' _ $user >/dev/null 2>&1
  check "made by $user, the service can use it" as $at bsmtp-sign $agents/bsmtp-dispatch --config /etc/bsmtp/new.conf --once
done
owners_hold "new"
on $at rm -rf /var/spool/bsmtp-new /etc/bsmtp/new.conf

say "  a milter that root started, and killed"
stop $at bsmtp-milter
on $at bash -c 'umask 077; '$agents'/bsmtp-milter --foreground 2>/run/said & sleep 0.5; kill -9 $!; chown root /var/spool/postfix/bsmtp/milter.sock; chmod 600 /var/spool/postfix/bsmtp/milter.sock' 2>/dev/null
check "leaves the service its place" start $at bsmtp-milter

say "  after all that"
start $at bsmtp-dispatch
pc_send $at --from user@domain.co.uk --to alice@domain.com --id users-3 >/dev/null
pc_send hub --from alice@domain.com --to user@domain.co.uk --id users-4 >/dev/null
pc_send hub --from alice@domain.com --to nobody-here@domain.co.uk --id users-5 >/dev/null
check_soon 20 "mail goes out" inbox_grep hub alice '^X-Rig-Id: users-3$'
check_soon 20 "mail comes in" inbox_grep $at user '^X-Rig-Id: users-4$'
check_soon 20 "a report is written" one_report users-5
owners_hold "at the end"
check_soon 30 "idle at the end" tunnel_idle

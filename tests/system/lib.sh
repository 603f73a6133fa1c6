# lib.sh: the rig's world and verbs; sourced by up, down, on, run and the scenarios (bash).
#
# Five names, four hosts, one Ethernet 10.99.0.0/24 whose bridge lives inside the host `wan`:
#   hub     hub.domain.com        10.99.0.2    gateway of domain.com
#   athena  athena.domain.co.uk   10.99.0.3    gateway of domain.co.uk, itself inside that domain
#   zeus    zeus.domain.net       10.99.0.4    gateway of domain.net, the second remote
#   wan     client.example.net    10.99.0.66   DNS for everybody, a stranger, the sink of all other mail
#           pc.domain.com .67, pc.domain.co.uk .68, pc.domain.net .69   users' machines behind each gateway
# A host is a process tree in namespaces of its own (net, mount, uts, ipc, pid) on an overlay of the
# live root and an image into which apt-get really installed Postfix. Killing its PID 1 ends it and
# everything in it; nothing is left on the machine. Processes are ended by recorded pid only.

SYSTEM_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$SYSTEM_DIR/../.." && pwd)
RIG_RUN=${BSMTP_RIG_RUN:-/run/bsmtp-tunnel-rig}          # pids, logs, keys: gone with `down`
RIG_CACHE=${BSMTP_RIG_CACHE:-/var/cache/bsmtp-tunnel-rig} # images: kept
RIG_HOSTS=(wan hub athena zeus)
GATEWAYS=(hub athena zeus)
declare -A IP=([hub]=10.99.0.2 [athena]=10.99.0.3 [zeus]=10.99.0.4 [wan]=10.99.0.66)
declare -A FQDN=([hub]=hub.domain.com [athena]=athena.domain.co.uk [zeus]=zeus.domain.net [wan]=client.example.net)
declare -A DOMAIN=([hub]=domain.com [athena]=domain.co.uk [zeus]=domain.net)
declare -A PC=([hub]=10.99.0.67 [athena]=10.99.0.68 [zeus]=10.99.0.69)

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*"; }
die() { printf 'system test: %s\n' "$*" >&2; exit 1; }
skip() { printf 'SKIP: %s\n' "$*"; exit 77; }

# mta HOST: which MTA it has: postfix, or sendmail where RIG_MTA_<host> says so.
mta() { local variable=RIG_MTA_$1; echo "${!variable:-postfix}"; }
host_pid() { cat "$RIG_RUN/$1/pid" 2>/dev/null; }
host_root() { echo "/proc/$(host_pid "$1")/root"; }
host_alive() { local p; p=$(host_pid "$1") && [ -n "$p" ] && grep -qs "rig-host-$1" "/proc/$p/cmdline"; }

# on HOST command...: as root inside a host, with a login's environment and nothing of ours.
on() {
  local p; p=$(host_pid "$1") || die "host $1 is not up (tests/system/up)"
  local host=$1; shift
  nsenter -t "$p" -m -u -n -p -i --root="/proc/$p/root" --wd="/proc/$p/root/root" \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    TERM=dumb LOGNAME=root USER=root RIG_HOST="$host" "$@"
}
# as HOST USER command...: the same as another user of that host, with its own groups.
as() { local host=$1 user=$2; shift 2; on "$host" setpriv --reuid="$user" --regid="$(on "$host" id -g "$user")" --init-groups -- "$@"; }
# sh_on HOST 'shell text'
sh_on() { local host=$1; shift; on "$host" bash -c "$*"; }

# --- services: the verbs a scenario speaks -----------------------------------------------------
# start|stop|restart|reload|kill|is-active HOST UNIT   (postfix, bsmtp-milter, bsmtp-dispatch, ...)
start()   { on "$1" systemctl start "$2"; }
stop()    { on "$1" systemctl stop "$2"; }
restart() { on "$1" systemctl restart "$2"; }
reload()  { on "$1" systemctl reload "$2"; }
kill9()   { on "$1" systemctl kill "$2"; }

# --- waiting ---------------------------------------------------------------------------------
# wait_for SECONDS 'what' command...: until the command succeeds; 1 when the time is over.
wait_for() {
  local limit=$1 what=$2 end; shift 2
  end=$((SECONDS + limit))
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { printf '    (gave up after %ss waiting for %s)\n' "$limit" "$what"; return 1; }
    sleep 0.2
  done
}
mail_log() { cat "$(host_root "$1")/var/log/mail.log"; }
log_mark() { wc -c <"$(host_root "$1")/var/log/mail.log"; }
log_since() { tail -c "+$(($2 + 1))" "$(host_root "$1")/var/log/mail.log"; }
# log_has HOST MARK REGEX. Not grep -q: it would stop reading, and `tail` end by SIGPIPE, with pipefail.
log_has() { log_since "$1" "$2" | grep -E -- "$3" >/dev/null; }
# left_directly HOST MARK DOMAIN: the log lines of what went out to that domain or below it without being a parcel.
left_directly() {
  local handed_on='(postfix/smtp\[.*status=sent|mailer=esmtp.*stat=Sent)'
  log_since "$1" "$2" | grep -E "to=.*[@.]${3//./\\.}>.*$handed_on|$handed_on.*to=.*[@.]${3//./\\.}>" | grep -Ev 'to=<(bsmtp|postmaster)@'
}
queue_empty() {
  if [ "$(mta "$1")" = postfix ]; then [ -z "$(on "$1" postqueue -j)" ]; else [ -z "$(on "$1" find /var/spool/mqueue /var/spool/mqueue-client -name '[dqQ]f*')" ]; fi
}
queue_flush() { if [ "$(mta "$1")" = postfix ]; then on "$1" postqueue -f; else on "$1" sendmail-mta -q; fi; }

# How a line of Postfix' log names our agents, by LMTP or by pipe (for log_has and grep -E).
# shellcheck disable=SC2034
TO_OUT='relay=(bsmtp-out|[^ ,]*private/bsmtp-out-agent\])' TO_IN='relay=(bsmtp-in|[^ ,]*private/bsmtp-in-agent\])'

# --- mailboxes ---------------------------------------------------------------------------------
maildir() { echo "$(host_root "$1")/home/$2/Maildir/new"; }
inbox_count() { local d; d=$(maildir "$1" "$2"); if [ -d "$d" ]; then find "$d" -type f | wc -l; else echo 0; fi; }
inbox_clear() { local d; d=$(maildir "$1" "$2"); [ ! -d "$d" ] || find "$d" -type f -delete; }
inbox_has() { [ "$(inbox_count "$1" "$2")" -ge "$3" ]; }
inbox_grep() { local d; d=$(maildir "$1" "$2"); [ -d "$d" ] && grep -rlE -- "$3" "$d" | head -1 | grep -q .; }
inbox_file() { local d; d=$(maildir "$1" "$2"); grep -rlE -- "$3" "$d" 2>/dev/null | head -1; }

# --- verdicts ----------------------------------------------------------------------------------
# A scenario is a file t-NN-name.sh that sources nothing, is sourced by `run` in a subshell, and calls
# pass/fail through these. Every call is one line of the sum at the end.
RESULTS=${RESULTS:-/dev/null}
pass() { printf '  ok    %s\n' "$*"; echo pass >>"$RESULTS"; }
fail() { printf '  FAIL  %s\n' "$*"; echo fail >>"$RESULTS"; }
skipped() { printf '  skip  %s\n' "$*"; echo skip >>"$RESULTS"; }
# check 'what must be true' command...
check() { local what=$1; shift; if "$@" >"$RIG_RUN/check.out" 2>&1; then pass "$what"; else fail "$what"; sed 's/^/        | /' "$RIG_RUN/check.out" | head -20; fi; }
check_not() { local what=$1; shift; if "$@" >"$RIG_RUN/check.out" 2>&1; then fail "$what"; sed 's/^/        | /' "$RIG_RUN/check.out" | head -20; else pass "$what"; fi; }
check_equal() { if [ "$2" = "$3" ]; then pass "$1 ($2)"; else fail "$1: expected '$2', got '$3'"; fi; }
# check_soon SECONDS 'what' command...: true within that time
check_soon() { local limit=$1 what=$2; shift 2; if wait_for "$limit" "$what" "$@"; then pass "$what"; else fail "$what (not within ${limit}s)"; fi; }

# --- mail --------------------------------------------------------------------------------------
# pc_send GATEWAY send-options...: a user's machine behind that gateway hands a message to it.
pc_send() { local g=$1; shift; on wan /rig/mail.py send --server "${IP[$g]}" --source "${PC[$g]}" "$@"; }
# stranger_send GATEWAY ...: somebody on the Internet does.
stranger_send() { local g=$1; shift; on wan /rig/mail.py send --server "${IP[$g]}" --source "${IP[wan]}" "$@"; }
# local_send HOST SENDER RECIPIENT ID: through /usr/sbin/sendmail on the gateway itself.
local_send() { printf 'X-Rig-Id: %s\nFrom: %s\nTo: %s\nSubject: %s\n\nhello\n' "$4" "$2" "$3" "$4" | on "$1" sendmail -i -f "$2" -- "$3"; }
# bulk GATEWAY PREFIX COUNT FROM TO...: real mail from the user's machine; manifest in /rig-shared/PREFIX.json
bulk() {
  local g=$1 prefix=$2 count=$3 from=$4 to=() t; shift 4
  for t in "$@"; do to+=(--to "$t"); done
  on wan /rig/mail.py bulk --server "${IP[$g]}" --source "${PC[$g]}" --corpus /rig-shared/corpus --count "$count" \
    --prefix "$prefix" --manifest "/rig-shared/$prefix.json" --from "$from" "${to[@]}"
}
# verify_bulk PREFIX HOST USER...: JSON of what arrived; true when each arrived once and unchanged (where sendmail had a
# hand in it: but for its folding of long address fields).
verify_bulk() {
  local prefix=$1 host=$2 dirs=() u; shift 2
  for u in "$@"; do dirs+=("$(host_root "$host")/home/$u/Maildir"); done
  [ "$(mta hub)$(mta athena)" = postfixpostfix ] || dirs=(--sendmail "${dirs[@]}")
  "$SYSTEM_DIR/mail.py" verify --manifest "$RIG_RUN/shared/$prefix.json" "${dirs[@]}"
}
bulk_arrived() { [ "$(verify_bulk "$@" 2>/dev/null | sed -n 's/.*"missing": \([0-9]*\).*/\1/p')" = 0 ]; }
# send_odd GATEWAY SOURCE PREFIX FROM TO: the messages of odd_mail.py from that address; manifest in /rig-shared/PREFIX.json
send_odd() {
  local count; count=$("$SYSTEM_DIR/odd_mail.py" "$RIG_RUN/shared/odd")
  on wan /rig/mail.py bulk --server "${IP[$1]}" --source "$2" --corpus /rig-shared/odd --count "$count" --prefix "$3" \
    --manifest "/rig-shared/$3.json" --from "$4" --to "$5"
}
# verify_odd PREFIX HOST USER: true when each arrived once and unchanged; where sendmail had a hand in it, but for what
# it also changed in the copies that the prefix `control` brought to info of either host without a tunnel.
verify_odd() {
  local control=()
  [ "$(mta hub)$(mta athena)" = postfixpostfix ] ||
    control=(--control control --control-maildir "$(host_root hub)/home/info/Maildir" --control-maildir "$(host_root athena)/home/info/Maildir")
  "$SYSTEM_DIR/mail.py" verify --manifest "$RIG_RUN/shared/$1.json" "${control[@]}" "$(host_root "$2")/home/$3/Maildir"
}
# checks of one such set: check_odd 'in what way' PREFIX HOST USER
check_odd() {
  local what=$1 result; shift
  check_soon 60 "$what: all arrive, $*" bulk_arrived "$@"
  check "each once, not an octet changed, no header added" verify_odd "$@"
  result=$(verify_odd "$@" 2>/dev/null)
  check "its DKIM signatures hold ($result)" test "$(json_field dkim_signed <<<"$result")" -gt 10 -a \
    "$(json_field dkim_pass <<<"$result")" -ge $(($(json_field dkim_signed <<<"$result") - $(json_field altered <<<"$result")))
}
# dkim_form FORM HOST...: how OpenDKIM signs there from now on, header/body
dkim_form() {
  local form=$1 h; shift
  for h in "$@"; do on "$h" bash -c 'sed -i "s|^Canonicalization .*|Canonicalization $1|" /etc/opendkim.conf; kill -USR1 "$(cat /run/opendkim/opendkim.pid)"' _ "$form"; done
  sleep 0.3
}
json_field() { sed -n 's/.*"'"$1"'": \([0-9]*\).*/\1/p' | head -1; }

# reports_to HOST USER ID: how many reports about the message lie there; one_report: is it one?
reports_to() { grep -rlE "^X-Rig-Id: $3\$" "$(maildir "$1" "$2")" 2>/dev/null | wc -l; }
one_report() { [ "$(reports_to hub alice "$1")" = 1 ]; }
# expects_receipts HOST yes|no: of its peers. With receipts a bounce tells nobody anything: the parcel goes again.
expects_receipts() {
  on "$1" bash -c 'for f in /etc/bsmtp/peers.d/*.conf; do sed -i "/^receipts/d" "$f"; [ "$1" = yes ] || echo "receipts = no" >>"$f"; done' _ "$2"
  restart "$1" bsmtp-dispatch
}
# refuse_parcels HOST, take_parcels HOST: its agent for parcels takes each whole and then refuses it, by LMTP or by pipe.
refuse_parcels() {
  local agent=/usr/libexec/bsmtp-tunnel/bsmtp-in
  on "$1" bash -c "mv $agent $agent.away; cat >$agent; chmod 755 $agent" <<'A'
#!/bin/sh
case " $* " in *" --lmtp "*) ;; *) cat >/dev/null; echo 5.3.0 no longer here; exit 69 ;; esac
printf '220 x\r\n'
while read -r line; do
  case $line in
    DATA*) printf '354 go\r\n'; while read -r line && [ "${line%?}" != . ]; do :; done; printf '550 5.3.0 no longer here\r\n' ;;
    QUIT*) printf '221 bye\r\n'; exit 0 ;;
    *) printf '250 ok\r\n' ;;
  esac
done
A
}
take_parcels() { on "$1" bash -c 'cd /usr/libexec/bsmtp-tunnel && mv bsmtp-in.away bsmtp-in'; }

# --- the product ---------------------------------------------------------------------------------
# Parcels and receipts that reached a gateway are also copied to its user `archive` (recipient_bcc_maps; sendmail: testmilter.py).
archive_dir() { maildir "$1" archive; }
parcel_files() { local d; d=$(archive_dir "$1"); [ ! -d "$d" ] || grep -rLE '^Subject: BSMTP receipt ' "$d"; }
receipt_files() { local d; d=$(archive_dir "$1"); [ ! -d "$d" ] || grep -rlE '^Subject: BSMTP receipt ' "$d"; }
parcels_at() { parcel_files "$1" | wc -l; }
receipts_at() { receipt_files "$1" | wc -l; }
# parcel_to HOST ADDRESS: the last parcel that reached HOST comes there again, from a stranger, to that address.
parcel_to() {
  parcel_files "$1" | xargs -rd '\n' stat -c '%.Y %n' | sort -n | tail -1 | cut -d' ' -f2- | xargs -d '\n' sed 's/\r*$/\r/' >"$RIG_RUN/shared/parcel-again.eml"
  stranger_send "$1" --from x@example.net --to "$2" --file /rig-shared/parcel-again.eml
}
quarantined() { on "$1" bash -c 'find /var/spool/bsmtp/inbound/quarantine -mindepth 1 -maxdepth 1 | wc -l'; }
spool_items() { on "$1" bash -c "find /var/spool/bsmtp/peers/$2/incoming -type f 2>/dev/null | wc -l"; }
# Nothing that hub, athena or zeus still hold on behalf of the tunnel. Looked at twice round: mail may pass
# from a host not yet looked at to one that was.
tunnel_idle() {
  local g
  for g in "${GATEWAYS[@]}" "${GATEWAYS[@]}"; do
    [ -e "$RIG_RUN/$g/product" ] || continue
    queue_empty "$g" || return 1
    [ -z "$(on "$g" bash -c 'cd /var/spool/bsmtp && find peers/*/incoming peers/*/building peers/*/ready inbound/accepted inbound/deferred notices/ready -mindepth 1 -print -quit 2>/dev/null')" ] || return 1
  done
}

# build_release: what a site would build and install.
build_release() {
  (cd "$TOP" && cmake --preset release -DCMAKE_INSTALL_PREFIX=/usr -DBSMTP_TESTS=OFF \
     $(command -v ccache >/dev/null && echo -DCMAKE_CXX_COMPILER_LAUNCHER=ccache) >"$TOP/build/release.log" 2>&1 \
   && cmake --build --preset release >>"$TOP/build/release.log" 2>&1) || { tail -30 "$TOP/build/release.log"; die "the release build failed"; }
}
# install_product HOST: `cmake --install` into the host's root.
install_product() {
  DESTDIR=$(host_root "$1") cmake --install "${BSMTP_BUILD:-$TOP/build/release}" >"$RIG_RUN/$1/install.log" 2>&1 \
    || { cat "$RIG_RUN/$1/install.log"; die "installing on $1 failed"; }
  touch "$RIG_RUN/$1/product"
}
# impatient HOST: short timers, so that a test takes seconds; and the archive of received parcels. (Scenarios lose receipts on
# purpose, and all share these hosts: twenty lost ones would make the next wait.)
impatient() {
  on "$1" bash -c '
    sed -i "/^host = /a max-age = 2s\nmax-unacked = 200" /etc/bsmtp/peers.d/*.conf
    printf "retry-initial = 2s\nretry-maximum = 5s\nheartbeat = 5s\nreceipt-delay = 2s\n" >>/etc/bsmtp/bsmtp.conf
    id archive >/dev/null 2>&1 || useradd -m -k /dev/null archive
    [ "$1" = sendmail ] || postconf -e "recipient_bcc_maps = inline:{ { bsmtp@$(postconf -h myhostname) = archive@localhost } }"
    systemctl restart bsmtp-milter; systemctl restart bsmtp-dispatch
    [ "$1" = sendmail ] || systemctl reload postfix' _ "$(mta "$1")"
}

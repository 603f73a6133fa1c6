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
as() { local host=$1 user=$2; shift 2; on "$host" setpriv --reuid="$user" --regid="$user" --init-groups -- "$@"; }
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
log_has() { log_since "$1" "$2" | grep -Eq -- "$3"; }         # HOST MARK REGEX
queue_empty() { [ -z "$(on "$1" postqueue -j)" ]; }
queue_flush() { on "$1" postqueue -f; }

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

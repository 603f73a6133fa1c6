# Tampered, replayed, unsigned, wrong-key, wrong-host, expired and truncated parcels: nothing delivered, no backscatter.
run=$(date +%s)  # a message that was delivered in an earlier run would be known as a copy
work=$RIG_RUN/hostile; rm -rf "$work"; mkdir -p -m 700 "$work/gnupg" "$work/other"; chmod 700 "$work/gnupg" "$work/other"
as hub bsmtp-sign gpg --homedir /var/lib/bsmtp/openpgp/sign --batch --pinentry-mode loopback --passphrase '' --export-secret-keys >"$work/hub.sec" 2>/dev/null
gpg --homedir "$work/gnupg" --batch -q --import "$work/hub.sec" 2>/dev/null
gpg --homedir "$work/other" --batch -q --passphrase '' --quick-gen-key 'rogue <bsmtp@hub.domain.com>' ed25519 sign 1y 2>/dev/null
key_of() { gpg --homedir "$1" --list-keys --with-colons 2>/dev/null | awk -F: '/^fpr/ { print $10; exit }'; }
hub_key=$(key_of "$work/gnupg") rogue_key=$(key_of "$work/other")
make() { # NAME options...: a parcel with headers of a mail
  local name=$1; shift
  { printf 'From: bsmtp@hub.domain.com\r\nTo: bsmtp@athena.domain.co.uk\r\nSubject: %s\r\nMessage-ID: <%s@hub.domain.com>\r\nDate: Sun, 22 Nov 2026 01:10:00 +0000\r\n' "$name" "$name"
    "$SYSTEM_DIR/oracle.py" make --from hub.domain.com --recipient user@domain.co.uk --mark "hostile-$run-$name" "$@"; } >"$RIG_RUN/shared/$name.eml"
}
good=(--gnupghome "$work/gnupg" --key "$hub_key" --to athena.domain.co.uk)
# Each comes from a sender of its own name, by which its entry in quarantine is found.
post() { on wan /rig/mail.py send --server "${IP[$1]}" --source "${IP[wan]}" --from "$2-$run@example.net" --to "bsmtp@${FQDN[$1]}" --file "/rig-shared/$2.eml"; }
quarantine() { on athena bsmtpctl quarantine list --json; }
reasons_of() { # NAME: the words of the reasons under which its parcels lie in athena's quarantine
  quarantine | python3 -c 'import json, sys; print(*[e["reason"].split(":")[0] for e in json.load(sys.stdin) if e["sender"] == sys.argv[1]])' "$1-$run@example.net"
}
in_quarantine() { quarantine | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))'; }
shapeless() { on athena bsmtpctl status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["quarantine"]["shapeless"])'; }
delivered() { inbox_grep athena user "^X-Rig-Id: hostile-$run-$1\$"; }

make control "${good[@]}"
check "control: a parcel made by gpg and Python alone is taken" post athena control
check_soon 30 "control: and its message delivered, whoever brought it" delivered control
mark=$(log_mark athena)
sed 's/^Subject: control/Subject: replayed/' "$RIG_RUN/shared/control.eml" >"$RIG_RUN/shared/replayed.eml"
check "replayed: the MTA takes it" post athena replayed
make tampered "${good[@]}"
python3 - "$RIG_RUN/shared/tampered.eml" <<'P'
import re, sys
data = open(sys.argv[1], "rb").read()
at = data.index(b"compressed-bsmtp"); at = data.index(b"\r\n\r\n", at) + 60
data = data[:at] + (b"A" if data[at:at + 1] != b"A" else b"B") + data[at + 1:]
open(sys.argv[1], "wb").write(data)
P
make unsigned "${good[@]}" --unsigned
make rfc2442 "${good[@]}" --unsigned --rfc2442
make wrongkey --gnupghome "$work/other" --key "$rogue_key" --to athena.domain.co.uk
make wronghost --gnupghome "$work/gnupg" --key "$hub_key" --to zeus.domain.net
make expired "${good[@]}" --created -200000 --expires -100000
make impostor --gnupghome "$work/gnupg" --key "$hub_key" --to athena.domain.co.uk --from zeus.domain.net
make truncated "${good[@]}"; head -c 900 "$RIG_RUN/shared/truncated.eml" >"$work/t" && cp "$work/t" "$RIG_RUN/shared/truncated.eml"
# A signed part with a second, unsigned one smuggled in before it.
make smuggled "${good[@]}"; make inner "${good[@]}" --unsigned
python3 - "$RIG_RUN/shared/smuggled.eml" "$RIG_RUN/shared/inner.eml" <<'P'
import re, sys
data, other = (open(p, "rb").read() for p in sys.argv[1:])
boundary = re.search(rb'boundary="([^"]+)"', data).group(1)
part = other[other.index(b"Content-Type:"):]
mark = b"\r\n--" + boundary + b"\r\n"
data = data.replace(mark, mark + part + mark, 1)
open(sys.argv[1], "wb").write(data)
P
before=$(in_quarantine); sink_before=$(on wan bash -c 'ls /var/tmp/sink | wc -l')
declare -A bad=([tampered]=bad-signature [unsigned]=unsigned [rfc2442]=unsigned [wrongkey]=unknown-key [wronghost]=not-for-me
  [expired]=expired [impostor]=wrong-sender [truncated]=malformed [smuggled]=malformed)
for name in "${!bad[@]}"; do check "$name: the MTA takes it (no backscatter by bouncing)" post athena "$name"; done
check_soon 40 "athena's queue is empty" queue_empty athena
sleep 3
for name in "${!bad[@]}"; do check_not "$name: not delivered" delivered "$name"; done
check_not "smuggled: the inner part was not delivered either" delivered inner
check_equal "replayed: delivered once in all" 1 "$(grep -rlE "^X-Rig-Id: hostile-$run-control\$" "$(maildir athena user)" | wc -l)"
for name in "${!bad[@]}"; do check_equal "$name: in quarantine, and why" "${bad[$name]}" "$(reasons_of "$name")"; done
check_equal "nothing else is in quarantine" $((before + ${#bad[@]})) "$(in_quarantine)"
check_equal "replayed: a copy, not a suspect" "" "$(reasons_of replayed)"
check_equal "replayed: seen as one" 1 "$(log_since athena "$mark" | grep -cE 'bsmtp-(in|dispatch).*duplicate')"
check "bsmtpctl quarantine list shows them to a human" on athena bash -c 'bsmtpctl quarantine list | grep -q wrong-sender'
check_equal "nobody outside got a bounce" "$sink_before" "$(on wan bash -c 'ls /var/tmp/sink | wc -l')"
check_equal "athena's Postfix bounced none" "" "$(log_since athena "$mark" | grep 'status=bounced')"
# Truncation at any offset executes nothing.
before=$(in_quarantine) dropped=$(shapeless) cuts=0
for at in 200 500 700 1000 1100 1200 1300 1400; do
  make "cut$at" "${good[@]}"
  head -c "$at" "$RIG_RUN/shared/cut$at.eml" >"$work/t"; cp "$work/t" "$RIG_RUN/shared/cut$at.eml"
  [ "$(stat -c %s "$RIG_RUN/shared/cut$at.eml")" = "$at" ] && post athena "cut$at" >/dev/null && cuts=$((cuts + 1))
done
check_soon 30 "athena's queue is empty" queue_empty athena
sleep 2
for at in 200 500 700 1000 1100; do check_not "cut at $at: not delivered" delivered "cut$at"; done
check "cuts were made ($cuts)" test "$cuts" -ge 5
check_equal "cut in the header: no parcel any more, dropped and counted; else in quarantine" "$cuts" $(($(in_quarantine) - before + $(shapeless) - dropped))
check_equal "cut in the body: malformed" malformed "$(reasons_of cut1000)"
check "mail with no parcel in it is taken and dropped" stranger_send athena --from x@example.net --to bsmtp@athena.domain.co.uk --id shapeless
check_soon 20 "athena's queue is empty" queue_empty athena
for home in gnupg other; do gpgconf --homedir "$work/$home" --kill all; done; rm -rf "$work"

# What the recipe left behind: an unmodified master.cf plus our services, no warnings, the right owners and modes.
for h in "${GATEWAYS[@]}"; do
  check_equal "$h: postfix check is silent" "" "$(on "$h" postfix check 2>&1)"
  check_equal "$h: postconf warns of nothing" "" "$(on "$h" bash -c 'postconf -n 2>&1 >/dev/null; postconf -M 2>&1 >/dev/null; postconf -P 2>&1 >/dev/null')"
  check "$h: Debian's lines of master.cf are untouched" on "$h" bash -c \
    'n=$(wc -c </usr/share/postfix/master.cf.dist); cmp -n "$n" /usr/share/postfix/master.cf.dist /etc/postfix/master.cf'
  check "$h: smtpd and cleanup are chrooted" on "$h" bash -c "postconf -F 'smtp/inet/chroot' 'cleanup/unix/chroot' | grep -c '= y' | grep -qx 2"
  check "$h: bsmtpctl config check is content" on "$h" bsmtpctl config check
done
check_equal "milter socket: group postfix, closed to others" "bsmtp-milter postfix 660" \
  "$(on hub stat -c '%U %G %a' /var/spool/postfix/bsmtp/milter.sock)"
check_equal "milter runs as bsmtp-milter" "bsmtp-milter" "$(on hub bash -c 'ps -o user:20= -p $(cat /run/units/bsmtp-milter.service.pid)' | tr -d ' ')"
check_equal "dispatcher runs as bsmtp-sign" "bsmtp-sign" "$(on hub bash -c 'ps -o user:20= -p $(cat /run/units/bsmtp-dispatch.service.pid)' | tr -d ' ')"
# Trust duties: bsmtp-in's and the milter's users cannot reach the signing key, bsmtp-sign can.
for user in bsmtp bsmtp-milter; do
  check_not "$user cannot list the signing key's home" as hub "$user" ls /var/lib/bsmtp/openpgp/sign
  check_not "$user cannot read a private key" as hub "$user" bash -c 'cat /var/lib/bsmtp/openpgp/sign/private-keys-v1.d/*'
done
check "bsmtp-sign can" as hub bsmtp-sign bash -c 'ls /var/lib/bsmtp/openpgp/sign/private-keys-v1.d/*.key'
check_not "bsmtp-milter cannot enter the spool" as hub bsmtp-milter ls /var/spool/bsmtp/peers
check_equal "nothing root-owned below spool and key homes" "" "$(on hub find /var/spool/bsmtp /var/lib/bsmtp/openpgp -user root)"
check "static map: domains, exempt addresses, pseudo-domain" on hub bash -c '
  q() { [ "$(postmap -q "$1" texthash:/var/lib/bsmtp/transport)" = "$2" ] || { echo "$1 -> $(postmap -q "$1" texthash:/var/lib/bsmtp/transport)"; exit 1; }; }
  agent=bsmtp-out-lmtp:unix:private/bsmtp-out-agent
  q domain.co.uk $agent; q .domain.co.uk $agent; q .domain.net $agent; q .bsmtp.invalid $agent
  q bsmtp@athena.domain.co.uk :; q postmaster@athena.domain.co.uk :; q abuse@athena.domain.co.uk :'
check "rules test names the rule" on hub bash -c 'bsmtpctl rules test user@domain.co.uk | tee /dev/stderr | grep -qi remote1'

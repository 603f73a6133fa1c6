# STARTTLS policy decides about parcels: certificates of make-ca that are right, of a rogue CA and misnamed; no TLS at all.
# hub insists on athena's certificate (smtp_tls_policy_maps: secure, keyed by the next-hop) as up has set it; here both
# get certificates of a CA made with docs/examples/make-ca, and athena shows one after the other.
tls=$RIG_RUN/shared/t14
make_ca=$TOP/docs/examples/make-ca
rm -rf "$tls"; mkdir -p "$tls"
check "make-ca makes a CA and certificates" bash -ec "
  '$make_ca' init 'Scenario Mail CA' --ca '$tls/ca'
  '$make_ca' host athena.domain.co.uk --ca '$tls/ca'
  '$make_ca' host hub.domain.com --ca '$tls/ca'
  '$make_ca' host other.example.org --ca '$tls/ca'
  '$make_ca' init 'Scenario Mail CA' --ca '$tls/rogue'
  '$make_ca' host athena.domain.co.uk --ca '$tls/rogue'"

# show CA NAME: athena's Postfix shows this certificate from now on.
show() {
  install -m 644 "$tls/$1/hosts/$2.pem" "$(host_root athena)/etc/postfix/tls/athena.pem"
  install -m 600 "$tls/$1/hosts/$2.key" "$(host_root athena)/etc/postfix/tls/athena.key"
  on athena postfix reload
}
# The key of the map is the next-hop: here the domain of the parcel's recipient.
policy() { on hub bash -c "printf 'athena.domain.co.uk\t%s\n' '$1' >/etc/postfix/tls_policy; postmap /etc/postfix/tls_policy"; on hub postfix reload; }
# hub's queue holds a parcel to athena, and says why with these words.
parcel_waits() { on hub postqueue -j | grep -F '"address": "bsmtp@athena.domain.co.uk"' | grep -E -- "$1"; }
# Postfix keeps TLS connections and sessions for a while; each case must make its own.
on hub bash -c 'cp /etc/postfix/tls_policy /etc/postfix/tls_policy.kept; cp /etc/postfix/main.cf /etc/postfix/main.cf.kept
  postconf -e smtp_connection_cache_on_demand=no'
on hub cp -a /etc/postfix/tls /etc/postfix/tls.kept
on athena bash -c 'cp -a /etc/postfix/tls /etc/postfix/tls.kept; cp /etc/postfix/main.cf /etc/postfix/main.cf.kept'
for host in hub athena; do install -m 644 "$tls/ca/ca.pem" "$(host_root $host)/etc/postfix/tls/ca.pem"; done
install -m 644 "$tls/ca/hosts/hub.domain.com.pem" "$(host_root hub)/etc/postfix/tls/hub.pem"
install -m 600 "$tls/ca/hosts/hub.domain.com.key" "$(host_root hub)/etc/postfix/tls/hub.key"

# refused NAME 'words of the reply': mail sent now waits with that reply and does not arrive.
refused() {
  local id=tls-$1 mark; mark=$(log_mark hub)
  pc_send hub --from alice@domain.com --to user@domain.co.uk --id "$id" >/dev/null
  check_soon 40 "$1: the parcel stays queued with the documented reply" parcel_waits "$2"
  check "$1: and the log says so" log_has hub "$mark" "postfix/smtp\[.*to=<bsmtp@athena.domain.co.uk>.*status=deferred.*$2"
  check_not "$1: nothing arrived" inbox_grep athena user "^X-Rig-Id: $id\$"
}
# repaired NAME: what waited arrives once.
repaired() {
  queue_flush hub
  check_soon 40 "$1: after the repair it is delivered" inbox_grep athena user "^X-Rig-Id: tls-$1\$"
  check_equal "$1: once" 1 "$(grep -rlE "^X-Rig-Id: tls-$1\$" "$(maildir athena user)" | wc -l)"
  check_soon 20 "$1: hub's queue is empty" queue_empty hub
}

policy 'secure match=athena.domain.co.uk'
show ca athena.domain.co.uk
mark=$(log_mark hub) mark_a=$(log_mark athena)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id tls-good >/dev/null
check_soon 40 "good: mail arrives" inbox_grep athena user '^X-Rig-Id: tls-good$'
check "good: the certificate was verified" log_has hub "$mark" 'Verified TLS connection established to athena.domain.co.uk'
parcel=$(parcel_files athena | head -1)
check "good: the parcel's Received: shows TLS" grep -Pzoq 'Received: from hub\.domain\.com[^\n]*\n\s+\(using TLSv1\.3 with cipher ' "$parcel"
check_soon 10 "good: bsmtp-in logs it with the parcel" log_has athena "$mark_a" 'bsmtp-in.*: accepted .*tls=TLSv1\.3 verify=OK'
check "good: and hub's own certificate, verified" grep -Pzoq '\n\s+\(Client CN "hub\.domain\.com", Issuer "Scenario Mail CA" \(verified OK\)\)' "$parcel"

show rogue athena.domain.co.uk
refused rogue-ca 'Server certificate not (trusted|verified)'
show ca athena.domain.co.uk
repaired rogue-ca

show ca other.example.org
refused wrong-name 'Server certificate not verified'
policy 'verify match=athena.domain.co.uk'
queue_flush hub
check_soon 20 "wrong-name: refused with level verify too" parcel_waits 'Server certificate not verified'
show ca athena.domain.co.uk
repaired wrong-name

policy encrypt
on athena postconf -e smtpd_tls_security_level=none; on athena postfix reload
refused no-tls 'TLS is required, but was not offered by host athena'
on athena postconf -e smtpd_tls_security_level=may; on athena postfix reload
repaired no-tls

# Too few cipher bits: hub's demand leaves out what athena offers.
policy 'secure match=athena.domain.co.uk exclude=AES128'
on athena bash -c 'postconf -e smtpd_tls_protocols=TLSv1.2 smtpd_tls_ciphers=high tls_high_cipherlist=ECDHE-ECDSA-AES128-GCM-SHA256; postfix reload'
refused few-bits 'Cannot start TLS: handshake failure'
on athena bash -c 'postconf -X smtpd_tls_protocols smtpd_tls_ciphers tls_high_cipherlist; postfix reload'
repaired few-bits

# The key is the next-hop: an entry for another name than the parcel's domain does not protect it.
policy none
on hub bash -c "printf 'domain.co.uk\tsecure match=athena.domain.co.uk\n' >/etc/postfix/tls_policy; postmap /etc/postfix/tls_policy"; on hub postfix reload
show rogue athena.domain.co.uk
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id tls-other-key >/dev/null
check_soon 40 "an entry for the domain alone does not decide about parcels to the host" inbox_grep athena user '^X-Rig-Id: tls-other-key$'
check "it went over untrusted TLS" log_has hub "$mark" 'Untrusted TLS connection established to athena.domain.co.uk'

on hub bash -c 'mv /etc/postfix/tls_policy.kept /etc/postfix/tls_policy; touch -d "10 seconds ago" /etc/postfix/tls_policy; postmap /etc/postfix/tls_policy; mv /etc/postfix/main.cf.kept /etc/postfix/main.cf
  rm -r /etc/postfix/tls; mv /etc/postfix/tls.kept /etc/postfix/tls; postfix reload'
on athena bash -c 'rm -r /etc/postfix/tls; mv /etc/postfix/tls.kept /etc/postfix/tls; mv /etc/postfix/main.cf.kept /etc/postfix/main.cf; postfix reload'
mark=$(log_mark hub)
pc_send hub --from alice@domain.com --to user@domain.co.uk --id tls-after >/dev/null
check_soon 40 "the rig is as it was" inbox_grep athena user '^X-Rig-Id: tls-after$'

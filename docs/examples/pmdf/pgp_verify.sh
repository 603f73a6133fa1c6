#!/bin/sh
# Verify a signed BSMTP parcel on a PMDF system with GnuPG, as a conversion service. Takes the place
# of the PGP_VERIFY procedure in PMDF's documents, which lets a parcel with a bad signature through:
#
#   CONVERSIONS file:
#     out-chan=bsin_*; part-number=1; in-type=multipart; in-subtype=signed;
#       service-command="/pmdf/table/pgp_verify.sh $INPUT_FILE $OUTPUT_FILE"
#
# Set here, or in the environment:
#   GNUPGHOME         directory with the peers' public keys, mode 0700
#   BSMTP_PEER_KEYS   fingerprints of the keys whose parcels are taken, separated by blanks
#   BSMTP_DECOMPRESS  1: gunzip afterwards (bsmtp_gzip.sh beside this script)
# Exit status: 0 the signature is good and OUTPUT_FILE holds what was signed, with an
# X-Content-MIC-check line in front; 1 it is not good, and there is no OUTPUT_FILE.
set -eu

[ $# -ge 2 ] || { echo "usage: $0 INPUT_FILE OUTPUT_FILE" >&2; exit 2; }
input=$1 output=$2
: "${GNUPGHOME:=/pmdf/table/gnupg}" "${BSMTP_PEER_KEYS:?fingerprints of the peers}"
export GNUPGHOME

tmp=$output.tmp.$$
trap 'rm -f "$tmp" "$tmp.part" "$tmp.sig" "$tmp.status" "$tmp.out"' EXIT
trap 'exit 1' HUP INT TERM
fail() { echo "$0: $*" >&2; exit 1; }

# Take the mail apart: exactly two parts; the line end before a delimiter belongs to it.
tr -d '\r' < "$input" | awk -v part="$tmp.part" -v sig="$tmp.sig" '
  function emit(file) {
    if (first) { printf "%s", $0 > file; first = 0 } else { printf "\n%s", $0 > file }
  }
  state == 0 && /^--/ { delim = $0; sub(/[ \t]+$/, "", delim); state = 1; first = 1; next }
  state == 0 { next }
  { line = $0; sub(/[ \t]+$/, "", line) }
  line == delim "--" { closed = 1; exit }
  line == delim { state++; first = 1; header = 1; next }
  state == 1 { emit(part); next }
  state == 2 && header { if ($0 == "") header = 0; next }
  state == 2 { print > sig; next }
  END { if (!closed || state != 2) exit 1 }' || fail "not a multipart/signed with two parts"
if [ ! -s "$tmp.part" ] || [ ! -s "$tmp.sig" ]; then
  fail "a part is empty"
fi
[ "$(sed -n '/[^ ]/{p;q;}' "$tmp.sig")" = "-----BEGIN PGP SIGNATURE-----" ] ||
  fail "the second part is no detached signature"

gpg --batch --no-tty --status-fd 1 --verify "$tmp.sig" "$tmp.part" > "$tmp.status" 2>/dev/null ||
  fail "bad signature"
# VALIDSIG: field 3 is the signing key, 10 the digest (8, 9, 10 = SHA-2), the last one the primary.
[ "$(grep -c '^\[GNUPG:\] VALIDSIG ' "$tmp.status")" = 1 ] || fail "not exactly one good signature"
signer=$(awk '$2 == "VALIDSIG" { print $NF }' "$tmp.status")
digest=$(awk '$2 == "VALIDSIG" { print $10 }' "$tmp.status")
case $digest in 8 | 9 | 10) ;; *) fail "weak digest" ;; esac
known=no
for key in $BSMTP_PEER_KEYS; do
  [ "$key" = "$signer" ] && known=yes
done
[ $known = yes ] || fail "key $signer is no peer's"

if [ "${BSMTP_DECOMPRESS:-0}" = 1 ]; then
  "$(dirname -- "$0")/bsmtp_gzip.sh" decompress "$tmp.part" "$tmp.out"
else
  mv -f -- "$tmp.part" "$tmp.out"
fi
{
  printf 'X-Content-MIC-check: Good signature from key %s\n' "$signer"
  cat "$tmp.out"
} > "$tmp"
mv -f -- "$tmp" "$output"

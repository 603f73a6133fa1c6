#!/bin/sh
# Sign a BSMTP parcel on a PMDF system with GnuPG, as a conversion service. Takes the place of the
# PGP_SIGN procedure in PMDF's documents, whose MD5 binary-mode signatures no current OpenPGP
# program accepts:
#
#   CONVERSIONS file:
#     in-chan=bsout_*; part-number=1; in-type=*; in-subtype=*;
#       service-command="/pmdf/table/pgp_sign.sh $INPUT_FILE $OUTPUT_FILE"
#
# Set here, or in the environment:
#   GNUPGHOME            directory with the gateway's secret key, mode 0700, readable only by PMDF
#   BSMTP_SIGN_KEY       fingerprint of that key
#   BSMTP_SIGN_PASSFILE  file with its passphrase, mode 0400 (optional)
#   BSMTP_COMPRESS       1: gzip first (bsmtp_gzip.sh beside this script), so one entry does both
# Exit status 0 only when OUTPUT_FILE is complete.
set -eu

[ $# -ge 2 ] || { echo "usage: $0 INPUT_FILE OUTPUT_FILE" >&2; exit 2; }
input=$1 output=$2
: "${GNUPGHOME:=/pmdf/table/gnupg}" "${BSMTP_SIGN_KEY:?fingerprint of the signing key}"
export GNUPGHOME

tmp=$output.tmp.$$
trap 'rm -f "$tmp" "$tmp.part" "$tmp.sig" "$tmp.gzip"' EXIT
trap 'exit 1' HUP INT TERM

if [ "${BSMTP_COMPRESS:-0}" = 1 ]; then
  "$(dirname -- "$0")/bsmtp_gzip.sh" compress "$input" "$tmp.gzip"
  input=$tmp.gzip
fi

# What is signed has LF line ends and no last one: that one belongs to the delimiter (RFC 3156 5).
# Text mode makes the signature good for the CRLF form that travels.
awk 'NR > 1 { printf "\n" } { sub(/\r$/, ""); printf "%s", $0 }' < "$input" > "$tmp.part"

set -- --batch --no-tty --yes --textmode --armor --digest-algo SHA256 \
  --local-user "$BSMTP_SIGN_KEY" --output "$tmp.sig"
if [ -n "${BSMTP_SIGN_PASSFILE:-}" ]; then
  set -- "$@" --pinentry-mode loopback --passphrase-file "$BSMTP_SIGN_PASSFILE"
fi
gpg "$@" --detach-sign "$tmp.part"

boundary="=_$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')"
{
  printf 'Content-Type: multipart/signed; micalg=pgp-sha256;\n'
  printf ' protocol="application/pgp-signature"; boundary="%s"\n\n' "$boundary"
  printf -- '--%s\n' "$boundary"
  cat "$tmp.part"
  printf '\n--%s\n' "$boundary"
  printf 'Content-Type: application/pgp-signature\n\n'
  cat "$tmp.sig"
  printf -- '--%s--\n' "$boundary"
} > "$tmp"
mv -f -- "$tmp" "$output"

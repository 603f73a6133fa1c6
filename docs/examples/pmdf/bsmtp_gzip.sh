#!/bin/sh
# Compress or decompress a BSMTP parcel on a PMDF system (UNIX), as a conversion service:
#
#   CONVERSIONS file:
#     in-chan=bsout_*; part-number=1; in-type=*; in-subtype=*;
#       service-command="/pmdf/table/bsmtp_gzip.sh compress $INPUT_FILE $OUTPUT_FILE"
#     out-chan=bsin_*; part-number=1; in-type=application; in-subtype=compressed-bsmtp;
#       service-command="/pmdf/table/bsmtp_gzip.sh decompress $INPUT_FILE $OUTPUT_FILE"
#
# The whole entity, header and body, is compressed. Needs gzip and base64 (or openssl).
# Exit status 0 only when OUTPUT_FILE is complete.
set -eu

usage() {
  echo "usage: $0 compress|decompress INPUT_FILE OUTPUT_FILE" >&2
  exit 2
}
[ $# -eq 3 ] || usage
mode=$1 input=$2 output=$3

encode() { if command -v base64 >/dev/null; then base64 -w 76; else openssl base64; fi; }
decode() { if command -v base64 >/dev/null; then base64 -d; else openssl base64 -d; fi; }

tmp=$output.tmp.$$
trap 'rm -f "$tmp" "$tmp.gz"' EXIT
trap 'exit 1' HUP INT TERM

case $mode in
  compress)
    gzip -n -c -- "$input" > "$tmp.gz"
    {
      printf 'Content-Type: application/compressed-bsmtp\n'
      printf 'Content-Transfer-Encoding: base64\n\n'
      encode < "$tmp.gz"
    } > "$tmp"
    ;;
  decompress)
    # The body begins behind the first empty line; CR at line ends is dropped.
    tr -d '\r' < "$input" | sed '1,/^$/d' | decode > "$tmp.gz"
    gzip -d -c < "$tmp.gz" > "$tmp"
    ;;
  *) usage ;;
esac
mv -f -- "$tmp" "$output"

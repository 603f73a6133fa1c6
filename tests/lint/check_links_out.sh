#!/bin/sh
# bsmtp-out takes users' mail; both MTAs bounce that mail when the program cannot be loaded. So it
# may need nothing but libc, or, linked statically, nothing at all.
set -eu
objdump -p "$1" | grep -q '^Program Header' || { echo "objdump cannot read $1: the check is blind"; exit 1; }
objdump -p "$1" | grep -q '^ *INTERP ' || exit 0
objdump -p "$1" | awk '/NEEDED/ {print $2}' >"${TMPDIR:-/tmp}/needed.$$"
trap 'rm -f "${TMPDIR:-/tmp}/needed.$$"' EXIT
grep -q '^libc\.so' "${TMPDIR:-/tmp}/needed.$$" || { echo "objdump saw no libc: the check is blind"; exit 1; }
extra=$(grep -Ev '^(libc\.so|libm\.so|ld-linux)' "${TMPDIR:-/tmp}/needed.$$") || exit 0
echo "bsmtp-out links: $extra"
exit 1

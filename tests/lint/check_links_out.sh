#!/bin/sh
# bsmtp-out takes users' mail; both MTAs bounce that mail when the program cannot be loaded. So it
# may need nothing but libc.
set -eu
objdump -p "$1" | awk '/NEEDED/ {print $2}' >"${TMPDIR:-/tmp}/needed.$$"
trap 'rm -f "${TMPDIR:-/tmp}/needed.$$"' EXIT
grep -q '^libc\.so' "${TMPDIR:-/tmp}/needed.$$" || { echo "objdump saw no libc: the check is blind"; exit 1; }
extra=$(grep -Ev '^(libc\.so|libm\.so|ld-linux)' "${TMPDIR:-/tmp}/needed.$$") || exit 0
echo "bsmtp-out links: $extra"
exit 1

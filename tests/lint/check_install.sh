#!/bin/sh
# Installs into a scratch DESTDIR and checks that everything an admin needs is there, that nothing
# lands outside the planned directories, and that no name of another package is taken.
set -eu
build=$1 cmake=$2
dest=$(mktemp -d)
trap 'rm -rf "$dest"' EXIT
DESTDIR=$dest "$cmake" --install "$build" >"$dest.log" 2>&1 || { cat "$dest.log"; rm -f "$dest.log"; exit 1; }
rm -f "$dest.log"
bad=0
need() {
  [ -n "$(find "$dest" -path "*/$1" -print -quit)" ] || { echo "not installed: $1"; bad=1; }
}
for program in bsmtp-milter bsmtp-out bsmtp-in bsmtp-dispatch; do
  need "libexec/bsmtp-tunnel/$program"
done
need "sbin/bsmtpctl"
for page in bsmtp-milter.8 bsmtp-out.8 bsmtp-in.8 bsmtp-dispatch.8 bsmtpctl.8; do need "man/man8/$page"; done
for page in bsmtp.conf.5 bsmtp-parcel.5; do need "man/man5/$page"; done
need "bsmtp-tunnel/bsmtp.conf.example"
for file in bsmtp.m4 feature/bsmtp.m4 mailer/bsmtp.m4 example.mc; do need "bsmtp-tunnel/m4/$file"; done
need "systemd/system/bsmtp-milter.service"
need "systemd/system/bsmtp-dispatch.service"
need "systemd/system/bsmtp-dispatch-once@.path"
need "systemd/system/bsmtp-dispatch-once.timer"
need "bash-completion/completions/bsmtpctl"
for taken in bsmtp sbsmtp rbsmtp; do
  [ -z "$(find "$dest" -type f -name "$taken" -path '*bin/*' -print -quit)" ] || { echo "takes the name $taken of another package"; bad=1; }
done
find "$dest" -type f -name '*.in' -print | grep . && { echo "unconfigured file installed"; bad=1; }
# Prose may show rules such as $U@HOST@...; everything else is configured by CMake.
if grep -rIlE --exclude='*.md' '@(BSMTP|CMAKE|PROJECT)_[A-Z_]*@' "$dest" | grep .; then echo "unreplaced variable in the files above"; bad=1; fi
"$(find "$dest" -path '*bin/bsmtpctl' -type f)" --version | grep -q '^bsmtpctl [0-9]' || { echo "bsmtpctl --version failed"; bad=1; }
exit $bad

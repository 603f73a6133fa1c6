// Who a program runs as. sendmail starts an F=S mailer with real uid 0, the mailer's effective
// uid and the supplementary groups of whatever ran before it; so an agent becomes its service
// user for good before it touches mail, and proves that there is no way back.
// Also: checks of the owner and mode of files that hold secrets.
// May not: be called once threads exist (credentials are per process, calls per thread).
#pragma once

#include <sys/types.h>

#include <string>

#include "common/base/status.h"

namespace bsmtp::os {

struct ServiceUser {
  uid_t uid = 0;
  gid_t gid = 0;
};

// The owner and group of a directory (the spool): whoever owns it is its service user. The user
// database is not asked: bsmtp-out is linked statically, and look-ups in it would need glibc's
// modules at run time.
Result<ServiceUser> owner_of(const std::string& path);

// True when real, effective or saved uid is 0: the process could become root.
bool has_root();

// Gives up root for `user`: seteuid(0), setgroups to the one group, setresgid, setresuid, then
// verifies all six ids and that neither setuid(0) nor setgid(0) works any more. Without any
// root id it only verifies that real and effective uid agree, and changes nothing.
// gid 0 for another uid is refused: a directory that was given away by chown alone.
// `user.uid` 0 is refused unless allow_root (a spool owned by root: tests, one-user sites).
// Every failure is temporary 4.3.5: exit 75, mail stays with the MTA.
Status become(const ServiceUser& user, bool allow_root);

// Regular file (no link), owned by us or root, no permission bit for others, none for group
// beyond `allowed_group_bits` (e.g. 0040). Temporary 4.3.5 saying what to change.
Status check_secret_file(const std::string& path, mode_t allowed_group_bits = 0);
// Directory, owned by us or root, not writable or readable by others.
Status check_private_directory(const std::string& path);

}  // namespace bsmtp::os

#include "common/os/identity.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "common/base/text.h"

namespace bsmtp::os {
namespace {

Status bad(std::string text) {
  return Status::temporary("4.3.5", std::move(text));
}

struct Ids {
  uid_t ruid = 0, euid = 0, suid = 0;
  gid_t rgid = 0, egid = 0, sgid = 0;
};

Ids current_ids() {
  Ids ids;
  ::getresuid(&ids.ruid, &ids.euid, &ids.suid);
  ::getresgid(&ids.rgid, &ids.egid, &ids.sgid);
  return ids;
}

std::string octal(mode_t mode) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "%04o", mode & 07777U);
  return text.data();
}

Status verify_dropped(const ServiceUser& user) {
  const Ids ids = current_ids();
  const bool uids = ids.ruid == user.uid && ids.euid == user.uid && ids.suid == user.uid;
  const bool gids = ids.rgid == user.gid && ids.egid == user.gid && ids.sgid == user.gid;
  if (!uids || !gids) {
    return bad("could not become uid " + std::to_string(user.uid) + " completely");
  }
  if (user.uid != 0 && (::setuid(0) == 0 || ::seteuid(0) == 0)) {
    return bad("uid 0 came back after it was given up");
  }
  if (user.gid != 0 && user.uid != 0 && (::setgid(0) == 0 || ::setegid(0) == 0)) {
    return bad("gid 0 came back after it was given up");
  }
  return Status::ok();
}

Status check_owner(const std::string& path, const struct stat& st) {
  if (st.st_uid != ::geteuid() && st.st_uid != 0) {
    return bad(str_cat({path, ": owned by uid ", std::to_string(st.st_uid),
                        "; it must belong to uid ", std::to_string(::geteuid()), " or root"}));
  }
  return Status::ok();
}

}  // namespace

Result<ServiceUser> owner_of(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) {
    return Status::from_errno("stat " + path, errno);
  }
  return ServiceUser{st.st_uid, st.st_gid};
}

bool has_root() {
  const Ids ids = current_ids();
  return ids.ruid == 0 || ids.euid == 0 || ids.suid == 0;
}

Status become(const ServiceUser& user, bool allow_root) {
  const Ids before = current_ids();
  if (!has_root()) {
    if (before.ruid != before.euid || before.euid != before.suid) {
      return bad("started with different real and effective users (setuid?); start it plainly");
    }
    return Status::ok();
  }
  if (user.uid == 0) {
    if (!allow_root) {
      return bad("will not run as root; name an unprivileged user in the MTA's configuration");
    }
    if (before.ruid == 0 && before.euid == 0) {
      return Status::ok();
    }
  }
  if (user.uid != 0 && user.gid == 0) {
    return bad(str_cat({"will not run with root's group as uid ", std::to_string(user.uid),
                        "; chgrp the directory whose owner it is to the service user's group"}));
  }
  if (::seteuid(0) != 0) {
    return Status::from_errno("seteuid(0) before giving up root", errno);
  }
  if (::setgroups(1, &user.gid) != 0) {
    return Status::from_errno("setgroups " + std::to_string(user.gid), errno);
  }
  if (::setresgid(user.gid, user.gid, user.gid) != 0) {
    return Status::from_errno("setresgid " + std::to_string(user.gid), errno);
  }
  if (::setresuid(user.uid, user.uid, user.uid) != 0) {
    return Status::from_errno("setresuid " + std::to_string(user.uid), errno);
  }
  return verify_dropped(user);
}

Status check_secret_file(const std::string& path, mode_t allowed_group_bits) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) {
    return Status::from_errno("stat " + path, errno);
  }
  if (!S_ISREG(st.st_mode)) {
    return bad(path + ": a secret must be a regular file, not a link or device");
  }
  TRY(check_owner(path, st));
  const mode_t forbidden = (st.st_mode & 077U) & ~(allowed_group_bits & 070U);
  if (forbidden != 0) {
    return bad(
        str_cat({path, ": mode ", octal(st.st_mode), " lets others read a secret; chmod it to ",
                 octal(0400U | (allowed_group_bits & 070U))}));
  }
  return Status::ok();
}

Status check_private_directory(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) {
    return Status::from_errno("stat " + path, errno);
  }
  if (!S_ISDIR(st.st_mode)) {
    return bad(path + ": not a directory");
  }
  TRY(check_owner(path, st));
  if ((st.st_mode & 07U) != 0) {
    return bad(str_cat({path, ": mode ", octal(st.st_mode), " is open to everybody; chmod o-rwx"}));
  }
  return Status::ok();
}

}  // namespace bsmtp::os

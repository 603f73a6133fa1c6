// bsmtpctl is started by root but leaves no root-owned file behind: before it touches a spool or
// a key home it becomes that directory's owner, for good or in a child for one step.
// Callers that are not root stay who they are. Threads: single-threaded programs only (fork).
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>

#include "common/base/status.h"
#include "common/config/config.h"

namespace bsmtp::mda::ctl {

// bsmtpctl's umask keeps spool files from others; configuration, the exported map
// and public keys are read by others.
class PublicFiles {
 public:
  PublicFiles() : old_(::umask(022)) {}
  PublicFiles(const PublicFiles&) = delete;
  PublicFiles& operator=(const PublicFiles&) = delete;
  ~PublicFiles() { ::umask(old_); }

 private:
  mode_t old_;
};

// Asked before anything is made at `path`: temporary 4.3.5 when root would make it as root because
// root owns the place, or its nearest existing parent, though the spool or a key home belongs to
// another user. Ok where all of them are root's (tests, one-user sites), and for other callers.
Status refuse_among_others(const config::Config& config, const std::string& path);

// Makes the verify home, when it is not there, for the owner of the spool, who reads it, and not
// for the owner of its parent. Temporary 4.3.5 when the caller is neither he nor root.
Status make_verify_home(const config::Config& config);

// Becomes the owner of `path` for good (of its nearest existing parent when it is not there).
// Ok at once when the caller is not root or root owns it. Temporary 4.3.0 otherwise.
Status become_owner_of(const std::string& path);

// Runs `step` in a child that became the owner of `path`; its text or Status comes back. At most
// 1 MiB of text. In-process when nothing is to be changed.
Result<std::string> as_owner_of(const std::string& path,
                                const std::function<Result<std::string>()>& step);

// The same for a step that brings nothing back.
Status step_as_owner_of(const std::string& path, const std::function<Status()>& step);

}  // namespace bsmtp::mda::ctl

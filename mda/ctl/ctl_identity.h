// bsmtpctl is started by root but leaves no root-owned file behind: before it touches a spool or
// a key home it becomes that directory's owner, for good or in a child for one step.
// Callers that are not root stay who they are. Threads: single-threaded programs only (fork).
#pragma once

#include <functional>
#include <string>

#include "common/base/status.h"

namespace bsmtp::mda::ctl {

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

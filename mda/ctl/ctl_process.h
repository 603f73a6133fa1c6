// Runs a program by its argument vector, never through a shell, with a clean environment.
#pragma once

#include <string>
#include <vector>

#include "common/base/status.h"

namespace bsmtp::mda::ctl {

struct ProcessOutput {
  int exit_code = 0;   // 128 + signal when it was killed
  std::string output;  // standard output, at most 64 KiB
};

// Waits for the end. Standard input is /dev/null; standard error is dropped when `quiet`, else
// it and standard output stay the caller's (then `output` is empty). Temporary when argv[0]
// cannot be started.
Result<ProcessOutput> run_program(const std::vector<std::string>& argv, bool quiet);

// First executable `name` in the directories where mail systems install theirs; "" if none.
std::string find_program(const std::string& name);

}  // namespace bsmtp::mda::ctl

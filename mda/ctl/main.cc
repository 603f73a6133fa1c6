// bsmtpctl: the admin's one tool. All of it is in ctl_commands.h and the handlers behind it.
#include <sys/stat.h>

#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "common/log/log.h"
#include "mda/ctl/ctl_commands.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pager is a failed write, not a death
  ::umask(007);
  bsmtp::log::use_stderr("bsmtpctl");
  bsmtp::log::set_level(bsmtp::log::Level::kWarn);
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  return bsmtp::mda::ctl::run(words, std::cout, std::cerr);
}

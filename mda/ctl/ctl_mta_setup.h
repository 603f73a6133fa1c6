// The commands that bring the tunnel into the host MTA and take it out again, as README,
// docs/install-postfix.md and docs/install-sendmail.md have them, with this configuration's names.
// They are printed for an admin to read and to give to a root shell; nothing is changed here.
#pragma once

#include <string>

#include "common/config/config.h"

namespace bsmtp::mda::ctl {

std::string postfix_enable_script(const config::Config& config);
std::string postfix_disable_script(const config::Config& config);
std::string sendmail_enable_script(const config::Config& config);
std::string sendmail_disable_script(const config::Config& config);

}  // namespace bsmtp::mda::ctl

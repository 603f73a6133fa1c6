// The checks of `bsmtpctl config check`: everything that would otherwise be found out by mail
// that waits. Each finding says what was looked at, what is wrong and what to do. Changes
// nothing. Steps that touch a spool or a key home run as its owner, in a child, because what
// root may read says nothing about what the programs may.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/config/config.h"

namespace bsmtp::mda::ctl {

struct Finding {
  enum class Level { kOk, kWarning, kProblem };
  Level level = Level::kOk;
  std::string about;  // "spool", "peer remote1", "timers"
  std::string text;
  std::string remedy;
};

class Findings {
 public:
  void ok(const std::string& about, const std::string& text) {
    list_.push_back({Finding::Level::kOk, about, text, ""});
  }
  void warn(const std::string& about, const std::string& text, const std::string& remedy) {
    list_.push_back({Finding::Level::kWarning, about, text, remedy});
  }
  void problem(const std::string& about, const std::string& text, const std::string& remedy) {
    list_.push_back({Finding::Level::kProblem, about, text, remedy});
  }
  std::vector<Finding> take() { return std::move(list_); }

 private:
  std::vector<Finding> list_;
};

// Value of a parameter of the host MTA's, as `postconf -h` prints it; "" when unknown.
using MtaParameter = std::function<std::string(const std::string& name)>;
// Asks postconf; always "" where there is none.
MtaParameter postfix_parameters();

// What the host MTA calls them, for messages.
struct MtaNames {
  std::string queue_lifetime = "Postfix maximal_queue_lifetime";
  std::string size_limit = "Postfix message_size_limit";
};

struct CheckScope {
  enum class Mta {
    kEither,   // all of `config check`, with the MTA that is found
    kPostfix,  // what concerns Postfix alone
    kSendmail
  };
  Mta mta = Mta::kEither;
  bool offline = false;  // asks no process: the MTA may be stopped
};
std::vector<Finding> check_everything(const std::string& config_file, const CheckScope& scope);

// Octets of the largest mail that a parcel of `plain` octets of batch becomes.
std::uint64_t wire_size(std::uint64_t plain);

// The parts, for tests.
void check_timers(const config::Config& config, const MtaParameter& mta, Findings& findings,
                  const MtaNames& names = {});
void check_sizes(const config::Config& config, const MtaParameter& mta, Findings& findings,
                 const MtaNames& names = {});
void check_socket(const config::Config& config, const MtaParameter& mta, Findings& findings);
void check_keys(const config::Config& config, Findings& findings);
// Of the running kernel, for whoever parses parcels.
void check_sandbox(const config::Config& config, Findings& findings);
void check_spool(const config::Config& config, Findings& findings);
// `flavour`: "--postfix" or "--sendmail", for the remedy.
void check_rules(const config::Config& config, Findings& findings,
                 const std::string& flavour = "--postfix");

}  // namespace bsmtp::mda::ctl

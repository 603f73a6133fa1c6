// The command table of bsmtpctl. Every command is one row: a grammar string, which is at once
// the parser's rule, the usage line and the source of shell completion and of the man-page
// check; a help line; whose identity it takes on; and its handler.
// Grammar, after the command's words: NAME (needed), [NAME] (may be left out), NAME... (one or
// more), --name VALUE (needed), [--name VALUE], [--name] (a flag). Every command takes --json.
// Exit codes: 0 done or yes, 1 problems found or no, 2 usage, 75 trouble (try again after
// mending what the message names).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/config.h"

namespace bsmtp::mda::ctl {

inline constexpr int kExitOk = 0;
inline constexpr int kExitProblem = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitTrouble = 75;

// The words after the command's name, checked against its grammar.
class Arguments {
 public:
  bool has(std::string_view option) const { return options_.count(std::string(option)) != 0; }
  // Value of `--option`, or `fallback`.
  std::string value(std::string_view option, std::string_view fallback = "") const;
  // All values of an option given more than once.
  std::vector<std::string> values(std::string_view option) const;
  // Words that are no options, in order.
  const std::vector<std::string>& words() const { return words_; }
  // The n-th such word, or "".
  std::string word(std::size_t n) const { return n < words_.size() ? words_[n] : ""; }

 private:
  friend class Grammar;
  std::map<std::string, std::vector<std::string>, std::less<>> options_;
  std::vector<std::string> words_;
};

// What a handler works with. `config` is loaded and not null except for commands whose row says
// that they load it themselves (config check, rules on a named file).
struct Context {
  std::string config_file;  // as --config gave it, "" = default
  std::shared_ptr<const config::Config> config;
  bool json = false;
  std::ostream& out;
  std::ostream& err;
  const Clock& clock;
};

// Returns the exit code; a failed Status is printed to stderr and becomes 75 (temporary) or 1
// (permanent).
using Handler = Result<int> (*)(Context& context, const Arguments& arguments);

// As whom a command runs when root calls it, so that it leaves no root-owned file behind.
enum class RunAs {
  kCaller,      // only reads public files
  kSpoolOwner,  // owner of spool-directory
  kSignOwner,   // owner of openpgp-directory/sign
  kVerifyOwner  // owner of openpgp-directory/verify
};

enum class NeedsConfig { kYes, kNo };

struct Command {
  std::string_view name;     // "queue list"
  std::string_view grammar;  // "[--peer NAME]"
  std::string_view help;     // one line
  RunAs run_as;
  NeedsConfig needs_config;
  Handler handler;
};

std::span<const Command> commands();

// One grammar string, parsed.
class Grammar {
 public:
  explicit Grammar(std::string_view text);
  // Permanent 5.5.4 whose text says what is wrong with the words.
  Result<Arguments> parse(const std::vector<std::string>& words) const;
  // "--peer", "--json" …, with " VALUE" when it takes one.
  std::vector<std::string> options() const;

 private:
  struct Option {
    std::string value_name;  // "" = flag
    bool needed = false;
  };
  struct Word {
    std::string name;
    bool needed = true;
    bool repeats = false;
  };
  Status take_option(const std::vector<std::string>& words, std::size_t& i,
                     Arguments& result) const;
  Status check_complete(const Arguments& result) const;

  std::map<std::string, Option, std::less<>> options_;
  std::vector<Word> words_;
};

// The row whose words begin `words`, longest first; nullptr when none does.
const Command* find_command(const std::vector<std::string>& words);

// All of bsmtpctl: argv without the program name. Never throws.
int run(const std::vector<std::string>& argv, std::ostream& out, std::ostream& err);

}  // namespace bsmtp::mda::ctl

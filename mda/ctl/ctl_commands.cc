#include "mda/ctl/ctl_commands.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"
#include "common/base/version.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_identity.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr auto kCommands = std::to_array<Command>({
    {"config check", "[--offline]",
     "Examine configuration, keys, spool and MTA limits; say what to change", RunAs::kCaller,
     NeedsConfig::kNo, config_check},
    {"config describe", "", "Print every key with its meaning and default", RunAs::kCaller,
     NeedsConfig::kNo, config_describe},
    {"config show", "", "Print every value in force", RunAs::kCaller, NeedsConfig::kYes,
     config_show},

    {"key generate",
     "[--algorithm NAME] [--user-id TEXT] [--valid-for TIME] [--passphrase-file FILE]",
     "Make this gateway's signing key and print its fingerprint", RunAs::kSignOwner,
     NeedsConfig::kYes, key_generate},
    {"key list", "", "List own keys and the keys of the peers", RunAs::kCaller, NeedsConfig::kYes,
     key_list},
    {"key export", "[--peer NAME] [--output FILE]",
     "Write the public key: ours, or one that is pinned for a peer", RunAs::kCaller,
     NeedsConfig::kYes, key_export},
    {"key fingerprint", "[--peer NAME]", "Print a fingerprint as it is read out by telephone",
     RunAs::kCaller, NeedsConfig::kYes, key_fingerprint},
    {"key import", "FILE --peer NAME [--fingerprint HEX]",
     "Show a peer's key; take it when the fingerprint heard by telephone is given", RunAs::kCaller,
     NeedsConfig::kYes, key_import},

    {"peer list", "", "List the configured peers", RunAs::kCaller, NeedsConfig::kYes, peer_list},
    {"peer add",
     "NAME --host HOST --recipient-domains LIST [--sender-domains LIST] [--profile NAME] "
     "[--user NAME]",
     "Write peers.d/NAME.conf and make the peer's spool directories", RunAs::kCaller,
     NeedsConfig::kYes, peer_add},
    {"peer bypass", "NAME [--queued] [--unacknowledged] [--dry-run]",
     "Hand a peer's waiting mail to the host MTA, which sends it on without the tunnel",
     RunAs::kSpoolOwner, NeedsConfig::kYes, peer_bypass},

    {"spool create", "", "Make the spool directories that are missing", RunAs::kSpoolOwner,
     NeedsConfig::kYes, spool_create},
    {"queue list", "[--peer NAME]", "Messages that wait to be put into a parcel",
     RunAs::kSpoolOwner, NeedsConfig::kYes, queue_list},
    {"queue show", "ID [--text]", "One waiting message: its envelope, with --text all of it",
     RunAs::kSpoolOwner, NeedsConfig::kYes, queue_show},
    {"queue flush", "[--peer NAME]", "Build and submit parcels of what waits, now", RunAs::kCaller,
     NeedsConfig::kYes, queue_flush},

    {"parcel list", "[--peer NAME]", "Parcels on their way out, and accepted ones being delivered",
     RunAs::kSpoolOwner, NeedsConfig::kYes, parcel_list},
    {"parcel show", "ID", "One parcel of the spool: state and messages", RunAs::kSpoolOwner,
     NeedsConfig::kYes, parcel_show},
    {"parcel resend", "ID", "Hand a parcel of the spool to the host MTA again, now",
     RunAs::kSpoolOwner, NeedsConfig::kYes, parcel_resend},
    {"parcel release", "ID", "A sent parcel has arrived: forget it, tell nobody",
     RunAs::kSpoolOwner, NeedsConfig::kYes, parcel_release},
    {"parcel fail", "ID", "Give a parcel up and tell the senders of its messages",
     RunAs::kSpoolOwner, NeedsConfig::kYes, parcel_fail},
    {"parcel inspect", "FILE", "Describe a parcel file layer by layer, believing none of it",
     RunAs::kCaller, NeedsConfig::kNo, parcel_inspect},
    {"parcel verify", "FILE [--peer NAME]", "Say whether bsmtp-in would accept this parcel file",
     RunAs::kCaller, NeedsConfig::kYes, parcel_verify},
    {"parcel extract", "FILE --to DIR [--peer NAME]",
     "Verify a parcel file and write its messages to a directory, without delivering",
     RunAs::kCaller, NeedsConfig::kYes, parcel_extract},

    {"quarantine list", "", "Parcels that were not trusted", RunAs::kSpoolOwner, NeedsConfig::kYes,
     quarantine_list},
    {"quarantine show", "ID", "One of them: why, from where, and its layers", RunAs::kSpoolOwner,
     NeedsConfig::kYes, quarantine_show},
    {"quarantine release", "ID", "Verify it anew and accept it if it is trusted now",
     RunAs::kSpoolOwner, NeedsConfig::kYes, quarantine_release},
    {"quarantine drop", "ID...", "Remove it for good", RunAs::kSpoolOwner, NeedsConfig::kYes,
     quarantine_drop},

    {"clock accept", "", "Say that a clock the dispatcher doubts is right", RunAs::kSpoolOwner,
     NeedsConfig::kYes, clock_accept},
    {"status", "[--check]", "Queues, parcels and the dispatcher's health on one page",
     RunAs::kSpoolOwner, NeedsConfig::kYes, status_show},

    {"rules test", "ADDRESS [--from CHANNEL] [--header] [--backward] [--never]",
     "Show what the rewrite rules do with an address, probe by probe", RunAs::kCaller,
     NeedsConfig::kYes, rules_test_command},
    {"rules export",
     "[--postfix] [--sendmail] [--regexp] [--write] [--output FILE] [--transport NAME] [--nexthop "
     "HOP]",
     "Write the static map that routes tunneled domains without the milter", RunAs::kCaller,
     NeedsConfig::kYes, rules_export_command},

    {"postfix check", "[--offline]", "Of config check what concerns Postfix", RunAs::kCaller,
     NeedsConfig::kNo, postfix_check},
    {"postfix enable", "", "Print the commands that make this Postfix a gateway", RunAs::kCaller,
     NeedsConfig::kYes, postfix_enable},
    {"postfix disable", "", "Print the commands that take the tunnel out again", RunAs::kCaller,
     NeedsConfig::kYes, postfix_disable},
    {"sendmail check", "[--offline]", "Of config check what concerns sendmail", RunAs::kCaller,
     NeedsConfig::kNo, sendmail_check},
    {"sendmail enable", "", "Print the commands that make this sendmail a gateway", RunAs::kCaller,
     NeedsConfig::kYes, sendmail_enable},
    {"sendmail disable", "", "Print the commands that take the tunnel out again", RunAs::kCaller,
     NeedsConfig::kYes, sendmail_disable},
    {"sendmail dn", "FILE",
     "Print what sendmail's access map calls a certificate's subject and issuer", RunAs::kCaller,
     NeedsConfig::kNo, sendmail_dn},

    {"completion", "", "Print the completion script for bash", RunAs::kCaller, NeedsConfig::kNo,
     completion},
});

void print_usage(std::ostream& out, std::string_view prefix) {
  out << "usage: bsmtpctl [--config FILE] COMMAND [--json]\n\n";
  std::size_t width = 0;
  for (const Command& command : kCommands) {
    width = std::max(width, command.name.size());
  }
  for (const Command& command : kCommands) {
    if (command.name.substr(0, prefix.size()) == prefix) {
      out << "  " << command.name << std::string(width - command.name.size() + 2, ' ')
          << command.help << "\n";
    }
  }
  out << "\nbsmtpctl COMMAND --help shows its arguments; bsmtpctl(8) explains them.\n"
         "Exit codes: 0 done or yes, 1 problems or no, 2 usage, 75 trouble.\n";
}

void print_help(std::ostream& out, const Command& command) {
  out << "usage: bsmtpctl [--config FILE] " << command.name << (command.grammar.empty() ? "" : " ")
      << command.grammar << " [--json]\n\n"
      << command.help << ".\n";
}

// Options that stand before or behind the command and belong to none.
struct Global {
  std::string config_file;
  bool help = false;
  bool version = false;
  bool json = false;
  std::vector<std::string> words;
};

Result<Global> split_global(const std::vector<std::string>& argv) {
  Global global;
  constexpr std::string_view kConfig = "--config";
  bool only_words = false;
  for (std::size_t i = 0; i < argv.size(); ++i) {
    const std::string& word = argv[i];
    if (only_words) {
      global.words.push_back(word);
    } else if (word == "--") {
      only_words = true;
      global.words.push_back(word);
    } else if (word == kConfig) {
      if (++i == argv.size()) {
        return Status::permanent("5.5.4", "--config needs a file");
      }
      global.config_file = argv[i];
    } else if (word.rfind("--config=", 0) == 0) {
      global.config_file = word.substr(kConfig.size() + 1);
    } else if (word == "--help" || word == "-h") {
      global.help = true;
    } else if (word == "--version") {
      global.version = true;
    } else {
      global.json = global.json || word == "--json";
      global.words.push_back(word);
    }
  }
  // A leading --json belongs to no command's words yet.
  while (!global.words.empty() && global.words.front() == "--json") {
    global.words.erase(global.words.begin());
  }
  return global;
}

Status become(const Command& command, const config::Config& config) {
  switch (command.run_as) {
    case RunAs::kCaller:
      return Status::ok();
    case RunAs::kSpoolOwner:
      TRY(refuse_among_others(config, config.spool_directory));
      return become_owner_of(config.spool_directory);
    case RunAs::kSignOwner:
      TRY(refuse_among_others(config, config.sign_home()));
      return become_owner_of(config.sign_home());
    case RunAs::kVerifyOwner:
      return become_owner_of(config.verify_home());
  }
  return Status::ok();
}

int fail(Context& context, const Status& status) {
  context.err << "bsmtpctl: " << printable(status.text(), 2000) << "\n";
  return status.is_temporary() ? kExitTrouble : kExitProblem;
}

int run_command(const Command& command, const Global& global, Context& context) {
  const std::size_t parts = split_blank(command.name).size();
  const std::vector<std::string> rest(global.words.begin() + static_cast<std::ptrdiff_t>(parts),
                                      global.words.end());
  const auto arguments = Grammar(command.grammar).parse(rest);
  if (!arguments.is_ok()) {
    context.err << "bsmtpctl " << command.name << ": " << arguments.status().text() << "\n";
    print_help(context.err, command);
    return kExitUsage;
  }
  context.json = context.json || arguments->has("json");
  if (command.needs_config == NeedsConfig::kYes) {
    auto loaded = config::load(global.config_file);
    if (!loaded.is_ok()) {
      return fail(context, loaded.status());
    }
    context.config = std::make_shared<const config::Config>(std::move(*loaded));
    if (const Status became = become(command, *context.config); !became.is_ok()) {
      return fail(context, became);
    }
  }
  const auto code = command.handler(context, *arguments);
  return code.is_ok() ? *code : fail(context, code.status());
}

int run_checked(const std::vector<std::string>& argv, std::ostream& out, std::ostream& err) {
  auto global = split_global(argv);
  if (!global.is_ok()) {
    err << "bsmtpctl: " << global.status().text() << "\n";
    return kExitUsage;
  }
  if (global->version) {
    out << "bsmtpctl " << kVersion << "\n";
    return kExitOk;
  }
  const Command* command = find_command(global->words);
  if (global->help || global->words.empty()) {
    std::ostream& to = global->help ? out : err;
    if (command != nullptr) {
      print_help(to, *command);
    } else {
      print_usage(to, global->words.empty() ? "" : global->words.front());
    }
    return global->help ? kExitOk : kExitUsage;
  }
  if (command == nullptr) {
    const std::string& first = global->words.front();
    const bool group = std::any_of(kCommands.begin(), kCommands.end(), [&](const Command& c) {
      return split_blank(c.name).front() == first;
    });
    err << "bsmtpctl: unknown command: " << printable(join(global->words, " "), 200) << "\n";
    print_usage(err, group ? first : "");
    return kExitUsage;
  }
  Context context{global->config_file, nullptr, global->json, out, err, system_clock()};
  return run_command(*command, *global, context);
}

}  // namespace

std::span<const Command> commands() {
  return kCommands;
}

int run(const std::vector<std::string>& argv, std::ostream& out, std::ostream& err) {
  try {
    const int code = run_checked(argv, out, err);
    out.flush();
    if (!out.good()) {
      err << "bsmtpctl: cannot write the output\n";
      return kExitTrouble;
    }
    return code;
  } catch (const std::exception& e) {
    err << "bsmtpctl: " << printable(e.what(), 200) << "\n";
    return kExitTrouble;
  }
}

Result<int> completion(Context& context, const Arguments& /*arguments*/) {
  std::map<std::string, std::vector<std::string>> second;
  context.out << "# Completion of bsmtpctl for bash; printed by `bsmtpctl completion`.\n"
                 "_bsmtpctl() {\n"
                 "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words\n"
                 "  local command=\"${COMP_WORDS[1]} ${COMP_WORDS[2]}\"\n"
                 "  case $prev in\n"
                 "    --config|--output|--passphrase-file) "
                 "mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n"
                 "  esac\n"
                 "  if ((COMP_CWORD == 1)); then\n    words='";
  std::string firsts;
  for (const Command& command : kCommands) {
    const auto parts = split_blank(command.name);
    auto& list = second[std::string(parts.front())];
    if (list.empty()) {
      firsts += (firsts.empty() ? "" : " ") + std::string(parts.front());
    }
    list.emplace_back(parts.size() > 1 ? parts[1] : "");
  }
  context.out << firsts << "'\n  elif ((COMP_CWORD == 2)); then\n    case ${COMP_WORDS[1]} in\n";
  for (const auto& [first, list] : second) {
    if (!list.front().empty()) {
      context.out << "      " << first << ") words='" << join(list, " ") << "' ;;\n";
    }
  }
  context.out << "    esac\n  else\n    case $command in\n";
  for (const Command& command : kCommands) {
    std::string options;
    for (const std::string& option : Grammar(command.grammar).options()) {
      options += (options.empty() ? "" : " ") + option.substr(0, option.find(' '));
    }
    const bool single = command.name.find(' ') == std::string_view::npos;
    context.out << "      '" << command.name << (single ? " '*" : "'") << ") words='" << options
                << "' ;;\n";
  }
  context.out << "    esac\n  fi\n"
                 "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                 "  [[ ${#COMPREPLY[@]} -gt 0 ]] || "
                 "mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                 "}\n"
                 "complete -F _bsmtpctl bsmtpctl\n";
  return kExitOk;
}

}  // namespace bsmtp::mda::ctl

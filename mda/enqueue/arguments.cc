#include "mda/enqueue/arguments.h"

#include <array>
#include <boost/program_options/value_semantic.hpp>
#include <utility>
#include <vector>

#include "common/base/text.h"
#include "common/config/options.h"

namespace bsmtp::mda {
namespace {

namespace po = boost::program_options;

constexpr const char* kProgram = "bsmtp-out";

struct MailOption {
  std::string_view name;
  std::string EnqueueRequest::*field;
};

constexpr std::array kMailOptions{MailOption{"--peer", &EnqueueRequest::peer},
                                  MailOption{"--queue-id", &EnqueueRequest::queue_id},
                                  MailOption{"--envid", &EnqueueRequest::envid},
                                  MailOption{"--ret", &EnqueueRequest::ret},
                                  MailOption{"--sender", &EnqueueRequest::sender}};

Status usage(const std::string& text) {
  return Status::temporary("4.3.5", str_cat({kProgram, ": ", text, "; see ", kProgram, " --help"}));
}

// Moves mail options and everything after "--" into the request; the rest stays for the parser.
Status take_mail_values(const std::vector<std::string>& args, EnqueueRequest& request,
                        std::vector<std::string>& rest, bool& has_sender) {
  std::size_t i = 0;
  for (; i < args.size() && args[i] != "--"; ++i) {
    const std::string& arg = args[i];
    const MailOption* match = nullptr;
    for (const auto& option : kMailOptions) {
      if (arg == option.name || arg.starts_with(str_cat({option.name, "="}))) {
        match = &option;
      }
    }
    if (match == nullptr) {
      rest.push_back(arg);
      continue;
    }
    if (arg == match->name) {
      if (++i == args.size()) {
        return usage(arg + " needs a value");
      }
      request.*match->field = args[i];
    } else {
      request.*match->field = arg.substr(match->name.size() + 1);
    }
    has_sender = has_sender || match->name == "--sender";
  }
  if (i < args.size()) {
    request.recipients.assign(args.begin() + static_cast<std::ptrdiff_t>(i) + 1, args.end());
  }
  return Status::ok();
}

// What the session itself says must not stand on the command line too.
Status require_bare_session(const EnqueueRequest& request, bool has_envelope) {
  const bool bare = !has_envelope && request.queue_id.empty() && request.envid.empty() &&
                    request.ret.empty() && request.recipients.empty();
  return bare ? Status::ok() : usage("--lmtp takes no option beside it but --peer and --config");
}

po::options_description own_options() {
  po::options_description own("Message");
  own.add_options()("peer", po::value<std::string>()->value_name("P"),
                    "peer's name or pseudo-domain (the MTA's nexthop)")(
      "queue-id", po::value<std::string>()->value_name("Q"), "the MTA's queue id, for the log")(
      "envid", po::value<std::string>()->value_name("X"), "DSN envelope id (RFC 3461)")(
      "ret", po::value<std::string>()->value_name("X"), "FULL or HDRS (RFC 3461)")(
      "sender", po::value<std::string>()->value_name("PATH"),
      "reverse-path; empty for the null sender")("lmtp", "speak LMTP on stdin and stdout")(
      "recipient", po::value<std::vector<std::string>>()->value_name("ADDRESS"),
      "diverted (user%domain@peer.bsmtp.invalid) or plain; better given after \"--\"");
  return own;
}

}  // namespace

Result<EnqueueArguments> parse_arguments(int argc, const char* const* argv) {
  EnqueueArguments out;
  std::vector<std::string> rest;
  bool has_sender = false;
  TRY(take_mail_values(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc),
                       out.request, rest, has_sender));
  std::vector<const char*> rest_argv{kProgram};
  for (const auto& arg : rest) {
    rest_argv.push_back(arg.c_str());
  }
  TRY_ASSIGN(const config::CommandLine line,
             config::parse_command_line(static_cast<int>(rest_argv.size()), rest_argv.data(),
                                        kProgram, "queues one message for a tunnel peer",
                                        own_options(), "recipient"));
  out.done = line.done;
  out.config_file = line.config_file;
  if (line.done) {
    return out;
  }
  out.lmtp = line.values.count("lmtp") != 0;
  if (out.lmtp) {
    TRY(require_bare_session(out.request, has_sender || line.values.count("recipient") != 0));
    return out;
  }
  if (line.values.count("recipient") != 0) {
    const auto& before = line.values["recipient"].as<std::vector<std::string>>();
    out.request.recipients.insert(out.request.recipients.begin(), before.begin(), before.end());
  }
  if (!has_sender) {
    return usage("--sender is missing (give an empty value for the null sender)");
  }
  if (out.request.recipients.empty()) {
    return usage("no recipient given");
  }
  return out;
}

}  // namespace bsmtp::mda

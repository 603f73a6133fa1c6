// bsmtpctl rules test|export: from the command's words to ctl_rules.h.
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_rules.h"

namespace bsmtp::mda::ctl {

Result<int> rules_test_command(Context& context, const Arguments& arguments) {
  RulesTestOptions options;
  options.address = arguments.word(0);
  options.from = arguments.value("from", options.from);
  options.header = arguments.has("header");
  options.backward = arguments.has("backward");
  options.notify_never = arguments.has("never");
  options.json = context.json;
  TRY(rules_test(*context.config, options, context.out));
  return kExitOk;
}

Result<int> rules_export_command(Context& context, const Arguments& arguments) {
  RulesExportOptions options;
  options.sendmail = arguments.has("sendmail");
  if (options.sendmail && arguments.has("postfix")) {
    return Status::permanent("5.5.4", "give --postfix or --sendmail, not both");
  }
  options.regexp = arguments.has("regexp");
  options.write = arguments.has("write");
  options.output = arguments.value("output");
  options.transport = arguments.value("transport");
  options.nexthop = arguments.value("nexthop");
  options.json = context.json;
  TRY(rules_export(*context.config, options, context.out));
  return kExitOk;
}

}  // namespace bsmtp::mda::ctl

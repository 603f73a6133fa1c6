// bsmtpctl config describe|show, and the frame of config check, postfix check and sendmail check;
// the checks are in ctl_check.cc.
#include <algorithm>

#include "common/base/text.h"
#include "common/config/schema.h"
#include "mda/ctl/ctl_check.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_output.h"

namespace bsmtp::mda::ctl {
namespace {

std::string_view word(Finding::Level level) {
  switch (level) {
    case Finding::Level::kOk:
      return "ok";
    case Finding::Level::kWarning:
      return "warning";
    case Finding::Level::kProblem:
      return "problem";
  }
  return "?";
}

template <typename T>
void keys_json(Json& json, std::span<const config::Key<T>> keys, const T& defaults) {
  json.array();
  for (const auto& key : keys) {
    json.object()
        .field("key", key.name)
        .field("kind", config::kind_name(key.kind))
        .field("default", config::get_value(key, defaults))
        .flag("required", key.required)
        .field("help", key.help)
        .end();
  }
  json.end();
}

}  // namespace

Result<int> config_describe(Context& context, const Arguments& /*arguments*/) {
  if (!context.json) {
    context.out << config::describe();
    return kExitOk;
  }
  Json json;
  json.object().key("global");
  keys_json(json, config::global_keys(), config::Config());
  json.key("peer");
  keys_json(json, config::peer_keys(), config::Peer());
  context.out << json.end().text();
  return kExitOk;
}

Result<int> config_show(Context& context, const Arguments& /*arguments*/) {
  context.out << (context.json ? config::show_json(*context.config)
                               : config::show(*context.config));
  return kExitOk;
}

namespace {

Result<int> report(Context& context, const std::vector<Finding>& findings) {
  const auto count = [&](Finding::Level level) {
    return static_cast<std::uint64_t>(std::count_if(
        findings.begin(), findings.end(), [&](const Finding& f) { return f.level == level; }));
  };
  const std::uint64_t problems = count(Finding::Level::kProblem);
  const std::uint64_t warnings = count(Finding::Level::kWarning);
  if (context.json) {
    Json json;
    json.object().flag("ok", problems == 0).key("findings").array();
    for (const Finding& f : findings) {
      json.object()
          .field("level", word(f.level))
          .field("about", f.about)
          .field("text", f.text)
          .field("remedy", f.remedy)
          .end();
    }
    context.out << json.end().end().text();
  } else {
    for (const Finding& f : findings) {
      context.out << word(f.level) << std::string(9 - word(f.level).size(), ' ') << f.about << ": "
                  << printable(f.text, 600) << "\n";
      if (f.level != Finding::Level::kOk && !f.remedy.empty()) {
        context.out << std::string(9, ' ') << "-> " << printable(f.remedy, 600) << "\n";
      }
    }
    context.out << "\n" << problems << " problems, " << warnings << " warnings\n";
  }
  return problems == 0 ? kExitOk : kExitProblem;
}

Result<int> check(Context& context, const Arguments& arguments, CheckScope::Mta mta) {
  return report(context, check_everything(context.config_file, {mta, arguments.has("offline")}));
}

}  // namespace

Result<int> config_check(Context& context, const Arguments& arguments) {
  return check(context, arguments, CheckScope::Mta::kEither);
}

Result<int> postfix_check(Context& context, const Arguments& arguments) {
  return check(context, arguments, CheckScope::Mta::kPostfix);
}

Result<int> sendmail_check(Context& context, const Arguments& arguments) {
  return check(context, arguments, CheckScope::Mta::kSendmail);
}

}  // namespace bsmtp::mda::ctl

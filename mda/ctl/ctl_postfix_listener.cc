// See ctl_postfix.h: the smtpd service that takes unpacked mail.
#include <string>
#include <vector>

#include "common/base/text.h"
#include "common/base/units.h"
#include "mda/ctl/ctl_postfix.h"

namespace bsmtp::mda::ctl {
namespace {

// A batch may hold this many refused recipients before a limit counts as harmless.
constexpr std::uint64_t kManyErrors = 1000;

struct Limit {
  std::string name;
  std::string effect;
  bool rate;               // spared by smtpd_client_event_limit_exceptions
  std::uint64_t harmless;  // this value and all above, and 0 where that means "none"
  std::string better;
};

const std::vector<Limit>& limits() {
  constexpr std::uint64_t kNever = ~std::uint64_t{0};
  static const std::vector<Limit> kLimits = {
      {"smtpd_soft_error_limit", "after so many refused recipients each reply is held back", false,
       kManyErrors, "100000"},
      {"smtpd_hard_error_limit", "after so many refused recipients the session ends", false,
       kManyErrors, "100000"},
      {"smtpd_junk_command_limit", "after so many RSET or NOOP the session ends", false,
       kManyErrors, "100000"},
      {"smtpd_client_message_rate_limit", "more messages a minute are refused", true, kNever, "0"},
      {"smtpd_client_recipient_rate_limit", "more recipients a minute are refused", true, kNever,
       "0"},
      {"smtpd_client_connection_rate_limit", "more connections a minute are refused", true, kNever,
       "0"},
  };
  return kLimits;
}

bool spares_loopback(std::string_view exceptions) {
  return exceptions.find("127.0.0.") != std::string_view::npos ||
         exceptions.find("[::1]") != std::string_view::npos ||
         exceptions.find("static:all") != std::string_view::npos;
}

}  // namespace

bool is_resubmission(const config::Config& config, const PostfixService& service) {
  constexpr std::string_view kScheme = "smtp://";
  return config.resubmit.size() > kScheme.size() &&
         service.name == config.resubmit.substr(kScheme.size()) + "/inet";
}

const std::string* own_value(const PostfixService& service, const std::string& name) {
  const auto found = service.own.find(name);
  return found == service.own.end() ? nullptr : &found->second;
}

std::string value_in_force(const PostfixSite& site, const PostfixService& service,
                           const std::string& name) {
  const std::string* value = own_value(service, name);
  return value != nullptr ? *value : site.parameter(name);
}

void check_resubmission(const PostfixSite& site, const PostfixService& service,
                        Findings& findings) {
  const bool spared =
      spares_loopback(value_in_force(site, service, "smtpd_client_event_limit_exceptions"));
  std::uint64_t bad = 0;
  for (const Limit& limit : limits()) {
    const std::string value = value_in_force(site, service, limit.name);
    const auto number = parse_u64(value);
    if (!number || *number >= limit.harmless || (limit.rate && (*number == 0 || spared))) {
      continue;
    }
    ++bad;
    findings.warn(
        "postfix",
        str_cat({"service ", service.name, ", which takes unpacked mail, has ", limit.name, " = ",
                 value, ": ", limit.effect, ", which punishes a batch for what strangers do"}),
        str_cat({"run `postconf -P '", service.name, "/", limit.name, "=", limit.better,
                 "'` and reload Postfix"}));
  }
  if (!value_in_force(site, service, "mynetworks").empty()) {
    ++bad;
    findings.warn("postfix",
                  str_cat({"service ", service.name,
                           ", which takes unpacked mail, has a mynetworks: what that "
                           "permits is permitted to the tunnel's mail"}),
                  str_cat({"run `postconf -P '", service.name,
                           "/mynetworks='` and reload "
                           "Postfix"}));
  }
  if (bad == 0) {
    findings.ok("postfix", str_cat({"service ", service.name,
                                    ": no limit punishes a batch, nothing is permitted for being "
                                    "local"}));
  }
}

}  // namespace bsmtp::mda::ctl

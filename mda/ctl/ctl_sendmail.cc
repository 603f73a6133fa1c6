#include "mda/ctl/ctl_sendmail.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/os/file_ops.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::size_t kMaxCf = 16U << 20U;
constexpr std::string_view kMapLine = "Kbsmtp ";
constexpr std::string_view kRulesLine = "Kbsmtp_rules ";
constexpr std::string_view kAccessLine = "Kaccess ";

// Value of "O NAME=VALUE"; "" when the line is another.
std::string_view option_of(std::string_view line, std::string_view name) {
  if (!line.starts_with("O ")) {
    return {};
  }
  line = trim(line.substr(2));
  const std::size_t equal = line.find('=');
  if (equal == std::string_view::npos || !iequals(trim(line.substr(0, equal)), name)) {
    return {};
  }
  return trim(line.substr(equal + 1));
}

// "Xbsmtp, S=unix:/run/bsmtp/milter.sock, F=T, ..." -> the socket
std::string_view socket_of(std::string_view line) {
  if (!line.starts_with('X')) {
    return {};
  }
  for (const std::string_view field : split(line, ',')) {
    const std::string_view word = trim(field);
    if (word.starts_with("S=")) {
      return trim(word.substr(2));
    }
  }
  return {};
}

// "R< hub.domain.com > < ? > bsmtp < @ $+ > $*  $#bsmtp-in ...", the feature's line for parcels.
// The host may be $j, which only a plain Dj line tells.
void take_parcel_address(std::string_view line, SendmailSite& site) {
  constexpr std::size_t kHost = 1;
  constexpr std::size_t kUser = 6;
  const auto words = split_blank(line);
  if (site.user.empty() && words.size() > kUser && words[0] == "R<" &&
      line.find("$#bsmtp-in ") != std::string_view::npos) {
    site.host = std::string(words[kHost]);
    site.user = std::string(words[kUser]);
  }
}

void check_parcel_address(const config::Config& config, const SendmailSite& site,
                          Findings& findings) {
  const bool host = site.host.empty() || iequals(site.host, config.host);
  if (site.user.empty() || (host && iequals(site.user, config.user))) {
    return;
  }
  findings.problem(
      "sendmail",
      str_cat({site.file, " hands mail for ", site.user, "@", site.host,
               " to bsmtp-in, but parcels and their bounces come to ", config.parcel_address()}),
      str_cat({"give FEATURE(`bsmtp') `host=", config.host, "' and `user=", config.user,
               "' and make sendmail.cf anew"}));
}

void check_filter(const config::Config& config, const SendmailSite& site, Findings& findings) {
  const bool known = std::any_of(site.filters.begin(), site.filters.end(), [&](const auto& socket) {
    return plain_socket(socket) == plain_socket(config.milter_socket);
  });
  if (!known) {
    findings.problem(
        "sendmail",
        str_cat({site.file, " has no milter at milter-socket = ", config.milter_socket,
                 ": mail is refused for now, or passes beside our milter"}),
        "give FEATURE(`bsmtp') `socket=" + config.milter_socket + "' and make sendmail.cf anew");
    return;
  }
  if (config.milter_socket.starts_with("unix:") && (config.milter_socket_mode & 022U) != 0) {
    findings.problem("sendmail",
                     "milter-socket-mode lets others than the owner write to the socket; sendmail "
                     "refuses such a milter",
                     "set milter-socket-mode = 0600 and restart bsmtp-milter");
    return;
  }
  findings.ok("sendmail", site.file + " has the milter at " + config.milter_socket);
}

void check_map(const config::Config& config, const SendmailSite& site, Findings& findings) {
  const std::string file = site.map + ".db";
  const std::string remedy = "run `makemap hash " + site.map + " <" + config.export_map + "`";
  const auto made = os::real_file_ops().stat(file);
  if (!made.is_ok()) {
    findings.problem("sendmail-map",
                     made.status().text() + ": sendmail keeps all but local mail until it is there",
                     remedy);
    return;
  }
  const auto exported = os::real_file_ops().stat(config.export_map);
  if (exported.is_ok() && exported->modified > made->modified) {
    findings.problem("sendmail-map",
                     str_cat({file, " is older than ", config.export_map,
                              ": mail from aliases and forwards follows the old rules"}),
                     remedy);
    return;
  }
  findings.ok("sendmail-map", file);
}

}  // namespace

std::string plain_socket(std::string_view socket) {
  return socket.starts_with("local:") ? "unix:" + std::string(socket.substr(6))
                                      : std::string(socket);
}

std::optional<SendmailSite> parse_sendmail_cf(std::string_view text, const std::string& file) {
  SendmailSite site{file, "", "", "", "", "", {}, "5d", "0"};
  std::string own_name;  // $j
  for (const std::string_view line : split(text, '\n')) {
    if (line.starts_with(kMapLine)) {
      const auto words = split_blank(line);
      site.map = std::string(words.back());
    } else if (line.starts_with(kRulesLine) || line.starts_with(kAccessLine)) {
      (line.starts_with(kRulesLine) ? site.rules_socket : site.access) =
          std::string(split_blank(line).back());
    } else if (const auto socket = socket_of(line); !socket.empty()) {
      site.filters.emplace_back(socket);
    } else if (line.starts_with("Dj")) {
      own_name = std::string(trim(line.substr(2)));
    } else if (line.starts_with("R< ")) {
      take_parcel_address(line, site);
    } else if (const auto life = option_of(line, "Timeout.queuereturn"); !life.empty()) {
      site.queue_lifetime = std::string(life);
    } else if (const auto size = option_of(line, "MaxMessageSize"); !size.empty()) {
      site.size_limit = std::string(size);
    }
  }
  if (site.host == "$j") {
    site.host = own_name;
  }
  if (site.host.find('$') != std::string::npos) {
    site.host.clear();
  }
  return site.map.empty() ? std::nullopt : std::optional(site);
}

std::optional<SendmailSite> read_sendmail_cf(const std::string& file) {
  const auto text = os::read_file(os::real_file_ops(), file, kMaxCf);
  return text.is_ok() ? parse_sendmail_cf(*text, file) : std::nullopt;
}

MtaParameter sendmail_parameters(const SendmailSite& site) {
  return [site](const std::string& name) -> std::string {
    if (name == "maximal_queue_lifetime") {
      return site.queue_lifetime;
    }
    return name == "message_size_limit" ? site.size_limit : std::string();
  };
}

MtaNames sendmail_names() {
  return {"sendmail Timeout.queuereturn", "sendmail MaxMessageSize"};
}

void check_sendmail(const config::Config& config, const SendmailSite& site, Findings& findings) {
  check_parcel_address(config, site, findings);
  check_filter(config, site, findings);
  check_map(config, site, findings);
  check_access(site, findings);
}

}  // namespace bsmtp::mda::ctl

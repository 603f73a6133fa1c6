// config check's look at the socketmap: is it there, does the host MTA ask it, does it answer the
// MTA's user?
#include <algorithm>

#include "common/base/text.h"
#include "common/os/file_ops.h"
#include "common/os/identity.h"
#include "mda/ctl/ctl_check.h"
#include "mda/ctl/ctl_identity.h"
#include "mda/ctl/ctl_sendmail.h"
#include "mda/ctl/ctl_socketmap.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::string_view kSocketmapOption = "socketmap-socket";

// Asks as the owner of `mta_owned`, a directory of the MTA's, where that is possible.
void check_answer(const config::Config& config, const std::string& mta_owned, std::string_view map,
                  Findings& findings) {
  const std::string key = str_cat({config.postmaster, "@", config.host});
  const auto step = [&] { return ask_socketmap(config.socketmap_socket, map, key).status(); };
  const bool as_mta = !mta_owned.empty() && os::has_root();
  const Status asked = as_mta ? step_as_owner_of(mta_owned, step) : step();
  const std::string about(kSocketmapOption);
  if (asked.is_ok()) {
    findings.ok(about, config.socketmap_socket + " answers");
    return;
  }
  findings.problem(
      about, str_cat({"no answer at ", config.socketmap_socket, ": ", asked.text()}),
      as_mta ? "start bsmtp-milter, and let the MTA's user into the socket's directory and group: "
               "until then mail waits"
             : "start bsmtp-milter: until then mail waits");
}

// What of it stands in transport_maps: "socketmap:unix:bsmtp/map.sock:transport", relative to the
// queue directory.
bool postfix_asks(const config::Config& config, const MtaParameter& mta) {
  const std::string path = socket_path(config.socketmap_socket);
  const std::string queue = mta("queue_directory");
  std::string relative;
  if (!path.empty() && !queue.empty() && path.starts_with(queue + "/")) {
    relative = path.substr(queue.size() + 1);
  }
  const std::string maps = mta("transport_maps");
  for (const std::string_view word : split_blank(maps)) {
    std::string_view map = word.ends_with(',') ? word.substr(0, word.size() - 1) : word;
    map.remove_prefix(map.starts_with("proxy:") ? 6 : 0);
    if (!map.starts_with("socketmap:") || !map.ends_with(":transport")) {
      continue;
    }
    map.remove_prefix(10);
    map.remove_suffix(10);
    if (path.empty() || map == "unix:" + path || (!relative.empty() && map == "unix:" + relative)) {
      return true;
    }
  }
  return false;
}

void check_postfix(const config::Config& config, const MtaParameter& mta, Findings& findings) {
  const std::string about(kSocketmapOption);
  const bool named = mta("transport_maps").find("socketmap:") != std::string::npos;
  if (config.socketmap_socket.empty()) {
    if (named) {
      findings.warn(about, "transport_maps has a socketmap, but bsmtp-milter offers none",
                    "if it is ours, set socketmap-socket, or take it out: mail waits for it");
    }
    return;
  }
  if (!postfix_asks(config, mta)) {
    findings.warn(about,
                  "Postfix' transport_maps does not ask " + config.socketmap_socket +
                      ": rules that no table can express hold for the milter alone",
                  "add socketmap:unix:PATH:transport, PATH relative to the queue directory");
  }
  check_answer(config, mta("data_directory"), "transport", findings);
}

void check_directory(const std::string& socket, Findings& findings) {
  const std::string path = socket_path(socket);
  if (path.empty()) {
    return;
  }
  const std::string directory = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  const auto info = os::real_file_ops().stat(directory);
  if (info.is_ok() && (info->mode & 022U) != 0) {
    findings.problem(std::string(kSocketmapOption),
                     str_cat({"others than its owner may write to ", directory,
                              "; sendmail does not ask a socket there"}),
                     "chmod go-w " + directory);
  }
}

void check_sendmail_map(const config::Config& config, const SendmailSite& site,
                        Findings& findings) {
  const std::string about(kSocketmapOption);
  if (site.rules_socket.empty()) {
    if (!config.socketmap_socket.empty()) {
      findings.warn(about,
                    site.file +
                        " does not ask it: rules that no table can express hold for the "
                        "milter alone",
                    "give FEATURE(`bsmtp') `socketmap=" + config.socketmap_socket +
                        "' and make sendmail.cf anew");
    }
    return;
  }
  if (plain_socket(site.rules_socket) != plain_socket(config.socketmap_socket)) {
    findings.problem(
        about,
        str_cat({site.file, " asks ", site.rules_socket, ", but bsmtp-milter answers ",
                 config.socketmap_socket.empty() ? "nowhere" : "at " + config.socketmap_socket,
                 ": all but local mail waits"}),
        str_cat({"set socketmap-socket = ", plain_socket(site.rules_socket),
                 " and restart bsmtp-milter, or make sendmail.cf anew"}));
    return;
  }
  check_directory(config.socketmap_socket, findings);
  check_answer(config, "", "bsmtp_rules", findings);
}

}  // namespace

void check_socketmap(const config::Config& config, const MtaParameter& mta,
                     const std::optional<SendmailSite>& site, Findings& findings) {
  if (site) {
    check_sendmail_map(config, *site, findings);
  } else {
    check_postfix(config, mta, findings);
  }
}

}  // namespace bsmtp::mda::ctl

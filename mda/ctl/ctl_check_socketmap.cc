// config check's look at the socketmap: is it there, does the host MTA ask it, does it answer the
// MTA's user?
#include <algorithm>
#include <array>
#include <span>

#include "common/base/text.h"
#include "common/os/file_ops.h"
#include "common/os/identity.h"
#include "common/os/socket.h"
#include "mda/ctl/ctl_check.h"
#include "mda/ctl/ctl_identity.h"
#include "mda/ctl/ctl_sendmail.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::string_view kSocketmapOption = "socketmap-socket";
constexpr std::chrono::milliseconds kPatience{3000};
constexpr std::size_t kMaxMapReply = 4096;

// "unix:PATH", "local:PATH", "/PATH", "inet:PORT@HOST", "inet6:PORT@HOST"
std::string path_of(std::string_view socket) {
  for (const std::string_view prefix : {"unix:", "local:"}) {
    if (socket.starts_with(prefix)) {
      return std::string(socket.substr(prefix.size()));
    }
  }
  return socket.starts_with('/') ? std::string(socket) : std::string();
}

Result<os::Endpoint> endpoint_of(const std::string& socket) {
  os::Endpoint endpoint;
  endpoint.path = path_of(socket);
  if (endpoint.is_unix()) {
    return endpoint;
  }
  const std::size_t colon = socket.find(':');
  const std::size_t at = socket.find('@');
  if (colon == std::string::npos || at == std::string::npos || at < colon) {
    return Status::temporary("4.3.5", socket + " is neither unix:PATH nor inet:PORT@HOST");
  }
  std::string host = socket.substr(at + 1);
  if (host.find(':') != std::string::npos && !host.starts_with('[')) {
    host = "[" + host + "]";
  }
  return os::parse_endpoint(
      str_cat({"smtp://", host, ":", socket.substr(colon + 1, at - colon - 1)}));
}

// One question. Ok when the answer is one; else why not.
Status ask(const std::string& socket, std::string_view question) {
  TRY_ASSIGN(const os::Endpoint endpoint, endpoint_of(socket));
  TRY_ASSIGN(os::Socket connection, os::Socket::connect(endpoint, {kPatience, kPatience}));
  TRY(connection.write(str_cat({std::to_string(question.size()), ":", question, ","})));
  std::string reply;
  std::array<char, 512> buffer{};
  while (!reply.ends_with(',') && reply.size() < kMaxMapReply) {
    TRY_ASSIGN(const std::size_t n, connection.read(std::span<char>(buffer)));
    if (n == 0) {
      break;
    }
    reply.append(buffer.data(), n);
  }
  const std::size_t colon = reply.find(':');
  const std::string_view answer =
      colon == std::string::npos ? std::string_view() : std::string_view(reply).substr(colon + 1);
  if (answer.starts_with("OK ") || answer.starts_with("NOTFOUND ")) {
    return Status::ok();
  }
  return Status::temporary("4.3.0", str_cat({"it answered '", printable(reply, 80), "'"}));
}

// Asks as the owner of `mta_owned`, a directory of the MTA's, where that is possible.
void check_answer(const config::Config& config, const std::string& mta_owned, std::string_view map,
                  Findings& findings) {
  const std::string question = str_cat({map, " ", config.postmaster, "@", config.host});
  const auto step = [&] { return ask(config.socketmap_socket, question); };
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
  const std::string path = path_of(config.socketmap_socket);
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
  const std::string path = path_of(socket);
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

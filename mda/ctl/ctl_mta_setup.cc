#include "mda/ctl/ctl_mta_setup.h"

#include <string_view>
#include <vector>

#include "common/base/text.h"
#include "common/base/version.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_sendmail.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::string_view kReadFirst =
    "# Read it, then give it to a root shell (`bsmtpctl ... | sh -e`). Nothing was changed yet.\n";

// A literal in a regexp table.
std::string quoted(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view(".+*?()[]{}|^$\\/").find(c) != std::string_view::npos) {
      out += '\\';
    }
    out += c;
  }
  return out;
}

// m4's quotes within double quotes of the shell's.
std::string in_double_quotes(std::string_view text) {
  std::string out;
  for (const char c : text) {
    out += c == '`' ? "\\`" : std::string(1, c);
  }
  return out;
}

// The line of bsmtp-routes for a parcel address and its return addresses.
std::string route(std::string_view user, std::string_view host, std::string_view to) {
  return str_cat({"/^", quoted(user), "(\\+[^@]*)?@", quoted(host), "$/  ", to, "\n"});
}

// The agents by LMTP, unless export-transport names the pipe service.
std::string inbound_transport(const config::Config& config) {
  return config.export_transport == config::Config().export_transport
             ? "bsmtp-in:"
             : "bsmtp-in-lmtp:unix:private/bsmtp-in-agent";
}

std::string differs(std::string_view key, std::string_view value, std::string_view expected,
                    std::string_view file) {
  return value == expected
             ? std::string()
             : str_cat({"# Mind: ", file, " has ", expected, ", but ", key, " = ", value, "\n"});
}

// "key=value" for FEATURE(`bsmtp') where the configuration is not what the feature takes for
// granted.
void add_argument(std::string& list, std::string_view key, std::string_view value,
                  std::string_view usual) {
  if (value != usual) {
    list += str_cat({", `", key, "=", value, "'"});
  }
}

std::string feature_arguments(const config::Config& config) {
  const config::Config usual;
  std::string list;
  add_argument(list, "host", config.host, "");
  add_argument(list, "user", config.user, usual.user);
  add_argument(list, "socket", plain_socket(config.milter_socket), usual.milter_socket);
  add_argument(list, "socketmap", plain_socket(config.socketmap_socket), usual.socketmap_socket);
  const std::size_t colon = config.resubmit.rfind(':');
  constexpr std::string_view kScheme = "smtp://";
  if (config.resubmit != usual.resubmit && config.resubmit.starts_with(kScheme) &&
      colon > kScheme.size()) {
    std::string_view host(config.resubmit);
    host = host.substr(kScheme.size(), colon - kScheme.size());
    if (host.starts_with('[') && host.ends_with(']')) {
      host = host.substr(1, host.size() - 2);
    }
    add_argument(list, "listen", host, "127.0.0.1");
    add_argument(list, "port", std::string_view(config.resubmit).substr(colon + 1), "10027");
  }
  return list;
}

// The listener's service in master.cf.
std::string listener(const config::Config& config) {
  constexpr std::string_view kScheme = "smtp://";
  return config.resubmit.starts_with(kScheme) ? config.resubmit.substr(kScheme.size())
                                              : config.resubmit;
}

}  // namespace

std::string postfix_enable_script(const config::Config& config) {
  const config::Config usual;
  std::string routes = route(config.user, config.host, inbound_transport(config));
  for (const config::Peer& peer : config.peers) {
    routes += route(peer.user, peer.host, ":");
  }
  return str_cat(
      {"# Makes Postfix on ",
       config.host,
       " a gateway.\n",
       kReadFirst,
       differs("resubmit", config.resubmit, usual.resubmit, "postfix/master.cf"),
       differs("export-map", config.export_map, usual.export_map, "postfix/main.cf"),
       differs("milter-socket", config.milter_socket, "unix:/var/spool/postfix/bsmtp/milter.sock",
               "postfix/main.cf"),
       "if postconf -n | grep -q '^bsmtp_site_milters'; then echo 'it is enabled' >&2; exit 1; "
       "fi\n",
       "bsmtpctl rules export --postfix --write\n",
       "cd ",
       kDataDirectory,
       "/postfix && cp bsmtp-access /etc/postfix/\n",
       "cat >/etc/postfix/bsmtp-routes <<'END'\n",
       routes,
       "END\n",
       "cat master.cf master-lmtp.cf >>/etc/postfix/master.cf\n",
       "postconf -e \"bsmtp_site_milters = $(postconf -h smtpd_milters)\" "
       "\"bsmtp_site_local_milters = $(postconf -h non_smtpd_milters)\"\n",
       "postconf -e \"bsmtp_site_transports = $(postconf -h transport_maps)\" "
       "\"bsmtp_site_recipient_restrictions = $(postconf -h smtpd_recipient_restrictions)\"\n",
       "postconf -e \"bsmtp_site_local_recipients = $(postconf -h local_recipient_maps)\"\n",
       "grep '^[a-z]' main.cf | xargs -d '\\n' postconf -e\n",
       "postfix check\n",
       "systemctl enable --now bsmtp-milter bsmtp-dispatch\n",
       "systemctl reload postfix\n",
       "bsmtpctl config check\n"});
}

std::string postfix_disable_script(const config::Config& config) {
  return str_cat(
      {"# Takes the tunnel out of Postfix on ", config.host,
       ". Tell the other sides first (state = receive there).\n", kReadFirst,
       "if ! postconf -n | grep -q '^bsmtp_site_milters'; then echo 'it is not enabled' >&2; exit "
       "1; fi\n",
       "systemctl disable --now bsmtp-milter\n",
       "postconf -e \"smtpd_milters = $(postconf -h bsmtp_site_milters)\" "
       "\"non_smtpd_milters = $(postconf -h bsmtp_site_local_milters)\"\n",
       "postfix reload\n", "bsmtpctl queue flush\n",
       "# Go on when `bsmtpctl queue list` and `mailq` are empty, and `bsmtpctl status` shows no\n"
       "# receipts awaited or due: later ones would find nobody here.\n",
       "postconf -e \"transport_maps = $(postconf -h bsmtp_site_transports)\" "
       "\"smtpd_recipient_restrictions = $(postconf -h bsmtp_site_recipient_restrictions)\" "
       "\"local_recipient_maps = $(postconf -h bsmtp_site_local_recipients)\"\n",
       "postconf -X bsmtp_site_milters bsmtp_site_local_milters bsmtp_site_transports "
       "bsmtp_site_recipient_restrictions bsmtp_site_local_recipients "
       "bsmtp-in-lmtp_destination_recipient_limit bsmtp-in_destination_recipient_limit "
       "bsmtp-in_time_limit bsmtp-out_time_limit\n",
       "postconf -MX bsmtp-out/unix bsmtp-in/unix bsmtp-out-lmtp/unix bsmtp-in-lmtp/unix "
       "bsmtp-out-agent/unix bsmtp-in-agent/unix ",
       listener(config), "/inet\n", "postfix reload\n",
       "systemctl disable --now bsmtp-dispatch\n"});
}

std::string sendmail_enable_script(const config::Config& config) {
  const std::string arguments = feature_arguments(config);
  return str_cat(
      {"# Makes sendmail on ", config.host, " a gateway.\n", kReadFirst,
       "if grep -q '^FEATURE(.bsmtp' /etc/mail/sendmail.mc; then echo 'it is enabled' >&2; exit 1; "
       "fi\n",
       "bsmtpctl rules export --sendmail --write\n", "makemap hash /etc/mail/bsmtp <",
       config.export_map, "\n", "systemctl enable --now bsmtp-milter bsmtp-dispatch\n",
       "cp /etc/mail/sendmail.mc /etc/mail/sendmail.mc.before-bsmtp\n",
       "cd /etc/mail && sed -i -e \"/^MAILER_DEFINITIONS/i include(\\`", kDataDirectory,
       "/m4/bsmtp.m4')dnl\\nFEATURE(\\`bsmtp'", in_double_quotes(arguments),
       ")dnl\" -e \"/^MAILER(\\`smtp')/a MAILER(\\`bsmtp')dnl\" sendmail.mc\n",
       "m4 sendmail.mc >sendmail.cf.new && mv sendmail.cf.new sendmail.cf\n",
       "systemctl restart sendmail\n", "bsmtpctl config check\n"});
}

std::string sendmail_disable_script(const config::Config& config) {
  return str_cat(
      {"# Takes the tunnel out of sendmail on ", config.host,
       ". Tell the other sides first (state = receive there).\n", kReadFirst,
       "if ! grep -q '^FEATURE(.bsmtp' /etc/mail/sendmail.mc; then echo 'it is not enabled' >&2; "
       "exit 1; fi\n",
       "bsmtpctl queue flush\n",
       "# Go on when `bsmtpctl queue list` and `mailq` are empty, and `bsmtpctl status` shows no\n"
       "# receipts awaited or due: later ones would find nobody here.\n",
       "cd /etc/mail && sed -i -e '/bsmtp-tunnel.m4.bsmtp.m4/d; /^FEATURE(.bsmtp/d; "
       "/^MAILER(.bsmtp/d' sendmail.mc\n",
       "m4 sendmail.mc >sendmail.cf.new && mv sendmail.cf.new sendmail.cf\n",
       "systemctl restart sendmail\n", "systemctl disable --now bsmtp-milter bsmtp-dispatch\n"});
}

Result<int> postfix_enable(Context& context, const Arguments& /*arguments*/) {
  context.out << postfix_enable_script(*context.config);
  return kExitOk;
}
Result<int> postfix_disable(Context& context, const Arguments& /*arguments*/) {
  context.out << postfix_disable_script(*context.config);
  return kExitOk;
}
Result<int> sendmail_enable(Context& context, const Arguments& /*arguments*/) {
  context.out << sendmail_enable_script(*context.config);
  return kExitOk;
}
Result<int> sendmail_disable(Context& context, const Arguments& /*arguments*/) {
  context.out << sendmail_disable_script(*context.config);
  return kExitOk;
}

}  // namespace bsmtp::mda::ctl

// What `bsmtpctl config check` looks at where the host MTA is sendmail: sendmail.cf, as
// FEATURE(`bsmtp') and sendmail's own options made it, and the map that makemap wrote. Reads
// files only; asks no process and changes nothing.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/config.h"
#include "mda/ctl/ctl_check.h"

namespace bsmtp::mda::ctl {

struct SendmailSite {
  std::string file;                  // where it was read
  std::string map;                   // data base of ruleset bsmtp_route, without ".db"
  std::string rules_socket;          // of the socket map it asks; "" = none
  std::string access;                // the access map, without ".db"; "" = none
  std::string host;                  // whose parcels it hands to bsmtp-in; "" = cannot be told
  std::string user;                  // the local part of their address
  std::vector<std::string> filters;  // S= of every X line: "unix:/run/bsmtp/milter.sock"
  std::string queue_lifetime;        // Timeout.queuereturn, default "5d"
  std::string size_limit;            // MaxMessageSize, "0" = none
};

// nullopt: FEATURE(`bsmtp') is not in this text.
std::optional<SendmailSite> parse_sendmail_cf(std::string_view text, const std::string& file);
// nullopt also when there is no readable file.
std::optional<SendmailSite> read_sendmail_cf(const std::string& file = "/etc/mail/sendmail.cf");

// Answers to the names of Postfix' parameters that check_timers() and check_sizes() ask for.
MtaParameter sendmail_parameters(const SendmailSite& site);
MtaNames sendmail_names();

// milter(3) and sendmail take "unix:" and "local:" for the same: always "unix:".
std::string plain_socket(std::string_view socket);

// A line of the access map's text.
struct AccessEntry {
  std::string key;    // "TLS_Srv:athena.domain.co.uk", "Connect:127"
  std::string value;  // its first word: "TEMP+VERIFY:112+CN"
};
std::vector<AccessEntry> parse_access(std::string_view text);

// TLS demands on everybody (a bare tag) without the exceptions that our own mail needs.
void check_access(const SendmailSite& site, Findings& findings);

// The socketmap: offered, asked, answering.
void check_socketmap(const config::Config& config, const MtaParameter& mta,
                     const std::optional<SendmailSite>& site, Findings& findings);

// The parcel address, the milter's socket, and the data base beside the exported map: a forgotten
// makemap lets mail out in the clear that the rules already tunnel.
void check_sendmail(const config::Config& config, const SendmailSite& site, Findings& findings);

}  // namespace bsmtp::mda::ctl

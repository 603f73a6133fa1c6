// What `bsmtpctl config check` looks at among our neighbours where the host MTA is Postfix:
// services of master.cf with milters of their own, content filters, address rewriting that would
// catch the tunnel's addresses, further instances. Asks postconf and postmap only; changes nothing.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/config.h"
#include "mda/ctl/ctl_check.h"

namespace bsmtp::mda::ctl {

struct PostfixService {
  std::string name;                        // "submission/inet", as `postconf -P` spells it
  std::map<std::string, std::string> own;  // parameters given with -o
};

struct PostfixSite {
  MtaParameter parameter;               // of main.cf, with $name expanded
  std::vector<PostfixService> servers;  // every smtpd of master.cf
  // What a table says ("" = nothing): a map as main.cf names it ("hash:/etc/postfix/x"), a key.
  std::function<std::string(const std::string& map, const std::string& key)> lookup;
  // A parameter of another instance, which its configuration directory names.
  std::function<std::string(const std::string& directory, const std::string& name)> elsewhere;
};

// From the output of `postconf -M` and `postconf -Px`.
std::vector<PostfixService> parse_postfix_servers(std::string_view services,
                                                  std::string_view overrides);
// nullopt where there is no postconf.
std::optional<PostfixSite> read_postfix();

// Is it the one that `resubmit` names?
bool is_resubmission(const config::Config& config, const PostfixService& service);
// What master.cf gives the service with -o; nullptr = nothing.
const std::string* own_value(const PostfixService& service, const std::string& name);
// The same, else what main.cf says.
std::string value_in_force(const PostfixSite& site, const PostfixService& service,
                           const std::string& name);

// The service that unpacked mail comes by: what would let it relay, and limits that are meant for
// one stranger's connection and would punish a batch.
void check_resubmission(const PostfixSite& site, const PostfixService& service, Findings& findings);
void check_postfix(const config::Config& config, const PostfixSite& site, Findings& findings);

}  // namespace bsmtp::mda::ctl

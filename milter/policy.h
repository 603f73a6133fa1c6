// Policy: one immutable reading of configuration and rewrite rules, in the form a Session asks.
// PolicyHolder: the place where a reload swaps it while sessions go on with the one they hold.
// Guarantee: a Policy that loads is complete; a reload that fails leaves the old one in force.
// Failure: temporary 4.3.5 with file and line from the readers below.
// Threads: Policy is const; PolicyHolder is safe to share.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/config/config.h"
#include "common/rewrite/rules.h"
#include "milter/session.h"

namespace bsmtp::milter {

class Policy final : public Classifier {
 public:
  // Reads the rules that `config` names.
  static Result<std::shared_ptr<const Policy>> load(const config::Config& config);
  // The same with rules from a text (tests).
  static Result<std::shared_ptr<const Policy>> parse(const config::Config& config,
                                                     std::string_view rules);

  Origin origin(const Connection& connection, const MailFrom& mail,
                std::string_view reverse_path) const override;
  Lookup look_up(std::string_view address, std::string_view channel) const override;

  const rewrite::RuleSet& rules() const { return *rules_; }
  // export-transport, taken apart: what the socketmap answers for Postfix.
  const std::string& map_transport() const { return map_transport_; }
  const std::string& map_nexthop() const { return map_nexthop_; }  // "" = the pseudo-domain

 private:
  Policy(const config::Config& config, std::shared_ptr<const rewrite::RuleSet> rules);
  Status take_map_route(const config::Config& config);
  bool is_gateway_listener(const Connection& connection) const;
  bool is_parcel_address(std::string_view reverse_path) const;

  std::shared_ptr<const rewrite::RuleSet> rules_;
  std::string host_;
  std::string user_;
  std::vector<std::string> gateway_daemons_;  // names or ports
  std::string map_transport_;
  std::string map_nexthop_;
};

// What the engine must know of a configuration.
rewrite::Options rule_options(const config::Config& config);

class PolicyHolder {
 public:
  explicit PolicyHolder(std::shared_ptr<const Policy> policy) : policy_(std::move(policy)) {}
  std::shared_ptr<const Policy> get() const {
    const std::lock_guard lock(mutex_);
    return policy_;
  }
  void set(std::shared_ptr<const Policy> policy) {
    const std::lock_guard lock(mutex_);
    policy_.swap(policy);  // the old one is destroyed by its last user, outside the lock
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Policy> policy_;
};

}  // namespace bsmtp::milter

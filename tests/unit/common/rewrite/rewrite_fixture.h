// What the tests of common/rewrite share: the seed's hub with two peers, and short calls.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "common/rewrite/engine.h"
#include "common/rewrite/rules.h"

namespace bsmtp::rewrite::testing {

inline PeerInfo peer(const std::string& number, const std::string& host) {
  return PeerInfo{
      "remote" + number, "BSOUT-REMOTE" + number, "bsout_remote" + number, host, "bsmtp", true};
}

// hub.domain.com with peers athena.domain.co.uk and gate.example.net.
inline Options hub_options() {
  Options options;
  options.host = "hub.domain.com";
  options.own_domains = {"domain.com"};
  options.peers = {peer("1", "athena.domain.co.uk"), peer("2", "gate.example.net")};
  options.pass_tags = {"TCP-DAEMON", "mailhub.example.com"};
  return options;
}

inline constexpr std::string_view kSeedRules =
    "domain.co.uk      $U%$H@BSOUT-REMOTE1$Nbsout_remote1\n"
    ".domain.co.uk     $U%$H$D@BSOUT-REMOTE1$Nbsout_remote1\n";

inline std::shared_ptr<const RuleSet> rules_of(std::string_view text,
                                               const Options& options = hub_options()) {
  auto rules = RuleSet::parse(text, "rewrite", options);
  EXPECT_TRUE(rules.is_ok()) << rules.status().to_string();
  return rules.is_ok() ? rules.value() : nullptr;
}

inline Decision ask(const RuleSet& rules, std::string_view address,
                    std::string_view channel = kChannelSmtp, Trace* trace = nullptr) {
  Query query;
  query.address = address;
  query.source_channel = channel;
  return classify(rules, query, trace);
}

// One word for a decision: "divert X", "leave", "exempt", "error TEXT".
inline std::string verdict(const Decision& decision) {
  switch (decision.kind) {
    case Kind::kDivert:
      return "divert " + decision.diverted;
    case Kind::kLeave:
      return "leave";
    case Kind::kExempt:
      return "exempt";
    case Kind::kError:
      return "error " + decision.code + " " + decision.text;
  }
  return "?";
}

// The patterns that were looked up, in order.
inline std::vector<std::string> probes(const Trace& trace) {
  std::vector<std::string> out;
  for (const Step& step : trace.steps) {
    out.push_back(step.probe);
  }
  return out;
}

}  // namespace bsmtp::rewrite::testing

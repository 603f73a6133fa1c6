// libs: common/rewrite common/mail common/base
// Rule text, a NUL octet, addresses one a line: loading refuses or works; classifying ends within
// its bound of look-ups; whatever is diverted undoes to the rewritten address; the exported map
// never names a peer that the engine does not mean. Includes are not followed: they would read
// files of the machine.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/rewrite/engine.h"
#include "common/rewrite/export_map.h"
#include "common/rewrite/tunnel_address.h"

namespace {

using bsmtp::rewrite::Decision;
using bsmtp::rewrite::Kind;
using bsmtp::rewrite::RuleSet;

bsmtp::rewrite::Options options() {
  bsmtp::rewrite::Options out;
  out.host = "hub.domain.com";
  out.own_domains = {"domain.com"};
  out.peers = {{"remote1", "BSOUT-REMOTE1", "bsout_remote1", "athena.domain.co.uk", "bsmtp", true},
               {"remote2", "BSOUT-REMOTE2", "bsout_remote2", "gate.example.net", "bsmtp", true}};
  out.pass_tags = {"TCP-DAEMON"};
  out.max_rules = 200;
  return out;
}

bool has_include(std::string_view text) {
  for (const std::string_view line : bsmtp::split(text, '\n')) {
    if (bsmtp::trim(line).starts_with('<')) {
      return true;
    }
  }
  return false;
}

void check_decision(const RuleSet& rules, std::string_view address, std::string_view channel) {
  bsmtp::rewrite::Query query;
  query.address = address;
  query.source_channel = channel;
  bsmtp::rewrite::Trace trace;
  const Decision decision = classify(rules, query, &trace);
  BSMTP_CHECK(trace.rounds <= rules.options().max_rewrites);
  if (decision.kind != Kind::kDivert) {
    return;
  }
  BSMTP_CHECK(decision.peer != nullptr);
  const auto back = bsmtp::rewrite::decode_tunnel(decision.diverted);
  BSMTP_CHECK(back.is_ok());
  BSMTP_CHECK(back->peer == decision.peer->name);
  BSMTP_CHECK(back->domain == decision.rewritten_domain);
  BSMTP_CHECK(bsmtp::mail::dequote_local(back->local) ==
              bsmtp::mail::dequote_local(decision.rewritten_local));
  BSMTP_CHECK(!is_exempt(rules, back->local, back->domain));
}

void check_export(const RuleSet& rules) {
  for (const auto& entry : bsmtp::rewrite::export_postfix(rules).entries) {
    if (entry.peer.empty() || entry.key.front() == '.') {
      continue;
    }
    const std::string address = "someone@" + entry.key;
    bsmtp::rewrite::Query query;
    query.address = address;
    const Decision decision = classify(rules, query);
    BSMTP_CHECK(decision.kind == Kind::kDivert && decision.peer->name == entry.peer);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 20000) {
    return 0;
  }
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t nul = std::min(input.find('\0'), input.size());
  const std::string_view text = input.substr(0, nul);
  if (has_include(text)) {
    return 0;
  }
  const auto rules = RuleSet::parse(text, "fuzz", options());
  if (!rules.is_ok()) {
    BSMTP_CHECK(rules.status().is_temporary());
    return 0;
  }
  for (const std::string_view address :
       bsmtp::split(nul < size ? input.substr(nul + 1) : "", '\n')) {
    for (const std::string_view channel : {"l", "tcp_local", "bsout_remote1"}) {
      check_decision(*rules.value(), address, channel);
    }
  }
  check_export(*rules.value());
  return 0;
}

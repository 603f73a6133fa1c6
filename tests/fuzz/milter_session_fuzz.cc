// libs: milter common/rewrite common/mail common/base
// A message as an MTA may hand it to the milter, one command a line: "M path" or "R path params".
// Whatever the addresses are, nothing crashes, each addition is a tunnel address that undoes to a
// mailbox and has parameters of the two legal kinds, and a diverted recipient is also deleted.
#include <algorithm>
#include <cstdint>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/rewrite/tunnel_address.h"
#include "milter/policy.h"

namespace {

using namespace bsmtp;

std::shared_ptr<const milter::Policy> make_policy() {
  config::Config config;
  config.host = "hub.domain.com";
  config::Peer peer;
  peer.name = "remote1";
  peer.host = "athena.domain.co.uk";
  peer.tag = "BSOUT-REMOTE1";
  peer.channel = "bsout_remote1";
  config.peers = {peer};
  auto policy = milter::Policy::parse(config,
                                      "domain.co.uk $U%$H@BSOUT-REMOTE1\n"
                                      ".domain.co.uk $U%$H$D@BSOUT-REMOTE1\n"
                                      "d.example $1U%$H@BSOUT-REMOTE1\n");
  BSMTP_CHECK(policy.is_ok());
  return std::move(policy).value();
}

void check(const milter::Edits& edits) {
  BSMTP_CHECK(edits.additions.size() <= edits.deletions.size());
  for (const milter::Addition& addition : edits.additions) {
    const auto tunnel = rewrite::decode_tunnel(addition.address);
    BSMTP_CHECK(tunnel.is_ok() && tunnel->peer == "remote1");
    BSMTP_CHECK(addition.address.size() <= rewrite::kMaxDiverted);
    const auto words = split_blank(addition.params);
    BSMTP_CHECK(words.size() <= 2);
    for (const std::string_view word : words) {
      BSMTP_CHECK(word.starts_with("NOTIFY=") || word.starts_with("ORCPT="));
      BSMTP_CHECK(std::all_of(word.begin(), word.end(),
                              [](char c) { return static_cast<unsigned char>(c) > 0x20; }));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::shared_ptr<const milter::Policy> policy = make_policy();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  milter::Session session;
  session.connect({"192.0.2.1", "hub", "25"});
  session.mail(policy, {"<a@domain.com>", ""});
  for (const std::string_view line : split(text, '\n')) {
    if (line.starts_with("M ")) {
      session.mail(policy, {std::string(line.substr(2)), ""});
    } else if (line.starts_with("R ")) {
      session.rcpt(split(line.substr(2), '\t'));
    }
  }
  if (const auto edits = session.end_of_message(); edits.is_ok()) {
    check(*edits);
  }
  return 0;
}

// What the tests of parcels share: three gateways with keys, items, a handler that collects what
// a parcel delivered, and short ways to build and open.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/id.h"
#include "common/bsmtp/parser.h"
#include "common/crypto/openpgp.h"
#include "common/mail/line.h"
#include "common/mail/transaction.h"
#include "common/os/fd_stream.h"
#include "common/os/file_ops.h"
#include "common/parcel/builder.h"
#include "common/parcel/opener.h"
#include "tests/support/test_keyring.h"

namespace bsmtp::parcel {

inline constexpr std::string_view kId = "0195f3c1a2b30123456789abcdef0123456789abcdef";

struct Message {
  mail::Envelope envelope;
  std::string text;
};

inline Message message(std::string sender, std::vector<std::string> recipients, std::string text) {
  Message m;
  m.envelope.sender = std::move(sender);
  for (std::string& address : recipients) {
    mail::Recipient recipient;
    recipient.address = std::move(address);
    m.envelope.recipients.push_back(std::move(recipient));
  }
  m.text = std::move(text);
  return m;
}

// One complete transaction, as bsmtp-out writes it.
inline std::string item_text(const Message& m) {
  const auto head = mail::format_transaction_head(m.envelope);
  EXPECT_TRUE(head.is_ok()) << head.status().to_string();
  StringSink out(1U << 26U);
  mail::TextStuffer stuffer(out);
  EXPECT_TRUE(stuffer.write(m.text).is_ok());
  EXPECT_TRUE(stuffer.finish().is_ok());
  return *head + out.str();
}

inline BuildItem string_item(std::string name, std::string text) {
  auto shared = std::make_shared<std::string>(std::move(text));
  return {std::move(name), [shared]() -> Result<std::unique_ptr<Source>> {
            return std::unique_ptr<Source>(std::make_unique<StringSource>(*shared));
          }};
}

inline std::vector<BuildItem> items_of(const std::vector<Message>& messages) {
  std::vector<BuildItem> items;
  for (const Message& m : messages) {
    items.push_back(string_item("item" + std::to_string(items.size()), item_text(m)));
  }
  return items;
}

class Collector final : public batch::Handler {
 public:
  Status begin_message(const mail::Envelope& envelope, std::size_t /*index*/) override {
    messages.push_back({envelope, ""});
    stuffed_.clear();
    return fail_at_message == messages.size() ? failure : Status::ok();
  }
  Status text(std::string_view stuffed) override {
    stuffed_ += stuffed;
    return Status::ok();
  }
  Status end_message(const mail::TextFacts& /*facts*/) override {
    StringSink plain(1U << 26U);
    mail::Unstuffer unstuff(plain);
    TRY(unstuff.write(stuffed_));
    TRY(unstuff.finish());
    messages.back().text = plain.take();
    return Status::ok();
  }

  std::vector<Message> messages;
  std::size_t fail_at_message = 0;
  Status failure;

 private:
  std::string stuffed_;
};

class FixedClock final : public Clock {
 public:
  TimePoint now() const override { return time; }
  TimePoint time = std::chrono::system_clock::now();
};

// hub sends; athena receives and knows hub as "hub" and mars as "mars".
class ParcelTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    rings = new Rings;  // NOLINT: lives as long as the suite
    rings->hub_key = rings->hub.add_key("Hub <bsmtp@hub.domain.com>");
    rings->mars_key = rings->hub.add_key("Mars <bsmtp@mars.domain.org>");
    rings->stranger_key = rings->hub.add_key("Stranger <x@stranger.example>");
    rings->verify.import(rings->hub.export_public(rings->hub_key));
    rings->verify.import(rings->hub.export_public(rings->mars_key));
  }
  static void TearDownTestSuite() {
    delete rings;  // NOLINT
    rings = nullptr;
  }
  struct Rings {
    test::TestKeyring hub;
    test::TestKeyring verify;
    std::string hub_key;
    std::string mars_key;
    std::string stranger_key;
  };
  static inline Rings* rings = nullptr;

  ParcelTest() {
    peers = {policy("hub", "hub.domain.com"), policy("mars", "mars.domain.org")};
    messages = {
        message("ann@domain.com", {"bob@domain.co.uk"}, "Subject: one\r\n\r\n.dot\r\nhello\r\n"),
        message("", {"carl@domain.co.uk", "dora@domain.co.uk"},
                "Subject: two\r\n\r\nz\xC3\xBCrich\r\n")};
  }

  static PeerPolicy policy(std::string name, std::string host, Profile profile = Profile::kNative) {
    PeerPolicy p;
    p.peer = std::move(name);
    p.host = std::move(host);
    p.profile = profile;
    return p;
  }

  crypto::Signer signer(const std::string& key) {
    auto made = crypto::Signer::open({rings->hub.home(), key, ""});
    EXPECT_TRUE(made.is_ok()) << made.status().to_string();
    return std::move(made).value();
  }

  Manifest manifest() const {
    Manifest m;
    m.id = kId;
    m.from = "hub.domain.com";
    m.to = "athena.domain.co.uk";
    m.created = std::chrono::time_point_cast<std::chrono::seconds>(clock.time);
    m.expires = m.created + std::chrono::hours(24 * 5);
    return m;
  }

  BuildRequest request(Profile profile) const {
    BuildRequest r;
    r.profile = profile;
    r.items = items_of(messages);
    r.host = "hub.domain.com";
    if (profile == Profile::kNative) {
      r.manifest = manifest();
    }
    return r;
  }

  os::File file(const std::string& name, int flags) {
    auto opened = os::real_file_ops().open(dir.path() + "/" + name, flags, 0600);
    EXPECT_TRUE(opened.is_ok()) << opened.status().to_string();
    return std::move(opened).value();
  }

  // The entity's octets; `result` gets the rest.
  std::string build_entity(BuildRequest r, const std::string& key = "",
                           BuildResult* result = nullptr) {
    auto s = signer(key.empty() ? rings->hub_key : key);
    r.signer = &s;
    os::File out = file("entity", O_RDWR | O_CREAT | O_TRUNC);
    auto built = build(r, os::real_file_ops(), out);
    EXPECT_TRUE(built.is_ok()) << built.status().to_string();
    if (built.is_ok() && result != nullptr) {
      *result = *built;
    }
    const auto text = os::read_file(os::real_file_ops(), dir.path() + "/entity", 1U << 26U);
    return text.is_ok() ? *text : "";
  }

  static std::string mail_of(std::string_view entity) {
    return "Received: from x by y; Sun, 22 Nov 2026 01:10:00 +0000\r\n"
           "From: BSMTP gateway <bsmtp@hub.domain.com>\r\nTo: bsmtp@athena.domain.co.uk\r\n"
           "MIME-Version: 1.0\r\n" +
           std::string(entity);
  }

  Result<OpenResult> try_open(std::string_view mail_text, Collector& collector) {
    dir.write("mail", mail_text);
    const os::File in = file("mail", os::kReadOnly);
    std::vector<crypto::PeerKeys> keys;
    for (const PeerPolicy& p : peers) {
      keys.push_back({p.peer, {p.peer == "mars" ? rings->mars_key : rings->hub_key}});
    }
    if (!verifier) {
      auto made = crypto::Verifier::open(rings->verify.home(), keys);
      EXPECT_TRUE(made.is_ok()) << made.status().to_string();
      verifier = std::make_unique<crypto::Verifier>(std::move(made).value());
    }
    OpenRequest r;
    r.ops = &os::real_file_ops();
    r.file = &in;
    r.host = "athena.domain.co.uk";
    r.peers = peers;
    r.verifier = verifier.get();
    r.transport_peer = transport_peer;
    r.limits = limits;
    r.clock = &clock;
    r.sandbox = sandbox;
    return open(r, collector);
  }

  // Opens and expects success.
  Opened expect_opened(std::string_view mail_text, std::size_t count = 2) {
    Collector collector;
    const auto result = try_open(mail_text, collector);
    EXPECT_TRUE(result.is_ok()) << result.status().to_string();
    if (!result.is_ok()) {
      return {};
    }
    if (const auto* rejected = std::get_if<Rejected>(&*result)) {
      ADD_FAILURE() << reject_name(rejected->reason) << ": " << rejected->why;
      return {};
    }
    EXPECT_EQ(collector.messages.size(), count);
    delivered = collector.messages;
    return std::get<Opened>(*result);
  }

  // Opens and expects that verdict.
  Rejected expect_rejected(std::string_view mail_text, Reject reason,
                           const std::string& name = "") {
    Collector collector;
    const auto result = try_open(mail_text, collector);
    EXPECT_TRUE(result.is_ok()) << name << " " << result.status().to_string();
    if (!result.is_ok()) {
      return {};
    }
    const auto* rejected = std::get_if<Rejected>(&*result);
    if (rejected == nullptr) {
      ADD_FAILURE() << name << ": was opened";
      return {};
    }
    EXPECT_EQ(reject_name(rejected->reason), reject_name(reason)) << name << " " << rejected->why;
    EXPECT_FALSE(rejected->why.empty()) << name;
    return *rejected;
  }

  void expect_same_messages() const {
    ASSERT_EQ(delivered.size(), messages.size());
    for (std::size_t i = 0; i < messages.size(); ++i) {
      EXPECT_EQ(delivered[i].text, messages[i].text) << i;
      EXPECT_EQ(delivered[i].envelope.sender, messages[i].envelope.sender) << i;
      ASSERT_EQ(delivered[i].envelope.recipients.size(), messages[i].envelope.recipients.size());
      for (std::size_t k = 0; k < messages[i].envelope.recipients.size(); ++k) {
        EXPECT_EQ(delivered[i].envelope.recipients[k].address,
                  messages[i].envelope.recipients[k].address);
      }
    }
  }

  test::ShortTempDir dir;
  FixedClock clock;
  std::vector<PeerPolicy> peers;
  std::vector<Message> messages;
  std::vector<Message> delivered;
  std::string transport_peer;
  Sandbox sandbox = Sandbox::kAuto;  // as in production
  Limits limits;
  std::unique_ptr<crypto::Verifier> verifier;
};

}  // namespace bsmtp::parcel

// What a parser that was taken over may write, and that none of it is believed.
#include "common/parcel/relay.h"

#include <gtest/gtest.h>

#include "common/base/text.h"

namespace bsmtp::parcel {
namespace {

using Kind = RelayEnd::Kind;

class Seen final : public batch::Handler {
 public:
  Status begin_message(const mail::Envelope& envelope, std::size_t index) override {
    log += str_cat({"[", std::to_string(index), " <", envelope.sender, ">"});
    for (const auto& recipient : envelope.recipients) {
      log += " " + recipient.address;
    }
    log += "]";
    return fail;
  }
  Status text(std::string_view stuffed) override {
    log += stuffed;
    return Status::ok();
  }
  Status end_message(const mail::TextFacts& facts) override {
    log += str_cat({"{", std::to_string(facts.octets), "}"});
    return Status::ok();
  }
  std::string log;
  Status fail;
};

std::string record(char type, const std::string& payload = "") {
  std::string out(1, type);
  for (unsigned shift = 0; shift < 32; shift += 8) {
    out += static_cast<char>(payload.size() >> shift & 0xffU);
  }
  return out + payload;
}

std::string start(const std::string& text = "a: b\r\n\r\n") {
  return record('h') + record('S', "MAIL FROM:<ann@x.y>") + record('R', "RCPT TO:<bob@x.y>") +
         record('D') + record('T', text);
}
std::string octets(char n) {
  return n + std::string(7, '\0');
}

class RelayTest : public ::testing::Test {
 protected:
  RelayEnd read(const std::string& stream) {
    StringSource source(stream);
    return read_relay(source, {limits_, {}}, check_, seen_);
  }
  Limits limits_;
  Seen seen_;
  std::vector<std::string> manifests_;
  Status verdict_;
  std::function<Status(const std::vector<std::string>&)> check_ =
      [this](const std::vector<std::string>& manifests) {
        manifests_ = manifests;
        return verdict_;
      };
};

TEST_F(RelayTest, WhatIsWrittenIsRead) {
  StringSink pipe(1U << 20U);
  RelayWriter writer(pipe);
  mail::Envelope envelope;
  envelope.sender = "ann@x.y";
  ASSERT_TRUE(writer.header({"v=1"}).is_ok());
  ASSERT_TRUE(writer.begin_message(envelope, 0).is_ok());
  ASSERT_TRUE(writer.end_message({}).is_ok());
  envelope.recipients.push_back({});
  envelope.recipients.back().address = "bob@x.y";
  ASSERT_TRUE(writer.begin_message(envelope, 1).is_ok());
  const std::string text = "a: b\r\n\r\n..dot\r\n" + std::string(200000, 'x') + "\r\n";
  ASSERT_TRUE(writer.text(text).is_ok());
  ASSERT_TRUE(writer.end_message({}).is_ok());
  ASSERT_TRUE(writer.end(4711).is_ok());
  const RelayEnd end = read(pipe.str());
  EXPECT_EQ(end.kind, Kind::kComplete) << end.status.text();
  EXPECT_EQ(end.batch_octets, 4711U);
  EXPECT_EQ(manifests_, std::vector<std::string>{"v=1"});
  EXPECT_EQ(seen_.log, str_cat({"[0 <ann@x.y>]{0}[1 <ann@x.y> bob@x.y]", text, "{",
                                std::to_string(text.size() - 1), "}"}));
}

TEST_F(RelayTest, VerdictsAndTroubleComeThrough) {
  for (const Status& status :
       {Status::permanent("5.3.4", "too \x1b big"), Status::temporary("4.3.0", "no memory")}) {
    StringSink pipe;
    ASSERT_TRUE(RelayWriter(pipe).end(status).is_ok());
    const RelayEnd end = read(pipe.str());
    EXPECT_EQ(end.kind, status.is_permanent() ? Kind::kRefused : Kind::kTrouble);
    EXPECT_EQ(end.status.code(), status.code());
    EXPECT_EQ(end.status.text(), printable(status.text()));
  }
}

TEST_F(RelayTest, EveryTruncationIsCut) {
  const std::string whole = start() + record('E') + record('F', octets(9));
  ASSERT_EQ(read(whole).kind, Kind::kComplete);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_EQ(read(whole.substr(0, n)).kind, Kind::kCut) << n;
  }
}

TEST_F(RelayTest, TheManifestsVerdictEndsIt) {
  verdict_ = Status::permanent("5.7.0", "not for me");
  const RelayEnd end = read(start());
  EXPECT_EQ(end.kind, Kind::kOwn);
  EXPECT_EQ(end.status.text(), "not for me");
  EXPECT_EQ(seen_.log, "");
}

TEST_F(RelayTest, TheHandlersFailureEndsIt) {
  seen_.fail = Status::temporary("4.3.1", "disk full");
  const RelayEnd end = read(start() + record('E') + record('F', octets(9)));
  EXPECT_EQ(end.kind, Kind::kOwn);
  EXPECT_EQ(end.status.code(), "4.3.1");
}

TEST_F(RelayTest, NothingOddIsBelieved) {
  limits_.messages = 2;
  limits_.recipients = 2;
  limits_.line = 1000;
  const std::string one =
      record('S', "MAIL FROM:<>") + record('R', "RCPT TO:<b@x.y>") + record('D') + record('E');
  const std::string rcpt = record('R', "RCPT TO:<b@x.y>");
  const std::vector<std::pair<const char*, std::string>> odd = {
      {"message without header", record('S', "MAIL FROM:<>")},
      {"three manifests", record('H', "1") + record('H', "2") + record('H', "3")},
      {"header with a payload", record('h', "x")},
      {"two headers", record('h') + record('h')},
      {"manifest after the header", record('h') + record('H', "x")},
      {"unknown type", record('h') + record('Z')},
      {"record too long", record('h') + record('S', std::string(65537, 'x'))},
      {"recipient without sender", record('h') + rcpt},
      {"two senders", record('h') + record('S', "MAIL FROM:<>") + record('S', "MAIL FROM:<>")},
      {"no address", record('h') + record('S', "MAIL FROM:ann")},
      {"other command", record('h') + record('S', "RCPT TO:<b@x.y>")},
      {"command in the sender", record('h') + record('S', "MAIL FROM:<a@x.y>\r\nRCPT TO:<c@x.y>")},
      {"command in the recipient", record('h') + record('S', "MAIL FROM:<>") +
                                       record('R', "RCPT TO:<b@x.y>\r\nRCPT TO:<c@x.y>")},
      {"too many recipients", record('h') + record('S', "MAIL FROM:<>") + rcpt + rcpt + rcpt},
      {"too many messages", record('h') + one + one + record('S', "MAIL FROM:<>")},
      {"not agreed",
       record('h') + record('S', "MAIL FROM:<\xC3\xBC@x.y> SMTPUTF8") + rcpt + record('D')},
      {"DATA with a payload", record('h') + record('S', "MAIL FROM:<>") + rcpt + record('D', "x")},
      {"text outside a message", record('h') + record('T', "x")},
      {"end outside a message", record('h') + record('E')},
      {"smuggled end of text", start("a\r\n.\r\nMAIL FROM:<root@x.y>\r\n")},
      {"smuggled over two records", start("a\r\n.") + record('T', "\r\nMAIL FROM:<r@x.y>\r\n")},
      {"end of text at once", start(".\r\n")},
      {"text that ends in a line", start("a: b\r\nc") + record('E')},
      {"text that ends in a CR", start("a: b\r") + record('E')},
      {"text that ends in a dot", start("a: b\r\n.") + record('E')},
      {"line too long", start(std::string(1001, 'x') + "\r\n")},
      {"end of text with a payload", start() + record('E', "x")},
      {"sender inside a text", start() + record('S', "MAIL FROM:<>")},
      {"all over inside a text", start() + record('F', octets(1))},
      {"all over inside an envelope",
       record('h') + record('S', "MAIL FROM:<>") + record('F', octets(1))},
      {"all over before the header", record('F', octets(1))},
      {"short count", record('h') + record('F', "1")},
      {"verdict without code", record('P', "refused")},
      {"verdict with another code", record('P', "4.3.0 refused")},
      {"trouble with another code", record('X', "5.6.0 x")},
      {"code with letters", record('P', "5.x.0 refused")},
  };
  for (const auto& [name, stream] : odd) {
    seen_.log.clear();
    EXPECT_EQ(read(stream).kind, Kind::kNotBelieved) << name;
  }
}

// A sound parser passes text on before it judges it.
TEST_F(RelayTest, OctetsThatMailCannotHaveRefuseTheParcel) {
  for (const std::string& text :
       {std::string("a\nb\r\n"), std::string("a\rb\r\n"), std::string("a\0b\r\n", 5)}) {
    const RelayEnd end = read(start(text) + record('T', "c\r\n") + record('E'));
    EXPECT_EQ(end.kind, Kind::kRefused) << text;
    EXPECT_TRUE(end.status.is_permanent()) << text;
  }
}

TEST_F(RelayTest, TextHasATotalLimit) {
  limits_.inflate.max_bytes = 1000;
  limits_.parcel_bytes = 1000;
  std::string stream = start();
  for (int i = 0; i < 40; ++i) {
    stream += record('T', std::string(98, 'x') + "\r\n");
  }
  EXPECT_EQ(read(stream).kind, Kind::kNotBelieved);
}

}  // namespace
}  // namespace bsmtp::parcel

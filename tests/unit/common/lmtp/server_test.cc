#include "common/lmtp/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "common/base/text.h"
#include "tests/support/chunked.h"

namespace bsmtp::lmtp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// Hands out the given pieces one read at a time and notes what had been written before each.
class PiecewiseSource final : public Source {
 public:
  PiecewiseSource(test::Chunks pieces, const std::string& written)
      : pieces_(std::move(pieces)), written_(written) {}
  Result<std::size_t> read(std::span<char> out) override {
    written_before.push_back(written_.size());
    while (next_ < pieces_.size() && pieces_[next_].empty()) {
      ++next_;
    }
    if (next_ == pieces_.size()) return std::size_t{0};
    std::string_view& piece = pieces_[next_];
    const std::size_t n = std::min(out.size(), piece.size());
    std::copy_n(piece.data(), n, out.data());
    piece.remove_prefix(n);
    return n;
  }
  std::vector<std::size_t> written_before;

 private:
  test::Chunks pieces_;
  std::size_t next_ = 0;
  const std::string& written_;
};

class Output final : public Sink {
 public:
  Status write(std::string_view data) override {
    text += data;
    ++writes;
    return status;
  }
  std::string text;
  int writes = 0;
  Status status;
};

Status temporary(const char* code) {
  return Status::temporary(code, "not now");
}

// Keeps all it is told; refuses what begins with "4" or "5".
class Recorder final : public Handler {
 public:
  Status mail(const mail::Envelope& envelope) override {
    senders.push_back(envelope.sender);
    last = envelope;
    return verdict(envelope.sender);
  }
  Status rcpt(const mail::Recipient& recipient) override {
    const Status status = verdict(recipient.address);
    if (status.is_ok()) {
      last.recipients.push_back(recipient);
    }
    return status;
  }
  std::vector<Outcome> deliver(Source& text) override {
    StringSink sink(10U << 20U);
    const Status status = read_text ? copy(text, sink).status() : temporary("4.3.1");
    texts.push_back(status.is_ok() ? sink.str() : status.to_string());
    std::vector<Outcome> out;
    for (const auto& recipient : last.recipients) {
      Outcome outcome{status, "kept"};
      if (status.is_ok() && recipient.address.starts_with("late")) {
        outcome.status = temporary("4.3.0");
      }
      out.push_back(outcome);
    }
    return out;
  }
  void reset() override { ++resets; }

  static Status verdict(const std::string& address) {
    if (address.starts_with("4")) return temporary("4.3.5");
    if (address.starts_with("5")) return Status::permanent("5.1.3", "never");
    return Status::ok();
  }

  mail::Envelope last;
  std::vector<std::string> senders;
  std::vector<std::string> texts;
  int resets = 0;
  bool read_text = true;
};

struct Served {
  Status status;
  std::vector<std::string> replies;  // without CRLF
  Recorder handler;
  int writes = 0;
};

Served run_pieces(const test::Chunks& pieces, const Options& options, bool read_text = true) {
  Served out;
  out.handler.read_text = read_text;
  Output sink;
  PiecewiseSource source(pieces, sink.text);
  out.status = serve(source, sink, out.handler, options);
  out.writes = sink.writes;
  std::string_view rest = sink.text;
  while (!rest.empty()) {
    const std::size_t end = rest.find("\r\n");
    if (end == std::string_view::npos) {
      ADD_FAILURE() << "unfinished reply " << rest;
      break;
    }
    out.replies.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end + 2);
  }
  return out;
}

Options options() {
  Options out;
  out.host = "hub.domain.com";
  return out;
}

Served run(std::string_view input, const Options& given = options()) {
  return run_pieces({input}, given);
}

// Replies behind greeting and LHLO.
std::vector<std::string> replies_to(const std::string& input, const Options& given = options()) {
  auto replies = run("LHLO mta\r\n" + input, given).replies;
  const std::size_t skip = given.dsn ? 8 : 7;
  EXPECT_GE(replies.size(), skip);
  replies.erase(replies.begin(),
                replies.begin() + static_cast<std::ptrdiff_t>(std::min(skip, replies.size())));
  return replies;
}

constexpr const char* kOpen = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";
constexpr const char* kMailOk = "250 2.1.0 sender ok";
constexpr const char* kRcptOk = "250 2.1.5 recipient ok";
constexpr const char* kGo = "354 end the text with <CRLF>.<CRLF>";

TEST(LmtpServer, AnnouncesWhatItCan) {
  EXPECT_THAT(run("LHLO mta\r\nQUIT\r\n").replies,
              ElementsAre("220 hub.domain.com LMTP bsmtp-tunnel", "250-hub.domain.com",
                          "250-PIPELINING", "250-ENHANCEDSTATUSCODES", "250-8BITMIME", "250-DSN",
                          "250-SIZE", "250 SMTPUTF8", "221 2.0.0 closing"));
  Options limited = options();
  limited.max_size = 1000;
  limited.dsn = false;
  const auto replies = run("LHLO mta\r\n", limited).replies;
  EXPECT_THAT(replies, testing::Contains("250-SIZE 1000"));
  EXPECT_THAT(replies, testing::Not(testing::Contains("250-DSN")));
}

TEST(LmtpServer, AnswersEachRecipientForItself) {
  const std::string input = std::string("LHLO mta\r\n") +
                            "MAIL FROM:<> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=Q+2B1 SMTPUTF8\r\n"
                            "RCPT TO:<late@x> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;O+2Bx@y\r\n"
                            "RCPT TO:<4x@x>\r\n"
                            "RCPT TO:<5x@x>\r\n"
                            "RCPT TO:<b@x>\r\n"
                            "DATA\r\n..dot\r\n\xE4\r\n.\r\n"
                            "QUIT\r\n";
  test::for_each_cutting(input, [&](const test::Chunks& pieces) {
    const Served done = run_pieces(pieces, options());
    ASSERT_TRUE(done.status.is_ok());
    ASSERT_EQ(done.replies.size(), 17U);
    EXPECT_THAT(std::vector<std::string>(done.replies.begin() + 8, done.replies.end()),
                ElementsAre(kMailOk, kRcptOk, "451 4.3.5 not now", "553 5.1.3 never", kRcptOk, kGo,
                            "451 4.3.0 not now", "250 2.0.0 <b@x> kept", "221 2.0.0 closing"));
    EXPECT_THAT(done.handler.texts, ElementsAre(".dot\r\n\xE4\r\n"));
    const mail::Envelope& seen = done.handler.last;
    EXPECT_EQ(seen.sender, "");
    EXPECT_EQ(seen.envid, "Q+2B1");
    EXPECT_EQ(seen.ret, "HDRS");
    EXPECT_EQ(seen.size, 10U);
    EXPECT_TRUE(seen.smtputf8);
    ASSERT_EQ(seen.recipients.size(), 2U);
    EXPECT_EQ(seen.recipients[0].notify, "SUCCESS,FAILURE");
    EXPECT_EQ(seen.recipients[0].orcpt, "rfc822;O+2Bx@y");
  });
}

struct Exchange {
  const char* name;
  const char* input;
  std::vector<std::string> replies;
};

TEST(LmtpServer, KeepsTheOrderOfCommands) {
  const Exchange cases[] = {
      {"RCPT before MAIL", "RCPT TO:<a@b>\r\n", {"503 5.5.1 MAIL first"}},
      {"DATA before MAIL", "DATA\r\n", {"503 5.5.1 MAIL first"}},
      {"DATA without recipients",
       "MAIL FROM:<a@b>\r\nDATA\r\n",
       {kMailOk, "503 5.5.1 no valid recipients"}},
      {"two MAILs",
       "MAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n",
       {kMailOk, "503 5.5.1 a transaction is open already"}},
      {"RSET ends the transaction",
       "MAIL FROM:<a@b>\r\nRSET\r\nMAIL FROM:<c@b>\r\n",
       {kMailOk, "250 2.0.0 ok", kMailOk}},
      {"SMTP's greeting", "EHLO x\r\n", {"500 5.5.1 this is LMTP: say LHLO"}},
      {"unknown", "FROB x\r\n", {"500 5.5.1 unknown command"}},
      {"empty", "\r\n", {"500 5.5.1 unknown command"}},
      {"lower case",
       "noop\r\nvrfy x\r\n",
       {"250 2.0.0 ok", "252 2.1.5 cannot be verified here; send the mail"}},
      {"refused MAIL speaks for what was pipelined behind it",
       "MAIL FROM:<4@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nMAIL FROM:<a@b>\r\n",
       {"451 4.3.5 not now", "451 4.3.5 not now", "451 4.3.5 not now", kMailOk}},
      {"LF alone",
       "NOOP\n",
       {"500 5.5.2 a command ends with CRLF (sendmail: E=\\r\\n in the mailer)"}},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(replies_to(c.input), c.replies) << c.name;
  }
  EXPECT_THAT(run("MAIL FROM:<a@b>\r\n").replies.back(), StartsWith("503 5.5.1 say LHLO"));
}

TEST(LmtpServer, RefusesParametersItDidNotAnnounce) {
  struct Case {
    const char* name;
    const char* command;
    const char* begin;
  };
  const Case cases[] = {
      {"unknown of MAIL", "MAIL FROM:<a@b> REQUIRETLS\r\n", "501 5.5.4 parameter REQUIRETLS"},
      {"no FROM", "MAIL <a@b>\r\n", "501 5.5.4"},
      {"no brackets", "MAIL FROM:a@b\r\n", "553 5.1.7"},
      {"RET twice", "MAIL FROM:<a@b> RET=FULL RET=HDRS\r\n", "501 5.5.4"},
      {"too big", "MAIL FROM:<a@b> SIZE=1001\r\n", "552 5.3.4"},
  };
  Options limited = options();
  limited.max_size = 1000;
  for (const auto& c : cases) {
    EXPECT_THAT(replies_to(c.command, limited).back(), StartsWith(c.begin)) << c.name;
  }
  limited.dsn = false;
  EXPECT_THAT(replies_to("MAIL FROM:<a@b> RET=FULL\r\n", limited).back(), StartsWith("501 5.5.4"));
  EXPECT_THAT(replies_to("MAIL FROM:<a@b>\r\nRCPT TO:<c@d> NOTIFY=NEVER\r\n", limited).back(),
              StartsWith("501 5.5.4"));
  EXPECT_THAT(replies_to("MAIL FROM:<a@b>\r\nRCPT TO:<c@d> X=1\r\n").back(),
              StartsWith("501 5.5.4"));
}

struct OctetCase {
  const char* name;
  std::string text;
  std::string unstuffed = {};  // where it differs
};

TEST(LmtpServer, StaysInStepWithTextThatMailCannotCarry) {
  const OctetCase cases[] = {
      {"LF dot LF", "x\n.\nMAIL FROM:<evil@x>\r\n"},
      {"LF dot CRLF", "x\n.\r\nMAIL FROM:<evil@x>\r\n"},
      {"CRLF dot LF", "x\r\n.\nMAIL FROM:<evil@x>\r\n", "x\r\n\nMAIL FROM:<evil@x>\r\n"},
      {"CR dot CR", "x\r.\rMAIL FROM:<evil@x>\r\n"},
      {"NUL", std::string("x\0y\r\n", 5)},
      {"bare LF", "x\ny\r\n"},
  };
  for (const auto& c : cases) {
    const std::string input =
        "LHLO mta\r\n" + std::string(kOpen) + "DATA\r\n" + c.text + ".\r\nNOOP\r\nQUIT\r\n";
    test::for_each_cutting(input, [&](const test::Chunks& pieces) {
      const Served done = run_pieces(pieces, options());
      ASSERT_EQ(done.replies.size(), 14U) << c.name;
      EXPECT_THAT(done.replies[11], StartsWith("554 5.6.1 ")) << c.name;
      EXPECT_THAT(done.replies[12], StartsWith("250 ")) << c.name;
      EXPECT_THAT(done.handler.texts, ElementsAre(StartsWith("5.6.1"))) << c.name;
      EXPECT_THAT(done.handler.senders, ElementsAre("a@b")) << c.name;
    });
    Options any = options();
    any.any_octets = true;
    const Served taken = run(input, any);
    EXPECT_THAT(taken.handler.texts, ElementsAre(c.unstuffed.empty() ? c.text : c.unstuffed))
        << c.name;
    EXPECT_THAT(taken.replies[11], StartsWith("250 ")) << c.name;
  }
}

TEST(LmtpServer, SkipsTheTextOfAHandlerThatDoesNotReadIt) {
  const std::string big(300000, 'x');
  const std::string input =
      "LHLO m\r\n" + std::string(kOpen) + "DATA\r\n" + big + "\r\n.\r\nNOOP\r\n";
  const Served done = run_pieces(test::cut_every(input, 10000), options(), false);
  ASSERT_EQ(done.replies.size(), 13U);
  EXPECT_EQ(done.replies[11], "452 4.3.1 not now");
  EXPECT_EQ(done.replies[12], "250 2.0.0 ok");
}

TEST(LmtpServer, TheEndOfTheInputIsNeverTheEndOfAText) {
  const std::string whole = "LHLO m\r\n" + std::string(kOpen) + "DATA\r\nline\r\n.\r\n";
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const Served done = run(whole.substr(0, n));
    EXPECT_TRUE(done.status.is_ok()) << n;
    for (const auto& text : done.handler.texts) {
      EXPECT_THAT(text, StartsWith("4.4.2")) << n;
    }
    EXPECT_NE(done.replies.back(), "250 2.0.0 <c@d> kept") << n;
  }
  EXPECT_EQ(run(whole).replies.back(), "250 2.0.0 <c@d> kept");
  EXPECT_EQ(run("LHLO m\r\n" + std::string(kOpen)).handler.resets, 1);
}

TEST(LmtpServer, CarriesManyMessagesInOneSession) {
  std::string input = "LHLO m\r\n";
  for (int i = 0; i < 100; ++i) {
    input += "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nno " + std::to_string(i) + "\r\n.\r\n";
  }
  const Served done = run(input + "QUIT\r\n");
  ASSERT_EQ(done.handler.texts.size(), 100U);
  EXPECT_EQ(done.handler.texts[99], "no 99\r\n");
  EXPECT_EQ(done.replies.size(), 9U + 400U);
}

TEST(LmtpServer, HoldsRepliesBackWhileCommandsAreThere) {
  std::string input = "LHLO m\r\nMAIL FROM:<a@b>\r\n";
  for (int i = 0; i < 100; ++i) {
    input += "RCPT TO:<c@d>\r\n";
  }
  // Greeting; then all replies together before the wait for more.
  EXPECT_EQ(run(input).writes, 2);
}

TEST(LmtpServer, EveryReplyIsWrittenBeforeTheNextWait) {
  const std::string lhlo = "LHLO m\r\n";
  const std::string noop = "NOOP\r\n";
  Recorder handler;
  Output sink;
  PiecewiseSource source({lhlo, noop, noop}, sink.text);
  ASSERT_TRUE(serve(source, sink, handler, options()).is_ok());
  ASSERT_EQ(source.written_before.size(), 4U);
  const std::size_t ok = std::string_view("250 2.0.0 ok\r\n").size();
  EXPECT_GT(source.written_before[0], 0U);
  EXPECT_GT(source.written_before[1], source.written_before[0]);
  EXPECT_EQ(source.written_before[2], source.written_before[1] + ok);
  EXPECT_EQ(source.written_before[3], source.written_before[2] + ok);
}

TEST(LmtpServer, TakesTenThousandRecipientsAndNotOneMore) {
  std::string input = "LHLO m\r\nMAIL FROM:<a@b>\r\n";
  for (int i = 0; i < 10001; ++i) {
    input += "RCPT TO:<u" + std::to_string(i) + "@d>\r\n";
  }
  const Served done = run(input + "DATA\r\n.\r\nQUIT\r\n");
  ASSERT_EQ(done.replies.size(), 8U + 1 + 10001 + 1 + 10000 + 1);
  EXPECT_THAT(done.replies[9 + 10000], StartsWith("452 4.5.3 "));
  EXPECT_EQ(done.replies[9 + 10001 + 10000], "250 2.0.0 <u9999@d> kept");
}

TEST(LmtpServer, ClosesOnGarbage) {
  std::string input = "LHLO m\r\n";
  for (int i = 0; i < 30; ++i) {
    input += "GET / HTTP/1.1\r\n";
  }
  const Served done = run(input);
  EXPECT_TRUE(done.status.is_ok());
  EXPECT_EQ(done.replies.size(), 8U + 20 + 1);
  EXPECT_THAT(done.replies.back(), StartsWith("421 4.7.0 "));
}

TEST(LmtpServer, LimitsCommandLines) {
  const std::string longest = "NOOP " + std::string(mail::kMaxCommandLine - 6, 'x');
  EXPECT_THAT(replies_to(longest + "\r\n"), ElementsAre("250 2.0.0 ok"));
  for (const std::size_t n : {2049U, 100000U, 1000000U}) {
    EXPECT_THAT(replies_to("NOOP " + std::string(n, 'x') + "\r\nNOOP\r\n"),
                ElementsAre("500 5.5.6 the command line is too long", "250 2.0.0 ok"));
  }
}

TEST(LmtpServer, RefusalsByTheHandlerAreNoErrors) {
  std::string input = "MAIL FROM:<a@b>\r\n";
  for (int i = 0; i < 100; ++i) {
    input += "RCPT TO:<5x@d>\r\n";
  }
  const auto replies = replies_to(input + "RCPT TO:<c@d>\r\n");
  EXPECT_EQ(replies.back(), kRcptOk);
}

TEST(LmtpServer, PassesTroubleWithTheOutputOn) {
  Recorder handler;
  Output sink;
  sink.status = Status::temporary("4.4.2", "broken pipe");
  StringSource source("LHLO m\r\n");
  EXPECT_FALSE(serve(source, sink, handler, options()).is_ok());
}

TEST(LmtpServer, RestartsTheDeadlineForEachStep) {
  int steps = 0;
  Options counted = options();
  counted.on_step = [&steps] { ++steps; };
  EXPECT_TRUE(run("LHLO m\r\n" + std::string(kOpen) + "DATA\r\nx\r\n.\r\nQUIT\r\n", counted)
                  .status.is_ok());
  EXPECT_EQ(steps, 3);  // the wait for the first command, the text, its replies
  // However slowly a command comes, it has one wait.
  const std::string slow = "LHLO m\r\nNOOP\r\n";
  steps = 0;
  EXPECT_TRUE(run_pieces(test::cut_every(slow, 1), counted).status.is_ok());
  EXPECT_EQ(steps, 3);
}

struct ReplyCase {
  const char* code;
  const char* text;
  const char* line;
};

TEST(LmtpReply, TheCodeFollowsTheEnhancedCode) {
  const ReplyCase cases[] = {
      {"4.3.1", "full", "452 4.3.1 full"},         {"4.5.3", "many", "452 4.5.3 many"},
      {"4.3.5", "config", "451 4.3.5 config"},     {"4.2.1", "off", "450 4.2.1 off"},
      {"5.1.3", "bad", "553 5.1.3 bad"},           {"5.4.6", "loop", "554 5.4.6 loop"},
      {"5.6.1", "nul", "554 5.6.1 nul"},           {"5.7.1", "no", "550 5.7.1 no"},
      {"5.3.4", "big", "552 5.3.4 big"},           {"4.3.0", "a\r\n250 b", "451 4.3.0 a??250 b"},
      {"4.3.0", "j\xC3\xB6rg", "451 4.3.0 j??rg"},
  };
  for (const auto& c : cases) {
    const Status status =
        c.code[0] == '4' ? Status::temporary(c.code, c.text) : Status::permanent(c.code, c.text);
    EXPECT_EQ(reply_line(status), c.line);
  }
  EXPECT_LE(reply_line(Status::temporary("4.3.0", std::string(5000, 'x'))).size(), 450U);
}

}  // namespace
}  // namespace bsmtp::lmtp

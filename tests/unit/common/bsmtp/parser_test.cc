#include "common/bsmtp/parser.h"

#include <gtest/gtest.h>

#include "tests/unit/common/bsmtp/batch_support.h"

namespace bsmtp::batch {
namespace {

using test::Chunks;
using test::for_each_cutting;

TEST(Parser, HearsTheSameForAnyCutting) {
  const std::string object =
      "EHLO hub\r\nNOOP\r\nVRFY x\r\nEXPN y\r\nHELP\r\nTICK 7\r\nVERB ON\r\n"
      "mail from:<a@x> SIZE=9\r\nrcpt to: <b@y>\r\nRCPT TO:<c@z> NOTIFY=NEVER\r\ndata\r\n"
      "..dot\r\n\r\nend\r\n.\r\nRSET\r\n" +
      item("") + "QUIT\r\n\r\n \r\n";
  for_each_cutting(object, [&](const Chunks& chunks) {
    const Parsed parsed = parse_chunks(chunks);
    ASSERT_TRUE(parsed.status.is_ok()) << parsed.status.to_string();
    ASSERT_EQ(parsed.messages.size(), 2U);
    const Heard& one = parsed.messages[0];
    EXPECT_EQ(one.envelope.sender, "a@x");
    EXPECT_EQ(one.envelope.recipients.size(), 2U);
    EXPECT_EQ(one.stuffed, "..dot\r\n\r\nend\r\n");
    EXPECT_EQ(one.plain, ".dot\r\n\r\nend\r\n");
    EXPECT_EQ(one.facts.octets, 13U);
    EXPECT_TRUE(one.ended);
    EXPECT_EQ(parsed.messages[1].stuffed, "");
    EXPECT_TRUE(parsed.quit);
  });
}

TEST(Parser, RefusesInvalidObjects) {
  const struct {
    const char* name;
    std::string object;
  } cases[] = {
      {"empty", ""},
      {"no greeting", item("x\r\n")},
      {"unknown verb", "EHLO x\r\nFOO\r\nQUIT\r\n"},
      {"STARTTLS", "EHLO x\r\nSTARTTLS\r\n"},
      {"AUTH", "EHLO x\r\nAUTH PLAIN x\r\n"},
      {"BDAT", "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@y>\r\nBDAT 1 LAST\r\nx"},
      {"greeting without name", "EHLO\r\nQUIT\r\n"},
      {"blank line between commands", "EHLO x\r\n\r\nQUIT\r\n"},
      {"MAIL inside a transaction", "EHLO x\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n"},
      {"RCPT without MAIL", "EHLO x\r\nRCPT TO:<b@y>\r\n"},
      {"DATA without MAIL", "EHLO x\r\nDATA\r\n.\r\n"},
      {"DATA with argument", "EHLO x\r\nMAIL FROM:<>\r\nDATA x\r\n.\r\n"},
      {"RSET with argument", "EHLO x\r\nRSET x\r\n"},
      {"QUIT with argument", "EHLO x\r\nQUIT x\r\n"},
      {"text behind QUIT", "EHLO x\r\nQUIT\r\nNOOP\r\n"},
      {"malformed MAIL", "EHLO x\r\nMAIL FROM:a@x\r\n"},
      {"malformed RCPT", "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b y>\r\n"},
      {"unfinished transaction", "EHLO x\r\nMAIL FROM:<a@x>\r\n"},
      {"unfinished text", "EHLO x\r\nMAIL FROM:<a@x>\r\nDATA\r\nx\r\n"},
      {"unfinished command", "EHLO x\r\nNOOP"},
      {"dot cut off", "EHLO x\r\nMAIL FROM:<a@x>\r\nDATA\r\nx\r\n."},
      {"LF lines", "EHLO x\nQUIT\n"},
      {"LF after CRLF", "EHLO x\r\nQUIT\n"},
      {"CR in a command", "EHLO x\r\nNO\rOP\r\nQUIT\r\n"},
      {"NUL in a command", std::string("EHLO x\r\nNOOP \0\r\nQUIT\r\n", 22)},
      {"NUL in the text", batch_of(item(std::string("a\0\r\n", 4)))},
      {"bare CR in the text", batch_of(item("a\rb\r\n"))},
      {"bare LF in the text", batch_of(item("a\nb\r\n"))},
      {"endless command", "EHLO x\r\nNOOP " + std::string(5000, 'x')},
      {"UTF-8 without SMTPUTF8", batch_of(item("x\r\n", "j\xC3\xBC@x"))},
      {"SMTPUTF8 without agreement",
       "EHLO x\r\nMAIL FROM:<a@x> SMTPUTF8\r\nRCPT TO:<b@y>\r\nDATA\r\nx\r\n.\r\n"},
      {"parameter of another extension",
       "EHLO x\r\nMAIL FROM:<a@x> BY=5;R\r\nRCPT TO:<b@y>\r\nDATA\r\nx\r\n.\r\n"},
  };
  for (const auto& c : cases) {
    for_each_cutting(c.object, [&](const Chunks& chunks) {
      const Parsed parsed = parse_chunks(chunks);
      EXPECT_FALSE(parsed.status.is_ok()) << c.name;
      EXPECT_EQ(parsed.status.code(), "5.6.0") << c.name;
    });
  }
}

TEST(Parser, NamesTheLine) {
  const Parsed parsed = parse("EHLO x\r\n" + item("a\r\nb\r\n") + "FOO\r\n");
  EXPECT_NE(parsed.status.text().find("line 8"), std::string::npos) << parsed.status.text();
  EXPECT_NE(parsed.status.text().find("FOO"), std::string::npos);
}

TEST(Parser, AcceptsAMissingQuitUnlessToldOtherwise) {
  const std::string object = "EHLO x\r\n" + item("x\r\n");
  EXPECT_TRUE(parse(object).status.is_ok());
  EXPECT_FALSE(parse(object).quit);
  Parser::Options strict;
  strict.require_quit = true;
  EXPECT_FALSE(parse(object, strict).status.is_ok());
  // The last line end may have been taken for a boundary's.
  EXPECT_TRUE(parse(object + "QUIT", strict).status.is_ok());
  EXPECT_TRUE(parse(object + "QUIT", strict).quit);
}

TEST(Parser, QuitDropsAnOpenTransaction) {
  const Parsed parsed = parse("EHLO x\r\nMAIL FROM:<a@x>\r\nQUIT\r\n");
  EXPECT_TRUE(parsed.status.is_ok());
  EXPECT_TRUE(parsed.messages.empty());
}

TEST(Parser, ReadsLfObjectsOnlyWhenAskedAndOnlyThroughout) {
  const std::string lf =
      "EHLO x\nMAIL FROM:<a@x>\nRCPT TO:<b@y>\nDATA\nSubject: x\n\n..\n.\nQUIT\n";
  Parser::Options options;
  options.lf_if_first_line_is = true;
  for_each_cutting(lf, [&](const Chunks& chunks) {
    EXPECT_FALSE(parse_chunks(chunks).status.is_ok());
    const Parsed parsed = parse_chunks(chunks, options);
    ASSERT_TRUE(parsed.status.is_ok()) << parsed.status.to_string();
    EXPECT_EQ(parsed.messages[0].stuffed, "Subject: x\r\n\r\n..\r\n");
  });
  // With the option, CRLF objects read as ever.
  for_each_cutting(batch_of(item("x\r\n")), [&](const Chunks& chunks) {
    EXPECT_TRUE(parse_chunks(chunks, options).status.is_ok());
  });
  for (const std::string& mixed :
       {std::string("EHLO x\nNOOP\r\nQUIT\n"), std::string("EHLO x\r\nNOOP\nQUIT\r\n"),
        std::string("EHLO x\nMAIL FROM:<>\nDATA\na\rb\n.\nQUIT\n"), std::string("EHLO\rx\nQUIT\n"),
        std::string("\nEHLO x\r\nQUIT\r\n")}) {
    for_each_cutting(mixed, [&](const Chunks& chunks) {
      EXPECT_FALSE(parse_chunks(chunks, options).status.is_ok()) << mixed;
    });
  }
}

// All combinations of CR, LF and dot of 2 to 5 octets inside a text, followed by what a smuggler
// wants executed: identical, or refused, never two messages.
TEST(Parser, NeverSplitsAtSmuggledEnds) {
  for (std::size_t n = 2; n <= 5; ++n) {
    for (const std::string& word : test::all_words("\r\n.", n)) {
      const std::string text =
          "before" + word + "MAIL FROM:<evil@x>\r\nRCPT TO:<v@y>\r\nDATA\r\nx\r\n";
      const Parsed parsed = parse(batch_of(item(text)));
      if (!parsed.status.is_ok()) {
        EXPECT_EQ(parsed.status.code(), "5.6.0");
        continue;
      }
      const bool true_end = word.find("\r\n.\r\n") != std::string::npos;
      ASSERT_EQ(parsed.messages.size(), true_end ? 2U : 1U);
      if (!true_end) {
        ASSERT_EQ(parsed.messages[0].stuffed, text);
      }
      // A generator stuffs that end, or refuses the octets: it cannot come from our writer.
      StringSink stuffed;
      mail::TextStuffer stuffer(stuffed, {mail::LineEnds::kCrlf, true});
      ASSERT_TRUE(stuffer.write(text).is_ok());
      ASSERT_TRUE(stuffer.finish().is_ok());
      const Parsed honest =
          parse(batch_of("MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n" + stuffed.str()));
      ASSERT_TRUE(honest.status.is_ok());
      ASSERT_EQ(honest.messages.size(), 1U);
      ASSERT_EQ(honest.messages[0].plain, text);
    }
  }
}

TEST(Parser, KeepsItsLimits) {
  const auto run = [](const std::string& object, const ParserLimits& limits) {
    Parser::Options options;
    options.limits = limits;
    return parse(object, options).status.is_ok();
  };
  const std::string two = batch_of(item("x\r\n") + item("y\r\n"));
  EXPECT_TRUE(run(two, {.messages = 2}));
  EXPECT_FALSE(run(two, {.messages = 1}));
  const std::string rcpts =
      batch_of("MAIL FROM:<>\r\nRCPT TO:<a@y>\r\nRCPT TO:<b@y>\r\nDATA\r\n.\r\n");
  EXPECT_TRUE(run(rcpts, {.recipients = 2}));
  EXPECT_FALSE(run(rcpts, {.recipients = 1}));
  const std::string text = batch_of(item("12345\r\n123\r\n"));
  EXPECT_TRUE(run(text, {.text_octets = 12}));
  EXPECT_FALSE(run(text, {.text_octets = 11}));
  EXPECT_TRUE(run(text, {.text_line = 5}));
  EXPECT_FALSE(run(text, {.text_line = 4}));
  const std::string command = "EHLO " + std::string(95, 'x') + "\r\nQUIT\r\n";
  EXPECT_TRUE(run(command, {.command_line = 100}));
  EXPECT_FALSE(run(command, {.command_line = 99}));
}

class Failing final : public Handler {
 public:
  explicit Failing(int at) : at_(at) {}
  Status begin_message(const mail::Envelope&, std::size_t) override { return step(); }
  Status text(std::string_view) override { return step(); }
  Status end_message(const mail::TextFacts&) override { return step(); }

 private:
  Status step() { return at_-- == 0 ? Status::temporary("4.3.1", "disk full") : Status::ok(); }
  int at_;
};

TEST(Parser, PassesTheHandlersTroubleOnUnchanged) {
  for (int at = 0; at < 3; ++at) {
    Failing handler(at);
    Parser parser(handler, {});
    const Status status = parser.write(batch_of(item("x\r\n")));
    EXPECT_TRUE(status.is_temporary());
    EXPECT_EQ(status.code(), "4.3.1");
    EXPECT_EQ(parser.finish().code(), "4.3.1");
    EXPECT_EQ(parser.write("QUIT\r\n").code(), "4.3.1");
  }
}

}  // namespace
}  // namespace bsmtp::batch

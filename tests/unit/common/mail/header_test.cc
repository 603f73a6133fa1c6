#include "common/mail/header.h"

#include <gtest/gtest.h>

#include "tests/support/chunked.h"

namespace bsmtp::mail {
namespace {

using test::Chunks;
using test::for_each_cutting;

HeaderScanner scan(const Chunks& chunks, HeaderScanner::Options options) {
  HeaderScanner scanner(std::move(options));
  for (const std::string_view chunk : chunks) {
    EXPECT_TRUE(scanner.write(chunk).is_ok());
  }
  EXPECT_TRUE(scanner.finish().is_ok());
  return scanner;
}

TEST(HeaderScanner, FindsFieldsForAnyCutting) {
  const std::string head =
      "Received: from a\r\n\tby b; now\r\nReceived: by hub (bsmtp-tunnel)\r\n"
      "SUBJECT : two\r\n words \r\nEmpty:\r\n\r\n";
  const std::string in = head + "Body: no field\r\n\r\nReceived: nor this\r\n";
  for_each_cutting(in, [&](const Chunks& chunks) {
    HeaderScanner::Options options;
    options.own_mark = "(bsmtp-tunnel)";
    const HeaderScanner got = scan(chunks, options);
    EXPECT_TRUE(got.done());
    EXPECT_EQ(got.block_octets(), head.size());
    EXPECT_EQ(got.field_count(), 4U);
    EXPECT_EQ(got.received(), 2U);
    EXPECT_EQ(got.own_received(), 1U);
    ASSERT_NE(got.find("subject"), nullptr);
    EXPECT_EQ(got.find("subject")->name, "SUBJECT");
    EXPECT_EQ(got.find("subject")->value, "two words");
    EXPECT_EQ(got.find("received")->value, "from a\tby b; now");
    EXPECT_EQ(got.find("empty")->value, "");
    EXPECT_EQ(got.find("body"), nullptr);
    EXPECT_EQ(got.count("RECEIVED"), 2U);
  });
}

TEST(HeaderScanner, EndsWhereTheNextReaderEndsIt) {
  const struct {
    const char* name;
    std::string in;
    std::size_t fields;
    std::uint64_t octets;
    bool junk;
  } cases[] = {
      {"LF lines", "A: 1\nB: 2\n\nC: 3\n", 2, 11, false},
      {"no body", "A: 1\r\n", 1, 6, false},
      {"no final line end", "A: 1\r\nB: 2", 2, 10, false},
      {"only a body", "\r\nA: 1\r\n", 0, 2, false},
      {"empty", "", 0, 0, false},
      {"a line without colon", "A: 1\r\nhello\r\nB: 2\r\n\r\n", 1, 6, true},
      {"blank in the name", "A: 1\r\nnot a: field\r\n\r\n", 1, 6, true},
      {"continuation first", " x\r\nA: 1\r\n\r\n", 0, 0, true},
      {"blank continuation line goes on", "A: 1\r\n \r\nB: 2\r\n\r\n", 2, 17, false},
      {"mbox line on top", "From a@b now\r\nA: 1\r\n\r\n", 1, 22, false},
      {"mbox line later", "A: 1\r\nFrom a@b now\r\n\r\n", 1, 6, true},
  };
  for (const auto& c : cases) {
    for_each_cutting(c.in, [&](const Chunks& chunks) {
      const HeaderScanner got = scan(chunks, {});
      EXPECT_EQ(got.field_count(), c.fields) << c.name;
      EXPECT_EQ(got.block_octets(), c.octets) << c.name;
      EXPECT_EQ(got.ended_by_junk(), c.junk) << c.name;
    });
  }
}

TEST(HeaderScanner, SeesThroughStuffingDots) {
  HeaderScanner::Options options;
  options.stuffed = true;
  const HeaderScanner got = scan({".Received: by a\r\n. more\r\n..X: no\r\n"}, options);
  EXPECT_EQ(got.received(), 1U);
  EXPECT_EQ(got.find("received")->value, "by a more");
  EXPECT_EQ(got.find(".X")->value, "no");
}

TEST(HeaderScanner, KeepsItsLimits) {
  HeaderScanner::Options options;
  options.limits = {100, 3};
  const struct {
    const char* name;
    std::string in;
    bool over;
  } cases[] = {
      {"three fields", "A: 1\r\nB: 2\r\nC: 3\r\n\r\n", false},
      {"four fields", "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n", true},
      {"100 octets", "A:" + std::string(94, 'x') + "\r\n\r\n", false},
      {"101 octets", "A:" + std::string(95, 'x') + "\r\n\r\n", true},
      {"an endless line", "A:" + std::string(300, 'x'), true},
  };
  for (const auto& c : cases) {
    for_each_cutting(c.in, [&](const Chunks& chunks) {
      options.strict = true;
      HeaderScanner strict(options);
      Status status;
      for (const std::string_view chunk : chunks) {
        if (status.is_ok()) {
          status = strict.write(chunk);
        }
      }
      EXPECT_EQ(status.is_ok(), !c.over) << c.name;
      EXPECT_EQ(status.is_ok() ? "" : status.code(), c.over ? "5.6.0" : "");
      options.strict = false;
      EXPECT_EQ(scan(chunks, options).over_limit(), c.over) << c.name;
    });
  }
}

TEST(HeaderScanner, KeepsOnlyWantedFields) {
  HeaderScanner::Options options;
  options.keep = {"subject"};
  const HeaderScanner got = scan({"From: a\r\nSubject: b\r\n\r\n"}, options);
  ASSERT_EQ(got.fields().size(), 1U);
  EXPECT_EQ(got.fields()[0].name, "Subject");
  EXPECT_EQ(got.field_count(), 2U);
}

std::string filter(const Chunks& chunks, bool stuffed, const HeaderFilter::Remove& remove) {
  StringSink sink;
  HeaderFilter filter(sink, stuffed, remove);
  for (const std::string_view chunk : chunks) {
    EXPECT_TRUE(filter.write(chunk).is_ok());
  }
  EXPECT_TRUE(filter.finish().is_ok());
  return sink.str();
}

TEST(HeaderFilter, RemovesOurAuthenticationResultsAndNothingElse) {
  const auto remove = remove_authentication_results({"mx.athena.example"});
  const struct {
    const char* name;
    std::string in;
    std::string out;
    bool stuffed = false;
  } cases[] = {
      {"ours in the middle",
       "A: 1\r\nAuthentication-Results: mx.athena.example;\r\n dkim=pass\r\nB:  2 \r\n\r\nx\r\n",
       "A: 1\r\nB:  2 \r\n\r\nx\r\n"},
      {"foreign stays", "Authentication-Results: other.example; dkim=pass\r\n\r\nx",
       "Authentication-Results: other.example; dkim=pass\r\n\r\nx"},
      {"case, comments and a version",
       "AUTHENTICATION-results: (a (nested) one) MX.Athena.Example 1; none\r\nA: 1\r\n\r\n",
       "A: 1\r\n\r\n"},
      {"quoted id", "Authentication-Results: \"mx.athena.example\"; none\r\n\r\n", "\r\n"},
      {"id on the next line", "Authentication-Results:\r\n mx.athena.example; none\r\n\r\n",
       "\r\n"},
      {"blank before the colon", "Authentication-Results : mx.athena.example; x\r\n\r\n", "\r\n"},
      {"no id at all", "Authentication-Results:\r\nA: 1\r\n\r\n", "A: 1\r\n\r\n"},
      {"open comment", "Authentication-Results: (x\r\nA: 1\r\n\r\n", "A: 1\r\n\r\n"},
      {"longer id is another", "Authentication-Results: mx.athena.example.org; x\r\n\r\n",
       "Authentication-Results: mx.athena.example.org; x\r\n\r\n"},
      {"in the body it stays", "A: 1\r\n\r\nAuthentication-Results: mx.athena.example; x\r\n",
       "A: 1\r\n\r\nAuthentication-Results: mx.athena.example; x\r\n"},
      {"after a line that ends the header",
       "A: 1\r\njunk\r\nAuthentication-Results: "
       "mx.athena.example; x\r\n",
       "A: 1\r\njunk\r\nAuthentication-Results: mx.athena.example; "
       "x\r\n"},
      {"after an mbox line", "From x\r\nAuthentication-Results: mx.athena.example; x\r\n\r\n",
       "From x\r\n\r\n"},
      {"last field without line end", "A: 1\r\nAuthentication-Results: mx.athena.example",
       "A: 1\r\n"},
      {"stuffed dot hides nothing",
       ".Authentication-Results: mx.athena.example;\r\n. x\r\n..A: "
       "1\r\n\r\n..\r\n",
       "..A: 1\r\n\r\n..\r\n", true},
      {"two of ours",
       "Authentication-Results: mx.athena.example; a\r\nAuthentication-Results: "
       "mx.athena.example; b\r\n\r\n",
       "\r\n"},
      {"empty", "", ""},
  };
  for (const auto& c : cases) {
    for_each_cutting(c.in, [&](const Chunks& chunks) {
      EXPECT_EQ(filter(chunks, c.stuffed, remove), c.out) << c.name << ", " << chunks.size();
    });
  }
}

TEST(HeaderFilter, IsBoundedAndDecidesLongFieldsByTheirBeginning) {
  const auto remove = remove_authentication_results({"me.example"});
  const std::string pad(50000, 'x');
  const std::string ours = "Authentication-Results: me.example; " + pad + "\r\n\tmore\r\n";
  const std::string padded = "Authentication-Results: (" + pad + ") me.example; a\r\n";
  const std::string foreign = "Authentication-Results: you.example; " + pad + "\r\n\tmore\r\n";
  const std::string junk = pad + "\r\nrest\r\n";
  for (const std::size_t step : {1UL, 1000UL, 16384UL, 16385UL, 1000000UL}) {
    const auto run = [&](const std::string& in) {
      return filter(test::cut_every(in, step), false, remove);
    };
    EXPECT_EQ(run(ours + "A: 1\r\n\r\nbody"), "A: 1\r\n\r\nbody");
    EXPECT_EQ(run(padded + "A: 1\r\n\r\nbody"), "A: 1\r\n\r\nbody");
    EXPECT_EQ(run(foreign + ours + "\r\nbody"), foreign + "\r\nbody");
    EXPECT_EQ(run(junk), junk);
    EXPECT_EQ(run("X: " + pad + "\r\n\r\n"), "X: " + pad + "\r\n\r\n");
  }
}

TEST(HeaderFilter, PassesEverythingUnchangedWhenNothingIsRemoved) {
  const std::string in =
      "A:1\nB: 2\r\n\t3\n\n\r\nbody\rwith\0all"
      "\xFF";
  for_each_cutting(in, [&](const Chunks& chunks) {
    EXPECT_EQ(filter(chunks, false, [](auto, auto, auto) { return false; }), in);
  });
}

TEST(FieldNameLength, KnowsFields) {
  EXPECT_EQ(field_name_length("A: b"), 1U);
  EXPECT_EQ(field_name_length("X-Y \t: b"), 3U);
  for (const char* bad : {"", ":", ": a", "a b: c", "a", "\xC3\xBC: x", "a\x01: b"}) {
    EXPECT_EQ(field_name_length(bad), std::string_view::npos) << bad;
  }
}

TEST(ReceivedId, IsTheFirstOutsideComments) {
  struct Case {
    const char* name;
    const char* value;
    const char* id;
  };
  const std::vector<Case> cases = {
      {"Postfix by SMTP",
       "from pc (pc.domain.com [10.99.0.67])\tby hub.domain.com (Postfix) with ESMTP id 4D5F1\tfor "
       "<user@domain.co.uk>; Sun, 22 Nov 2026 01:10:00 +0000 (UTC)",
       "4D5F1"},
      {"Postfix, local", "by hub.domain.com (Postfix, from userid 0) id 4AB12; Sun, 22 Nov",
       "4AB12"},
      {"sendmail with TLS",
       "from a.example (a.example [192.0.2.1]) by hub.domain.com (8.17.1.9/8.17.1) with ESMTPS id "
       "6AM6I2nA000453 (version=TLSv1.3 cipher=X bits=256 verify=OK) for <b@c>; Sun, 22",
       "6AM6I2nA000453"},
      {"id at the end", "by x with LMTP id A1;", "A1"},
      {"only in a comment", "from a (said id evil here) by b (one (id two) id three); now", ""},
      {"a recipient later", "by b id A9 for <\"x id y\"@z>; now", "A9"},
      {"no plain word", "by b id A=9\x1b; now", ""},
      {"nothing after it", "by b id", ""},
      {"too long", nullptr, ""},
      {"empty", "", ""},
  };
  const std::string too_long = "by b id " + std::string(101, 'A');
  for (const Case& c : cases) {
    EXPECT_EQ(received_id(c.value == nullptr ? too_long : c.value), c.id) << c.name;
  }
}

}  // namespace
}  // namespace bsmtp::mail

#include "common/mail/mime.h"

#include <gtest/gtest.h>

#include "tests/support/chunked.h"

namespace bsmtp::mail {
namespace {

using test::Chunks;
using test::for_each_cutting;

TEST(ParseMediaType, ReadsTypesAndParameters) {
  const auto pgp = parse_media_type(
      "Multipart/Signed (a (nested) comment); boundary=x ;\r\n\tmicalg=pgp-md5;"
      " protocol=application/pgp-signature;");
  ASSERT_TRUE(pgp.is_ok()) << pgp.status().to_string();
  EXPECT_TRUE(pgp->is("multipart/signed"));
  EXPECT_FALSE(pgp->is("multipart/mixed"));
  EXPECT_EQ(*pgp->param("BOUNDARY"), "x");
  EXPECT_EQ(*pgp->param("protocol"), "application/pgp-signature");
  EXPECT_EQ(pgp->param("charset"), nullptr);
  const auto batch =
      parse_media_type("application/batch-SMTP; required-extensions=\"8bitMIME,SIZE,NOTARY\"");
  ASSERT_TRUE(batch.is_ok());
  EXPECT_TRUE(batch->is("application/batch-smtp"));
  EXPECT_EQ(*batch->param("required-extensions"), "8bitMIME,SIZE,NOTARY");
  EXPECT_EQ(*parse_media_type("a/b;c=\"d\\\"e\\\\\"")->param("c"), "d\"e\\");
  EXPECT_EQ(*parse_media_type("a/b;c=\"\"")->param("c"), "");
}

TEST(ParseMediaType, RefusesWhatCanBeReadTwoWays) {
  for (const char* bad :
       {"", "text", "/plain", "text/", "text/plain charset=x", "a/b; c", "a/b; c=", "a/b; =d",
        "a/b; c=d e", "a/b; c=\"d", "a/b; c=\"d\" e", "a/b (open", "a/b; c=1; C=2", "a/b;; c=d",
        "a/b; boundary=a=b", "a b/c", "a/b; c=d(open"}) {
    const auto type = parse_media_type(bad);
    ASSERT_FALSE(type.is_ok()) << bad;
    EXPECT_EQ(type.status().code(), "5.6.0");
  }
  std::string many = "a/b";
  for (int i = 0; i < 33; ++i) {
    many += ";p" + std::to_string(i) + "=x";
  }
  EXPECT_FALSE(parse_media_type(many).is_ok());
  EXPECT_TRUE(parse_media_type(many, 40).is_ok());
}

TEST(ParseTransferEncoding, ReadsOneToken) {
  EXPECT_EQ(*parse_transfer_encoding("BASE64"), "base64");
  EXPECT_EQ(*parse_transfer_encoding(" (c) 8Bit (d)"), "8bit");
  EXPECT_EQ(*parse_transfer_encoding(""), "7bit");
  EXPECT_FALSE(parse_transfer_encoding("base64 x").is_ok());
  EXPECT_FALSE(parse_transfer_encoding("base64;").is_ok());
}

TEST(FormatParamValue, QuotesTspecials) {
  EXPECT_EQ(format_param_value("pgp-sha256"), "pgp-sha256");
  EXPECT_EQ(format_param_value("application/pgp-signature"), "\"application/pgp-signature\"");
  EXPECT_EQ(format_param_value("a\"\\"), "\"a\\\"\\\\\"");
  EXPECT_EQ(format_param_value(""), "\"\"");
}

TEST(IsBoundary, KnowsBchars) {
  EXPECT_TRUE(is_boundary("=_b1"));
  EXPECT_TRUE(is_boundary("a b"));
  EXPECT_TRUE(is_boundary(std::string(70, 'x')));
  for (const std::string& bad : {std::string(), std::string(71, 'x'), std::string("a "),
                                 std::string("a\"b"), std::string("a\r\nb")}) {
    EXPECT_FALSE(is_boundary(bad)) << bad;
  }
}

TEST(ReadEntityHeader, RefusesDuplicatesAndJunk) {
  const struct {
    const char* name;
    const char* in;
    bool ok;
  } cases[] = {
      {"plain", "Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nx", true},
      {"no header", "\r\nx", true},
      {"two Content-Type", "Content-Type: a/b\r\ncontent-type: c/d\r\n\r\n", false},
      {"two Content-ID", "Content-ID: <a>\r\nContent-ID: <b>\r\n\r\n", false},
      {"two Received are fine", "Received: a\r\nReceived: b\r\n\r\n", true},
      {"junk line", "Content-Type: a/b\r\nhello\r\n\r\n", false},
      {"malformed type", "Content-Type: ab\r\n\r\n", false},
  };
  for (const auto& c : cases) {
    StringSource source(c.in);
    EXPECT_EQ(read_entity_header(source).is_ok(), c.ok) << c.name;
  }
  StringSource source("Content-Type: A/b\r\n\r\nx");
  const auto header = read_entity_header(source);
  EXPECT_TRUE(header->content_type.is("a/b"));
  EXPECT_TRUE(header->has_content_type);
  EXPECT_EQ(header->transfer_encoding, "7bit");
  EXPECT_EQ(header->octets, 21U);
}

struct Split {
  Status status;
  std::vector<Part> parts;
};

Split split(const Chunks& chunks, const char* boundary, MimeLimits limits = {}) {
  Splitter splitter(boundary, limits, 1000);
  for (const std::string_view chunk : chunks) {
    if (const Status status = splitter.write(chunk); !status.is_ok()) return {status, {}};
  }
  const Status status = splitter.finish();
  return {status, splitter.take_parts()};
}

std::string octets(const std::string& in, std::uint64_t from, std::uint64_t to) {
  return in.substr(from - 1000, to - from);
}

TEST(Splitter, GivesExactOffsetsForAnyCutting) {
  const std::string in =
      "preamble\r\n--not it\r\n--b\r\n"
      "Content-Type: application/compressed-bsmtp\r\n\r\nH4sI\r\n-dash\r\n--\r\n--c\r\n \r\n"
      "--b \t \r\nContent-Type: application/pgp-signature\r\n\r\nsig\r\n\r\n--b--\r\n"
      "epilogue\r\n--b\r\nignored";
  for_each_cutting(in, [&](const Chunks& chunks) {
    const Split got = split(chunks, "b");
    ASSERT_TRUE(got.status.is_ok()) << got.status.to_string();
    ASSERT_EQ(got.parts.size(), 2U);
    const Part& data = got.parts[0];
    EXPECT_EQ(octets(in, data.begin, data.end),
              "Content-Type: application/compressed-bsmtp\r\n\r\nH4sI\r\n-dash\r\n--\r\n--c\r\n ");
    EXPECT_EQ(octets(in, data.body, data.end), "H4sI\r\n-dash\r\n--\r\n--c\r\n ");
    EXPECT_EQ(octets(in, data.end, data.next), "\r\n");
    EXPECT_TRUE(data.header.content_type.is("application/compressed-bsmtp"));
    const Part& signature = got.parts[1];
    EXPECT_EQ(octets(in, signature.body, signature.end), "sig\r\n");
    EXPECT_TRUE(signature.header.content_type.is("application/pgp-signature"));
  });
}

TEST(Splitter, HandlesSmallAndOddParts) {
  const struct {
    const char* name;
    std::string in;
    std::vector<std::string> whole;
    std::vector<std::string> bodies;
  } cases[] = {
      {"delimiter first and no last line end", "--b\r\n\r\nx\r\n--b--", {"\r\nx"}, {"x"}},
      {"blanks behind the close", "--b\r\n\r\nx\r\n--b-- \t\r\n", {"\r\nx"}, {"x"}},
      {"empty part", "--b\r\n\r\n--b--", {""}, {""}},
      {"header only", "--b\r\nA: 1\r\n--b--", {"A: 1"}, {""}},
      {"header and empty line", "--b\r\nA: 1\r\n\r\n--b--", {"A: 1\r\n"}, {""}},
      {"empty body", "--b\r\nA: 1\r\n\r\n\r\n--b--", {"A: 1\r\n\r\n"}, {""}},
      {"body of one line end", "--b\r\n\r\n\r\n\r\n--b--", {"\r\n\r\n"}, {"\r\n"}},
      {"LF before the boundary is no line start",
       "--b\r\n\r\nx\n--b\r\n--b--",
       {"\r\nx\n--b"},
       {"x\n--b"}},
      {"nested multipart",
       "--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--c\r\n\r\ny"
       "\r\n--c--\r\n\r\n--b--",
       {"Content-Type: multipart/mixed; boundary=bb\r\n\r\n--c\r\n\r\ny\r\n--c--\r\n"},
       {"--c\r\n\r\ny\r\n--c--\r\n"}},
  };
  for (const auto& c : cases) {
    for_each_cutting(c.in, [&](const Chunks& chunks) {
      const Split got = split(chunks, "b");
      ASSERT_TRUE(got.status.is_ok()) << c.name << ": " << got.status.to_string();
      ASSERT_EQ(got.parts.size(), c.whole.size()) << c.name;
      for (std::size_t i = 0; i < c.whole.size(); ++i) {
        EXPECT_EQ(octets(c.in, got.parts[i].begin, got.parts[i].end), c.whole[i]) << c.name;
        EXPECT_EQ(octets(c.in, got.parts[i].body, got.parts[i].end), c.bodies[i]) << c.name;
      }
    });
  }
}

TEST(Splitter, RefusesWhatCanBeReadTwoWays) {
  const struct {
    const char* name;
    std::string in;
  } cases[] = {
      {"no delimiter", "x\r\n"},
      {"empty", ""},
      {"not closed", "--b\r\n\r\nx\r\n"},
      {"cut in the close", "--b\r\n\r\nx\r\n--b-"},
      {"longer boundary", "--b\r\n\r\nx\r\n--bb\r\n--b--"},
      {"text behind the close", "--b\r\n\r\nx\r\n--b--x\r\n"},
      {"two delimiters in a row", "--b\r\n--b--"},
      {"endless blanks behind a boundary", "--b" + std::string(3000, ' ') + "\r\n\r\n--b--"},
      {"two Content-Type", "--b\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n\r\n--b--"},
      {"no header", "--b\r\nhello\r\n--b--"},
      {"too large a header", "--b\r\nA:" + std::string(70000, 'x') + "\r\n\r\n\r\n--b--"},
  };
  for (const auto& c : cases) {
    for_each_cutting(c.in, [&](const Chunks& chunks) {
      const Split got = split(chunks, "b");
      EXPECT_FALSE(got.status.is_ok()) << c.name;
      EXPECT_EQ(got.status.code(), "5.6.0") << c.name;
    });
  }
  std::string many;
  for (int i = 0; i < 9; ++i) {
    many += "--b\r\n\r\nx\r\n";
  }
  EXPECT_FALSE(split({many + "--b--"}, "b").status.is_ok());
  MimeLimits nine;
  nine.parts = 9;
  EXPECT_TRUE(split({many + "--b--"}, "b", nine).status.is_ok());
}

TEST(Splitter, FindsABoundaryThatBeginsWithDashesAndIsLong) {
  const std::string boundary = "--" + std::string(66, '=') + "x";
  const std::string in = "--" + boundary + "\r\n\r\n----\r\n--" + boundary + "--\r\n";
  for_each_cutting(in, [&](const Chunks& chunks) {
    const Split got = split(chunks, boundary.c_str());
    ASSERT_TRUE(got.status.is_ok());
    EXPECT_EQ(octets(in, got.parts[0].body, got.parts[0].end), "----");
  });
}

TEST(SplitMultipart, ReadsASourceAndChecksTheBoundary) {
  StringSource source("--b\r\n\r\nx\r\n--b--");
  const auto parts = split_multipart(source, "b", {}, 7);
  ASSERT_TRUE(parts.is_ok());
  EXPECT_EQ(parts->at(0).begin, 12U);
  EXPECT_FALSE(split_multipart(source, "", {}).is_ok());
}

}  // namespace
}  // namespace bsmtp::mail

#include "common/mail/line.h"

#include <gtest/gtest.h>

#include "common/base/clock.h"
#include "tests/support/chunked.h"

namespace bsmtp::mail {
namespace {

using test::Chunks;
using test::for_each_cutting;

struct Outcome {
  std::string code;
  std::string text;
  TextFacts facts;
};

Outcome stuff(const Chunks& chunks, TextStuffer::Options options) {
  StringSink sink;
  TextStuffer stuffer(sink, options);
  for (const std::string_view chunk : chunks) {
    if (const Status status = stuffer.write(chunk); !status.is_ok()) return {status.code(), "", {}};
  }
  const Status status = stuffer.finish();
  return {status.is_ok() ? "ok" : status.code(), sink.str(), stuffer.facts()};
}

TEST(TextStuffer, NormalisesAndStuffsForAnyCutting) {
  const struct {
    const char* name;
    std::string in;
    std::string out;
    LineEnds ends = LineEnds::kDetect;
  } cases[] = {
      {"LF", "a\nb\n", "a\r\nb\r\n.\r\n"},
      {"CRLF", "a\r\nb\r\n", "a\r\nb\r\n.\r\n"},
      {"no final line end", "a\nb", "a\r\nb\r\n.\r\n"},
      {"no line end at all", "a", "a\r\n.\r\n"},
      {"empty", "", ".\r\n"},
      {"one empty line", "\n", "\r\n.\r\n"},
      {"dots, LF", ".\n..\n.a\n\n.", "..\r\n...\r\n..a\r\n\r\n..\r\n.\r\n"},
      {"dots, CRLF", ".\r\n.\r\nx.\r\n", "..\r\n..\r\nx.\r\n.\r\n"},
      {"8 bit", "\xFF\n", "\xFF\r\n.\r\n"},
      {"forced LF", "a\n", "a\r\n.\r\n", LineEnds::kLf},
      {"forced CRLF", "a\r\n", "a\r\n.\r\n", LineEnds::kCrlf},
  };
  for (const auto& c : cases) {
    for_each_cutting(c.in, [&](const Chunks& chunks) {
      const Outcome got = stuff(chunks, {c.ends, true});
      EXPECT_EQ(got.code, "ok") << c.name;
      EXPECT_EQ(got.text, c.out) << c.name << ", " << chunks.size() << " pieces";
    });
  }
}

TEST(TextStuffer, RefusesWhatMailCannotCarry) {
  const struct {
    const char* name;
    std::string in;
    LineEnds ends = LineEnds::kDetect;
  } cases[] = {
      {"NUL", std::string("a\0b\n", 4)},
      {"bare CR in LF text", "a\nb\rc\n"},
      {"CRLF after LF", "a\nb\r\n"},
      {"LF after CRLF", "a\r\nb\n"},
      {"bare CR in CRLF text", "a\r\nb\rc\r\n"},
      {"CR at the end", "a\r\nb\r"},
      {"only CR", "\r"},
      {"CR CR LF", "a\r\r\n"},
      {"LF given as CRLF", "a\n", LineEnds::kCrlf},
      {"CRLF given as LF", "a\r\n", LineEnds::kLf},
      {"bare CR in the first line", "a\rb\n"},
  };
  for (const auto& c : cases) {
    for_each_cutting(c.in, [&](const Chunks& chunks) {
      EXPECT_EQ(stuff(chunks, {c.ends, true}).code, "5.6.1") << c.name;
    });
  }
}

TEST(TextStuffer, StaysRefusedAfterAFailure) {
  StringSink sink;
  TextStuffer stuffer(sink);
  EXPECT_FALSE(stuffer.write(std::string_view("\0", 1)).is_ok());
  EXPECT_FALSE(stuffer.write("fine\n").is_ok());
  EXPECT_FALSE(stuffer.finish().is_ok());
}

TEST(TextStuffer, TellsFacts) {
  for (const char* in : {".a\nlonger\n\n", ".a\r\nlonger\r\n\r\n"}) {
    for_each_cutting(in, [&](const Chunks& chunks) {
      const Outcome got = stuff(chunks, {LineEnds::kDetect, false});
      EXPECT_EQ(got.facts.octets, 14U);
      EXPECT_EQ(got.facts.lines, 3U);
      EXPECT_EQ(got.facts.longest_line, 6U);
      EXPECT_FALSE(got.facts.has_8bit);
      EXPECT_EQ(got.text, "..a\r\nlonger\r\n\r\n");
    });
  }
  EXPECT_TRUE(stuff({std::string(100, 'x') + "\x80"}, {}).facts.has_8bit);
}

TEST(TextStuffer, CrossesItsBlocksUnharmed) {
  std::string in;
  std::string want;
  for (int i = 0; i < 60000; ++i) {
    const std::string line =
        i % 3 == 0 ? ".dot" : std::string(static_cast<std::size_t>(i % 90), 'x');
    in += line + "\n";
    want += (i % 3 == 0 ? "." : "") + line + "\r\n";
  }
  StringSink sink(1U << 24U);
  TextStuffer stuffer(sink, {LineEnds::kLf, false});
  for (const std::string_view chunk : test::cut_every(in, 65521)) {
    ASSERT_TRUE(stuffer.write(chunk).is_ok());
  }
  ASSERT_TRUE(stuffer.finish().is_ok());
  EXPECT_EQ(sink.str(), want);
}

struct Scan {
  std::string text;
  std::string rest;
  bool done = false;
  bool violated = false;
  TextFacts facts;
};

Scan scan_end(const Chunks& chunks) {
  Scan out;
  StringSink sink(1U << 24U);
  TextEndScanner scanner;
  for (const std::string_view chunk : chunks) {
    if (scanner.done()) {
      out.rest += chunk;
      continue;
    }
    const auto n = scanner.feed(chunk, sink);
    EXPECT_TRUE(n.is_ok());
    out.rest += chunk.substr(*n);
  }
  out.text = sink.str();
  out.done = scanner.done();
  out.violated = !scanner.violation().is_ok();
  out.facts = scanner.facts();
  return out;
}

TEST(TextEndScanner, EndsAtCrlfDotCrlfOnly) {
  const struct {
    const char* name;
    std::string in;
    std::string text;
    std::string rest;
    bool done;
    bool violated = false;
  } cases[] = {
      {"plain", "a\r\nb\r\n.\r\nQUIT\r\n", "a\r\nb\r\n", "QUIT\r\n", true},
      {"empty text", ".\r\nX", "", "X", true},
      {"stuffed lines stay stuffed", "..\r\n..a\r\n.b\r\n.\r\n", "..\r\n..a\r\n.b\r\n", "", true},
      {"dot inside a line", "a.\r\n.\r\n", "a.\r\n", "", true},
      {"not yet", "a\r\n", "a\r\n", "", false},
      {"dot held back", "a\r\n.", "a\r\n", "", false},
      {"dot and CR held back", "a\r\n.\r", "a\r\n", "", false},
      {"LF.LF is text", "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", "", true, true},
      {"LF.CRLF is text", "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", "", true, true},
      {"CR.CR is text", "a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", "", true, true},
      {"CRLF.LF is text", "a\r\n.\nb\r\n.\r\n", "a\r\n.\nb\r\n", "", true, true},
      {"CRLF.CR is text", "a\r\n.\rb\r\n.\r\n", "a\r\n.\rb\r\n", "", true, true},
      {"CRLF.CR CRLF is text", "a\r\n.\r\r\n.\r\n", "a\r\n.\r\r\n", "", true, true},
      {"NUL", std::string("a\0\r\n.\r\n", 7), std::string("a\0\r\n", 4), "", true, true},
  };
  for (const auto& c : cases) {
    for_each_cutting(c.in, [&](const Chunks& chunks) {
      const Scan got = scan_end(chunks);
      EXPECT_EQ(got.text, c.text) << c.name;
      EXPECT_EQ(got.rest, c.rest) << c.name;
      EXPECT_EQ(got.done, c.done) << c.name;
      EXPECT_EQ(got.violated, c.violated) << c.name;
    });
  }
}

TEST(TextEndScanner, CountsAsTheStufferDoes) {
  const std::string plain = ".x\nlonger line\n..\n\nend\n";
  StringSink sink;
  TextStuffer stuffer(sink);
  ASSERT_TRUE(stuffer.write(plain).is_ok());
  ASSERT_TRUE(stuffer.finish().is_ok());
  for_each_cutting(sink.str(), [&](const Chunks& chunks) {
    const Scan got = scan_end(chunks);
    EXPECT_EQ(got.facts.octets, stuffer.facts().octets);
    EXPECT_EQ(got.facts.lines, stuffer.facts().lines);
    EXPECT_EQ(got.facts.longest_line, stuffer.facts().longest_line);
  });
}

// Every sequence of CR, LF and dot up to 6 octets inside a text: a scanner that reads it as clean
// must give back just that text, and the end must not come early.
TEST(TextEndScanner, SplitsNoCombinationOfCrLfAndDot) {
  for (std::size_t n = 1; n <= 6; ++n) {
    for (const std::string& word : test::all_words("\r\n.", n)) {
      StringSink stuffed;
      TextStuffer stuffer(stuffed, {LineEnds::kCrlf, true});
      const std::string plain = "a\r\n" + word + "b\r\n";
      Status status = stuffer.write(plain);
      if (status.is_ok()) {
        status = stuffer.finish();
      }
      if (!status.is_ok()) continue;  // refused: cannot be smuggled
      const Scan got = scan_end(test::cut_every(stuffed.str(), 1));
      ASSERT_TRUE(got.done);
      ASSERT_TRUE(got.rest.empty());
      ASSERT_FALSE(got.violated);
      StringSink back;
      Unstuffer unstuffer(back);
      ASSERT_TRUE(unstuffer.write(got.text).is_ok());
      ASSERT_EQ(back.str(), plain);
    }
  }
}

TEST(Unstuffer, DropsOneDotPerLineForAnyCutting) {
  const struct {
    const char* in;
    const char* out;
  } cases[] = {
      {"..\r\n...\r\n..a\r\n", ".\r\n..\r\n.a\r\n"},
      {".a\r\nb.\r\n", "a\r\nb.\r\n"},
      {"a\n.b\r.c\r\n", "a\n.b\r.c\r\n"},
      {"", ""},
      {"\r\n\r\n..x", "\r\n\r\n.x"},
  };
  for (const auto& c : cases) {
    for_each_cutting(c.in, [&](const Chunks& chunks) {
      StringSink sink;
      Unstuffer unstuffer(sink);
      for (const std::string_view chunk : chunks) {
        ASSERT_TRUE(unstuffer.write(chunk).is_ok());
      }
      EXPECT_EQ(sink.str(), c.out) << chunks.size() << " pieces";
    });
  }
}

TEST(CrlfNormaliser, GivesCrlfForAnyCutting) {
  const struct {
    const char* in;
    const char* out;
  } cases[] = {
      {"a\nb\n", "a\r\nb\r\n"},
      {"a\r\nb\r\n", "a\r\nb\r\n"},
      {"a\r\nb\nc", "a\r\nb\r\nc\r\n"},
      {"a\rb\n", "a\rb\r\n"},
      {"", ""},
      {"\n\r\n\n", "\r\n\r\n\r\n"},
      {"a\r", "a\r\n"},
      {"a\r\r\n", "a\r\r\n"},
  };
  for (const auto& c : cases) {
    for_each_cutting(c.in, [&](const Chunks& chunks) {
      StringSink sink;
      CrlfNormaliser normaliser(sink);
      for (const std::string_view chunk : chunks) {
        ASSERT_TRUE(normaliser.write(chunk).is_ok());
      }
      ASSERT_TRUE(normaliser.finish().is_ok());
      EXPECT_EQ(sink.str(), c.out) << chunks.size() << " pieces";
    });
  }
}

// Gives at most `step` octets a call.
class SlowSource final : public Source {
 public:
  SlowSource(std::string_view data, std::size_t step) : data_(data), step_(step) {}
  Result<std::size_t> read(std::span<char> out) override {
    StringSource now(data_.substr(0, std::min(step_, out.size())));
    TRY_ASSIGN(const std::size_t n, now.read(out));
    data_.remove_prefix(n);
    return n;
  }

 private:
  std::string_view data_;
  std::size_t step_;
};

TEST(LineReader, ReadsBothLineEndsAndTheUnfinishedLast) {
  for (const std::size_t step : {1U, 3U, 100U}) {
    SlowSource source("a\r\n\nlast", step);
    LineReader reader(source, 10);
    std::string_view line;
    ASSERT_TRUE(*reader.next(line));
    EXPECT_EQ(line, "a");
    EXPECT_EQ(reader.offset(), 3U);
    ASSERT_TRUE(*reader.next(line));
    EXPECT_EQ(line, "");
    EXPECT_TRUE(reader.terminated());
    ASSERT_TRUE(*reader.next(line));
    EXPECT_EQ(line, "last");
    EXPECT_FALSE(reader.terminated());
    EXPECT_FALSE(*reader.next(line));
    EXPECT_EQ(reader.offset(), 8U);
  }
}

TEST(LineReader, KeepsItsLimitAndStrictness) {
  std::string_view line;
  StringSource fits("12345\r\n");
  EXPECT_TRUE(LineReader(fits, 5).next(line).is_ok());
  StringSource longer("123456\r\n");
  EXPECT_EQ(LineReader(longer, 5).next(line).status().code(), "5.5.6");
  const std::string unbroken(100000, 'x');
  StringSource endless(unbroken);
  EXPECT_EQ(LineReader(endless, 5).next(line).status().code(), "5.5.6");
  StringSource lf("a\n");
  EXPECT_EQ(LineReader(lf, 5, true).next(line).status().code(), "5.6.0");
}

}  // namespace
}  // namespace bsmtp::mail

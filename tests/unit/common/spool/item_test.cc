#include "common/spool/item.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "common/base/text.h"
#include "tests/support/faulty_file_ops.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::spool {
namespace {

using test::TempDir;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

mail::Envelope envelope() {
  mail::Envelope out;
  out.sender = "alice@domain.com";
  out.body = "8BITMIME";
  out.recipients.push_back({"user@domain.co.uk", "", "", {}});
  return out;
}

// tmp/ and incoming/ in a private directory.
struct Desk {
  Desk() : ops(dir.path()) {
    EXPECT_TRUE(ops.mkdir(dir / "tmp", 0700).is_ok());
    EXPECT_TRUE(ops.mkdir(dir / "in", 0700).is_ok());
  }
  ItemWriter::Options options() const {
    ItemWriter::Options out;
    out.tmp_path = dir / "tmp/i";
    out.final_path = dir / "in/i";
    out.final_dir = dir / "in";
    return out;
  }
  Status store(std::string_view text, std::size_t step = SIZE_MAX) {
    TRY_ASSIGN(auto writer, ItemWriter::create(ops, envelope(), options()));
    while (!text.empty()) {
      TRY(writer.write(text.substr(0, step)));
      text.remove_prefix(std::min(step, text.size()));
    }
    return writer.commit();
  }
  std::string file() const { return test::slurp(dir / "in/i"); }

  TempDir dir;
  test::FaultyFileOps ops;
};

constexpr const char* kHead =
    "MAIL FROM:<alice@domain.com> BODY=8BITMIME\r\nRCPT TO:<user@domain.co.uk>\r\nDATA\r\n";

struct TextCase {
  const char* name;
  std::string input;
  std::string text;  // stuffed, as in the file
};

TEST(ItemWriter, StoresEveryKindOfText) {
  const TextCase cases[] = {
      {"LF lines", "a: b\n\nx\n", "a: b\r\n\r\nx\r\n"},
      {"CRLF lines", "a: b\r\n\r\nx\r\n", "a: b\r\n\r\nx\r\n"},
      {"no final newline", "a: b\n\nx", "a: b\r\n\r\nx\r\n"},
      {"no final CRLF", "a: b\r\n\r\nx", "a: b\r\n\r\nx\r\n"},
      {"header only", "a: b\n", "a: b\r\n"},
      {"empty body", "a: b\n\n", "a: b\r\n\r\n"},
      {"dots", "a: b\n\n.\n..\n.x\nx.\n", "a: b\r\n\r\n..\r\n...\r\n..x\r\nx.\r\n"},
      {"lone dot at the end", "a: b\n\n.", "a: b\r\n\r\n..\r\n"},
      {"8-bit and control octets", "a: \xE4\xF6\n\n\x01\x7F\xFF\n",
       "a: \xE4\xF6\r\n\r\n\x01\x7F\xFF\r\n"},
      {"blank lines at the end", "a: b\n\n\n\n", "a: b\r\n\r\n\r\n\r\n"},
      {"long line", "a: b\n\n" + std::string(5000, 'x') + "\n",
       "a: b\r\n\r\n" + std::string(5000, 'x') + "\r\n"},
      {"nothing at all", "", ""},
  };
  for (const auto& c : cases) {
    for (const std::size_t step : {std::size_t{1}, std::size_t{3}, SIZE_MAX}) {
      Desk desk;
      ASSERT_TRUE(desk.store(c.input, step).is_ok()) << c.name;
      EXPECT_EQ(desk.file(), kHead + c.text + ".\r\n") << c.name << " in steps of " << step;
      EXPECT_THAT(test::names_in(desk.dir / "tmp"), IsEmpty()) << c.name;
    }
  }
}

struct RefusedCase {
  const char* name;
  std::string input;
};

TEST(ItemWriter, RefusesWhatMailCannotCarry) {
  const RefusedCase cases[] = {
      {"NUL", std::string("a: b\n\nx\0y\n", 10)},
      {"bare CR among LF lines", "a: b\n\nx\ry\n"},
      {"CRLF among LF lines", "a: b\n\nx\r\ny\n"},
      {"bare LF among CRLF lines", "a: b\r\n\r\nx\ny\r\n"},
      {"bare CR among CRLF lines", "a: b\r\n\r\nx\ry\r\n"},
      {"CR CR LF", "a: b\r\n\r\nx\r\r\n"},
      {"CR as the last octet", "a: b\r\n\r\nx\r"},
      {"smuggled end, LF dot LF inside CRLF", "a: b\r\n\r\nx\n.\nMAIL FROM:<>\r\n"},
      {"smuggled end, CR dot CR", "a: b\r\n\r\nx\r.\rMAIL FROM:<>\r\n"},
  };
  for (const auto& c : cases) {
    for (const std::size_t step : {std::size_t{1}, SIZE_MAX}) {
      Desk desk;
      const Status status = desk.store(c.input, step);
      EXPECT_TRUE(status.is_permanent()) << c.name;
      EXPECT_EQ(status.code(), "5.6.1") << c.name;
      EXPECT_THAT(test::names_in(desk.dir / "tmp"), IsEmpty()) << c.name;
      EXPECT_THAT(test::names_in(desk.dir / "in"), IsEmpty()) << c.name;
    }
  }
}

// Octets in = octets out, or refused; whatever the cutting.
TEST(ItemWriter, RandomTextComesBackIdentical) {
  std::mt19937 random(20261122);
  const std::string alphabet = "ab.\n.\n\xC3: ";
  for (int round = 0; round < 300; ++round) {
    std::string input = "x: y\n";
    for (int i = static_cast<int>(random() % 200U); i > 0; --i) {
      input += alphabet[random() % alphabet.size()];
    }
    input += '\n';
    Desk desk;
    ASSERT_TRUE(desk.store(input, 1 + random() % 50U).is_ok());
    const auto item = ItemReader::open(desk.ops, desk.dir / "in/i");
    ASSERT_TRUE(item.is_ok()) << item.status().to_string();
    StringSink back;
    const auto source = item->plain_text();
    ASSERT_TRUE(copy(*source, back).is_ok());
    std::string expected;
    for (const char c : input) {
      expected += c == '\n' ? "\r\n" : std::string(1, c);
    }
    ASSERT_EQ(back.str(), expected);
  }
}

// SMTP smuggling: all words of up to five octets over CR, LF and dot, inside text.
TEST(ItemWriter, NoWordOfCrLfAndDotEndsTheText) {
  const std::string letters = "\r\n.";
  for (unsigned length = 1; length <= 5; ++length) {
    unsigned words = 1;
    for (unsigned i = 0; i < length; ++i) {
      words *= 3;
    }
    for (unsigned n = 0; n < words; ++n) {
      std::string word;
      for (unsigned i = 0, rest = n; i < length; ++i, rest /= 3) {
        word += letters[rest % 3];
      }
      const std::string text = "a: b\r\n\r\nx" + word + "y\r\n";
      StringSink out;
      TextFilter filter(out, {});
      Status status = filter.write(text);
      if (status.is_ok()) {
        status = filter.finish();
      }
      if (!status.is_ok()) {
        EXPECT_EQ(status.code(), "5.6.1");
        continue;
      }
      const auto end = out.str().find("\r\n.\r\n");
      ASSERT_EQ(end, out.str().size() - 5) << to_hex(word);
    }
  }
}

TEST(ItemWriter, WritesSmallMessagesWithOneCall) {
  Desk desk;
  ASSERT_TRUE(desk.store("a: b\n\n" + std::string(40000, 'x') + "\n").is_ok());
  EXPECT_EQ(desk.ops.count("write"), 1U);
}

TEST(ItemWriter, RefusesAddressesThatCouldInjectCommands) {
  for (const char* bad : {"a\r\nRCPT TO:<b>@c", "a>b@c", "a b@c", "a\nb@c"}) {
    Desk desk;
    mail::Envelope e = envelope();
    e.recipients[0].address = bad;
    EXPECT_TRUE(ItemWriter::create(desk.ops, e, desk.options()).status().is_permanent()) << bad;
    EXPECT_THAT(test::names_in(desk.dir / "tmp"), IsEmpty());
  }
}

TEST(ItemWriter, RefusesAnEnvelopeWithoutRecipients) {
  Desk desk;
  mail::Envelope e = envelope();
  e.recipients.clear();
  EXPECT_TRUE(ItemWriter::create(desk.ops, e, desk.options()).status().is_temporary());
}

TEST(ItemWriter, WhatIsNotCommittedLeavesNothing) {
  Desk desk;
  {
    auto writer = ItemWriter::create(desk.ops, envelope(), desk.options());
    ASSERT_TRUE(writer.is_ok());
    EXPECT_TRUE(writer->write("half").is_ok());
    EXPECT_THAT(test::names_in(desk.dir / "tmp"), ElementsAre("i"));
  }
  EXPECT_THAT(test::names_in(desk.dir / "tmp"), IsEmpty());
}

TEST(ItemWriter, AsksBeforeTheRenameAndAfterTheFsync) {
  Desk desk;
  auto writer = ItemWriter::create(desk.ops, envelope(), desk.options());
  ASSERT_TRUE(writer.is_ok());
  ASSERT_TRUE(writer->write("a: b\n").is_ok());
  const Status status = writer->commit([&] {
    EXPECT_EQ(desk.ops.count("fsync"), 1U);
    EXPECT_EQ(desk.ops.count("rename"), 0U);
    return Status::temporary("4.3.0", "parent gone");
  });
  EXPECT_EQ(status.text(), "parent gone");
  EXPECT_THAT(test::names_in(desk.dir / "in"), IsEmpty());
}

TEST(ItemWriter, NeverOverwritesATemporaryFile) {
  Desk desk;
  test::spit(desk.dir / "tmp/i", "someone else's");
  EXPECT_TRUE(ItemWriter::create(desk.ops, envelope(), desk.options()).status().is_temporary());
  EXPECT_EQ(test::slurp(desk.dir / "tmp/i"), "someone else's");
}

struct HopCase {
  const char* name;
  std::string header;
  bool loop;
};

TEST(TextFilter, StopsLoops) {
  const std::string other = "Received: from a by b\n\twith ESMTP id 1; now\n";
  const std::string own =
      "Received: from remote1 by HUB.domain.com\n\t(with BSMTP parcel 1\n\tmessage 1/2) with "
      "ESMTP id 1; now\n";
  const std::string not_own = "Received: by hub.domain.com (Postfix, from userid 0); now\n";
  std::string fifty;
  for (int i = 0; i < 50; ++i) {
    fifty += other;
  }
  const HopCase cases[] = {
      {"none", "Subject: x\n", false},
      {"fifty", fifty, false},
      {"fifty-one", fifty + other, true},
      {"two of our own", own + own + fifty.substr(0, other.size() * 40), false},
      {"three of our own", own + other + own + other + own, true},
      {"three by this host, none of our own", not_own + not_own + not_own, false},
      {"in the body they count for nothing", "\n" + own + own + own, false},
  };
  for (const auto& c : cases) {
    for (const std::size_t step : {std::size_t{7}, SIZE_MAX}) {
      TextFilter::Options options;
      options.own_host = "hub.domain.com";
      StringSink out;
      TextFilter filter(out, options);
      Status status;
      for (std::string_view rest = c.header; !rest.empty() && status.is_ok();
           rest.remove_prefix(std::min(step, rest.size()))) {
        status = filter.write(rest.substr(0, step));
      }
      if (status.is_ok()) {
        status = filter.finish();
      }
      EXPECT_EQ(!status.is_ok(), c.loop) << c.name << " in steps of " << step;
      if (c.loop) {
        EXPECT_EQ(status.code(), "5.4.6") << c.name;
      }
    }
  }
}

// --- reading -----------------------------------------------------------------------------------

TEST(ItemReader, TakesAnItemApart) {
  Desk desk;
  mail::Envelope e = envelope();
  e.sender = "";
  e.ret = "HDRS";
  e.envid = "QQ+2B1";
  e.recipients.push_back({"\"a b\"@domain.co.uk", "NEVER", "rfc822;o@x", {}});
  auto writer = ItemWriter::create(desk.ops, e, desk.options());
  ASSERT_TRUE(writer.is_ok());
  ASSERT_TRUE(writer->write("S: x\n\n.dot\n").is_ok());
  ASSERT_TRUE(writer->commit().is_ok());
  EXPECT_EQ(writer->file_size(), desk.file().size());

  const auto item = ItemReader::open(desk.ops, desk.dir / "in/i");
  ASSERT_TRUE(item.is_ok()) << item.status().to_string();
  EXPECT_EQ(item->envelope().sender, "");
  EXPECT_EQ(item->envelope().ret, "HDRS");
  EXPECT_EQ(item->envelope().envid, "QQ+2B1");
  ASSERT_EQ(item->envelope().recipients.size(), 2U);
  EXPECT_EQ(item->envelope().recipients[1].address, "\"a b\"@domain.co.uk");
  EXPECT_EQ(item->envelope().recipients[1].notify, "NEVER");
  StringSink stuffed;
  StringSink plain;
  StringSink whole;
  EXPECT_EQ(*copy(*item->stuffed_text(), stuffed), item->text_size());
  EXPECT_TRUE(copy(*item->plain_text(), plain).is_ok());
  EXPECT_EQ(*copy(*item->transaction(), whole), item->item_size());
  EXPECT_EQ(stuffed.str(), "S: x\r\n\r\n..dot\r\n");
  EXPECT_EQ(plain.str(), "S: x\r\n\r\n.dot\r\n");
  EXPECT_EQ(whole.str(), desk.file());
}

TEST(ItemReader, RefusesFilesThatAreNoItems) {
  const std::string ok = std::string(kHead) + "a: b\r\n.\r\n";
  const RefusedCase cases[] = {
      {"empty", ""},
      {"not BSMTP", "From: a\r\n\r\nhello\r\n"},
      {"no recipient", "MAIL FROM:<a@b>\r\nDATA\r\nx\r\n.\r\n"},
      {"no DATA", "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n"},
      {"LF in a command", "MAIL FROM:<a@b>\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\n"},
      {"bad parameter", "MAIL FROM:<a@b> SIZE=x\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\n"},
      {"unknown command", "MAIL FROM:<a@b>\r\nVRFY a\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\n"},
      {"no end mark", std::string(kHead) + "a: b\r\n"},
      {"half an end mark", std::string(kHead) + "a: b\r\n.\r"},
      {"end mark with LF", std::string(kHead) + "a: b\n.\r\n"},
      {"nothing behind DATA", kHead},
      {"endless command", "MAIL FROM:<" + std::string(100000, 'a')},
  };
  for (const auto& c : cases) {
    const TempDir dir;
    test::spit(dir / "i", c.input);
    const auto item = ItemReader::open(os::real_file_ops(), dir / "i");
    ASSERT_FALSE(item.is_ok()) << c.name;
    EXPECT_TRUE(item.status().is_permanent()) << c.name;
    EXPECT_EQ(item.status().code(), "5.6.0") << c.name;
    EXPECT_THAT(item.status().text(), HasSubstr(dir / "i")) << c.name;
  }
  const TempDir dir;
  test::spit(dir / "i", ok);
  EXPECT_TRUE(ItemReader::open(os::real_file_ops(), dir / "i").is_ok());
}

// A file cut at any octet, as a crash without our fsync would leave it, is never an item.
TEST(ItemReader, RefusesEveryTruncation) {
  const std::string whole = std::string(kHead) + "a: b\r\n\r\n..\r\nx\r\n.\r\n";
  const TempDir dir;
  for (std::size_t n = 0; n < whole.size(); ++n) {
    test::spit(dir / "i", whole.substr(0, n));
    EXPECT_FALSE(ItemReader::open(os::real_file_ops(), dir / "i").is_ok()) << n;
  }
}

TEST(ItemReader, TroubleWithTheFileIsTemporary) {
  const TempDir dir;
  EXPECT_TRUE(ItemReader::open(os::real_file_ops(), dir / "none").status().is_temporary());
  Desk desk;
  ASSERT_TRUE(desk.store("a: b\n" + std::string(70000, 'x') + "\n").is_ok());
  for (std::uint64_t n = 1; n <= 4; ++n) {  // the file, its size, its head, its end
    desk.ops.fail_at(n, EIO);
    const auto item = ItemReader::open(desk.ops, desk.dir / "in/i");
    EXPECT_TRUE(item.status().is_temporary()) << n;
  }
}

TEST(ItemReader, LimitsRecipients) {
  Desk desk;
  ASSERT_TRUE(desk.store("a: b\n").is_ok());
  EXPECT_TRUE(
      ItemReader::open(desk.ops, desk.dir / "in/i", {.max_recipients = 0}).status().is_permanent());
}

}  // namespace
}  // namespace bsmtp::spool

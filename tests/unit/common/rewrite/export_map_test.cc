// The static map: its lines, its agreement with the engine, and the look-up in the file.
#include "common/rewrite/export_map.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "tests/unit/common/rewrite/rewrite_fixture.h"

namespace bsmtp::rewrite {
namespace {

using testing::ask;
using testing::hub_options;
using testing::rules_of;

std::map<std::string, std::string> table_of(const Export& map) {
  std::map<std::string, std::string> out;
  for (const ExportEntry& entry : map.entries) {
    out[entry.key] = entry.peer;
  }
  return out;
}

// What Postfix's transport(5) search finds in the text for a recipient, "" for nothing.
std::string postfix_search(const std::string& text, const std::string& address) {
  std::map<std::string, std::string> table;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    const std::size_t tab = line.find('\t');
    if (!line.empty() && line[0] != '#' && tab != std::string::npos) {
      table[line.substr(0, tab)] = line.substr(tab + 1);
    }
    at = end + 1;
  }
  const std::string domain = address.substr(address.rfind('@') + 1);
  std::vector<std::string> keys = {address, domain};
  for (std::size_t dot = domain.find('.', 1); dot != std::string::npos;
       dot = domain.find('.', dot + 1)) {
    keys.push_back(domain.substr(dot));
  }
  for (const std::string& key : keys) {
    if (table.contains(key)) {
      return table[key];
    }
  }
  return "";
}

TEST(ExportMap, SeedOnTheHub) {
  const Export map = export_postfix(*rules_of(testing::kSeedRules));
  EXPECT_EQ(table_of(map), (std::map<std::string, std::string>{
                               {".domain.co.uk", "remote1"},
                               {"abuse@athena.domain.co.uk", ""},
                               {"bsmtp@athena.domain.co.uk", ""},
                               {"domain.co.uk", "remote1"},
                               {"postmaster@athena.domain.co.uk", ""},
                           }));
  EXPECT_TRUE(map.left_out.empty());
  const struct {
    const char* address;
    const char* result;
  } rows[] = {
      {"user@domain.co.uk", "bsmtp-out:remote1.bsmtp.invalid"},
      {"user@x.domain.co.uk", "bsmtp-out:remote1.bsmtp.invalid"},
      {"user@athena.domain.co.uk", "bsmtp-out:remote1.bsmtp.invalid"},
      {"bsmtp@athena.domain.co.uk", ":"},
      {"postmaster@athena.domain.co.uk", ":"},
      {"user@elsewhere.org", ""},
      {"user%domain.co.uk@remote1.bsmtp.invalid", "bsmtp-out:"},
      {"user%domain.co.uk@never.remote1.bsmtp.invalid", "bsmtp-out:"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(postfix_search(map.text, row.address), row.result) << row.address;
  }
}

TEST(ExportMap, SendmailSaysTheSameInItsOwnWords) {
  const Export map = export_sendmail(*rules_of(testing::kSeedRules));
  const Export postfix = export_postfix(*rules_of(testing::kSeedRules));
  auto expected = table_of(postfix);
  expected["bsmtp+*@athena.domain.co.uk"] = "";  // the ruleset looks up user+*@host for details
  EXPECT_EQ(table_of(map), expected);
  EXPECT_EQ(map.left_out, postfix.left_out);
  const auto has = [&](std::string_view line) {
    return map.text.find("\n" + std::string(line) + "\n") != std::string::npos;
  };
  EXPECT_TRUE(has(".domain.co.uk\tremote1.bsmtp.invalid")) << map.text;
  EXPECT_TRUE(has("bsmtp@athena.domain.co.uk\tdirect")) << map.text;
  EXPECT_TRUE(has("bsmtp+*@athena.domain.co.uk\tdirect")) << map.text;
  EXPECT_FALSE(has("postmaster+*@athena.domain.co.uk\tdirect")) << map.text;
  EXPECT_TRUE(has(".bsmtp.invalid\ttunnel")) << map.text;
  EXPECT_EQ(map.text.find("bsmtp-out:"), std::string::npos) << map.text;
}

TEST(ExportMap, SendmailLeavesExceptionsToTheMta) {
  const Export map =
      export_sendmail(*rules_of(".domain.co.uk $U%$H$D@BSOUT-REMOTE1\n"
                                ".left.domain.co.uk $U%$H$D@TCP-DAEMON\n"
                                ". $U%$H@BSOUT-REMOTE2\n"));
  EXPECT_NE(map.text.find("\n.left.domain.co.uk\tdirect\n"), std::string::npos) << map.text;
  ASSERT_EQ(map.left_out.size(), 1U);
  EXPECT_NE(map.left_out[0].find("the milter alone"), std::string::npos) << map.left_out[0];
}

TEST(ExportMap, FixedNexthopForLmtp) {
  const Export map = export_postfix(*rules_of(testing::kSeedRules),
                                    ExportOptions{"lmtp", "unix:private/bsmtp-out", ":"});
  EXPECT_EQ(postfix_search(map.text, "user@domain.co.uk"), "lmtp:unix:private/bsmtp-out");
  EXPECT_EQ(postfix_search(map.text, "u%d@remote1.bsmtp.invalid"), "lmtp:unix:private/bsmtp-out");
}

TEST(ExportMap, MoreSpecificRulesThatLeaveMailToTheMta) {
  const Export map =
      export_postfix(*rules_of(".domain.co.uk $U%$H$D@BSOUT-REMOTE1\n"
                               ".lab.domain.co.uk $U%$H$D@TCP-DAEMON\n"
                               "in.lab.domain.co.uk $U%$H@BSOUT-REMOTE2\n"
                               "www.domain.co.uk $U%$H@TCP-DAEMON\n"
                               "unrelated.example $U%$H@TCP-DAEMON\n"));
  EXPECT_EQ(postfix_search(map.text, "u@x.domain.co.uk"), "bsmtp-out:remote1.bsmtp.invalid");
  EXPECT_EQ(postfix_search(map.text, "u@x.lab.domain.co.uk"), ":");
  EXPECT_EQ(postfix_search(map.text, "u@in.lab.domain.co.uk"), "bsmtp-out:remote2.bsmtp.invalid");
  EXPECT_EQ(postfix_search(map.text, "u@www.domain.co.uk"), ":");
  EXPECT_EQ(postfix_search(map.text, "u@unrelated.example"), "");
  EXPECT_EQ(postfix_search(map.text, "u@domain.co.uk"), "");
}

TEST(ExportMap, WhatNoTableCanSayIsListed) {
  const Export map =
      export_postfix(*rules_of("*.star.example $U%$H$D@BSOUT-REMOTE1\n"
                               "l-only.example $U%$H@BSOUT-REMOTE1$Ml\n"
                               "short $U%long.example@BSOUT-REMOTE1\n"
                               ".depth.example $U%$H$D@BSOUT-REMOTE1\n"
                               "*.depth.example $U%$H$D@TCP-DAEMON\n"
                               ". $U%$H@BSOUT-REMOTE2\n"));
  ASSERT_EQ(map.left_out.size(), 5U);
  EXPECT_EQ(map.left_out[0].substr(0, 27), "rewrite:1: *.star.example: ");
  EXPECT_EQ(map.left_out[1],
            "rewrite:2: l-only.example: depends on the source channel; left to the MTA");
  EXPECT_EQ(map.left_out[2],
            "rewrite:3: short: the rule also rewrites the address; the table tunnels it "
            "unrewritten");
  EXPECT_NE(map.left_out[3].find("different depths"), std::string::npos);
  EXPECT_NE(map.left_out[4].find("default_transport = bsmtp-out:remote2.bsmtp.invalid"),
            std::string::npos);
  EXPECT_EQ(table_of(map), (std::map<std::string, std::string>{{"short", "remote1"}}));
  for (const std::string& line : map.left_out) {
    EXPECT_NE(map.text.find("# not in this table: " + line + "\n"), std::string::npos);
  }
}

TEST(ExportMap, StarRuleThatSaysTheSameIsNotListed) {
  const Export map = export_postfix(
      *rules_of(".a.example $U%$H$D@BSOUT-REMOTE1\n*.a.example $U%$H$D@BSOUT-REMOTE1\n"));
  EXPECT_TRUE(map.left_out.empty());
  EXPECT_EQ(table_of(map), (std::map<std::string, std::string>{{".a.example", "remote1"}}));
}

TEST(ExportMap, PeerThatIsNotOnIsNotExported) {
  Options options = hub_options();
  options.peers[0].divert = false;
  EXPECT_TRUE(export_postfix(*rules_of(testing::kSeedRules, options)).entries.empty());
}

TEST(ExportMap, RegexpOfReturnAddresses) {
  const std::string text = export_postfix_regexp(*rules_of(testing::kSeedRules));
  EXPECT_NE(text.find("\n/^bsmtp(\\+[^@]*)?@athena\\.domain\\.co\\.uk$/\t:\n"), std::string::npos)
      << text;
  EXPECT_EQ(text.find("hub"), std::string::npos);
}

// Property: for many random rule sets, every host the table knows gets from the engine what the
// table says, and every host the engine diverts is in the table unless a line says it is not.
TEST(ExportMap, AgreesWithTheEngine) {
  std::mt19937 random(4711);
  const auto pick = [&](const std::vector<std::string>& from) {
    return from[random() % from.size()];
  };
  const std::vector<std::string> domains = {"a",     "b.a",     "c.b.a", "d.c.b.a",
                                            "x.b.a", "e.c.b.a", "y.a",   "z"};
  const std::vector<std::string> systems = {"BSOUT-REMOTE1", "BSOUT-REMOTE2", "TCP-DAEMON"};
  const std::vector<std::string> controls = {"", "", "", "$Nl", "$Ml", "$Nbsout_remote1"};
  for (int set = 0; set < 300; ++set) {
    std::string text;
    for (int i = 0; i < 6; ++i) {
      const std::string name = pick(domains);
      switch (random() % 3) {
        case 0:
          text += name + " $U%$H@" + pick(systems) + pick(controls) + "\n";
          break;
        case 1:
          text += "." + name + " $U%$H$D@" + pick(systems) + pick(controls) + "\n";
          break;
        default:
          text += (random() % 4 == 0 ? "*." : ".") + name + " $U%$H$D@" + pick(systems) + "\n";
      }
    }
    const auto rules = rules_of(text);
    const Export map = export_postfix(*rules);
    for (const std::string& base : domains) {
      for (const std::string& host : {base, "q." + base, "r.q." + base}) {
        const std::string found = postfix_search(map.text, "u@" + host);
        const std::string l = testing::verdict(ask(*rules, "u@" + host, "l"));
        const std::string smtp = testing::verdict(ask(*rules, "u@" + host, "tcp_local"));
        if (found.size() > 1) {
          const std::string peer = found.substr(10, found.find('.') - 10);
          EXPECT_EQ(smtp, "divert u%" + host + "@" + peer + ".bsmtp.invalid")
              << text << "host " << host << ", map:\n"
              << map.text;
          EXPECT_EQ(l, smtp);
        } else if (map.left_out.empty()) {
          EXPECT_EQ(smtp, "leave") << text << "host " << host << ", map:\n" << map.text;
        }
      }
    }
  }
}

class MapFile : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/bsmtp-map-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
    path_ = dir_ + "/transport";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void put(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }

  std::string dir_, path_;
};

TEST_F(MapFile, WrittenAndFound) {
  const Export map = export_postfix(
      *rules_of("domain.co.uk $U%$H@BSOUT-REMOTE1\n.Domain.co.uk $U%$H$D@BSOUT-REMOTE1\n"
                "www.domain.co.uk $U%$H@TCP-DAEMON\nexample.net $U%$H@BSOUT-REMOTE2\n"));
  ASSERT_TRUE(write_map_file(path_, map.text).is_ok());
  struct stat info = {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0644U);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_), {}), 1);
  auto opened = ExportedMap::open(path_);
  ASSERT_TRUE(opened.is_ok()) << opened.status().to_string();
  const ExportedMap found = std::move(opened).value();
  EXPECT_EQ(found.size(), 4U);
  EXPECT_EQ(found.find("domain.co.uk"), "remote1");
  EXPECT_EQ(found.find("DOMAIN.co.UK."), "remote1");
  EXPECT_EQ(found.find("a.b.domain.co.uk"), "remote1");
  EXPECT_EQ(found.find("www.domain.co.uk"), std::nullopt);
  EXPECT_EQ(found.find("x.www.domain.co.uk"), "remote1");
  EXPECT_EQ(found.find("example.net"), "remote2");
  EXPECT_EQ(found.find("x.example.net"), std::nullopt);
  EXPECT_EQ(found.find("co.uk"), std::nullopt);
  EXPECT_EQ(found.find(""), std::nullopt);
  EXPECT_EQ(found.find("."), std::nullopt);
  EXPECT_EQ(found.find("="), std::nullopt);
}

TEST_F(MapFile, SendmailFlavourIsFoundToo) {
  ASSERT_TRUE(write_map_file(path_, export_sendmail(*rules_of(testing::kSeedRules)).text).is_ok());
  const auto map = ExportedMap::open(path_);
  ASSERT_TRUE(map.is_ok()) << map.status().to_string();
  EXPECT_EQ(map->find("x.domain.co.uk"), "remote1");
  EXPECT_EQ(map->find("bsmtp.invalid"), std::nullopt);
}

TEST_F(MapFile, EveryKeyOfABigMapIsFound) {
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    text +=
        "d" + std::to_string(i) + ".example $U%$H@BSOUT-REMOTE" + (i % 2 == 0 ? "1" : "2") + "\n";
  }
  ASSERT_TRUE(write_map_file(path_, export_postfix(*rules_of(text)).text).is_ok());
  const auto map = ExportedMap::open(path_);
  ASSERT_TRUE(map.is_ok());
  EXPECT_EQ(map->size(), 3000U);
  for (int i = 0; i < 3000; ++i) {
    EXPECT_EQ(map->find("d" + std::to_string(i) + ".example"), i % 2 == 0 ? "remote1" : "remote2");
    EXPECT_EQ(map->find("e" + std::to_string(i) + ".example"), std::nullopt);
  }
}

TEST_F(MapFile, EmptyMap) {
  ASSERT_TRUE(write_map_file(path_, export_postfix(*rules_of("")).text).is_ok());
  const auto map = ExportedMap::open(path_);
  ASSERT_TRUE(map.is_ok()) << map.status().to_string();
  EXPECT_EQ(map->size(), 0U);
  EXPECT_EQ(map->find("a.b"), std::nullopt);
}

TEST_F(MapFile, ReplacedWhileOpen) {
  ASSERT_TRUE(write_map_file(path_, export_postfix(*rules_of(testing::kSeedRules)).text).is_ok());
  const auto map = ExportedMap::open(path_);
  ASSERT_TRUE(map.is_ok());
  ASSERT_TRUE(write_map_file(path_, export_postfix(*rules_of("")).text).is_ok());
  EXPECT_EQ(map->find("domain.co.uk"), "remote1");
}

TEST_F(MapFile, DamagedFilesAreRefusedOrFindNothing) {
  EXPECT_NE(ExportedMap::open(path_).status().text().find("it does not exist; write it with"),
            std::string::npos);
  EXPECT_FALSE(ExportedMap::open(dir_).is_ok());
  const std::string good = export_postfix(*rules_of(testing::kSeedRules)).text;
  for (std::size_t length = 0; length < good.size(); ++length) {
    put(good.substr(0, length));
    EXPECT_FALSE(ExportedMap::open(path_).is_ok()) << length;
  }
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x05);
    put(bad);
    const auto map = ExportedMap::open(path_);
    if (map.is_ok()) {
      (void)map->find("x.domain.co.uk");  // must end; the answer is what the file says
    }
  }
  put("domain.co.uk\tbsmtp-out:\n");
  const auto map = ExportedMap::open(path_);
  ASSERT_FALSE(map.is_ok());
  EXPECT_TRUE(map.status().is_temporary());
  EXPECT_EQ(map.status().code(), "4.3.5");
}

TEST(WriteMapFile, UnwritableDirectoryIsNamed) {
  const Status status = write_map_file("/nonexistent-bsmtp/transport", "x");
  EXPECT_TRUE(status.is_temporary());
  EXPECT_NE(status.text().find("/nonexistent-bsmtp"), std::string::npos);
  EXPECT_FALSE(write_map_file("/tmp/", "x").is_ok());
}

}  // namespace
}  // namespace bsmtp::rewrite

#include <gtest/gtest.h>

#include <sstream>

#include "mda/ctl/ctl_commands.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_certificate.h"

namespace bsmtp::mda::ctl {
namespace {

class CtlSendmailDn : public ::testing::Test {
 protected:
  int call(std::vector<std::string> words) {
    words.insert(words.begin(), {"sendmail", "dn"});
    return run(words, out_, err_);
  }
  std::ostringstream out_;
  std::ostringstream err_;
  test::TempDir dir_;
  const test::Dn root_ = {{"O", "Rig"}, {"CN", "Rig Root CA"}};
};

TEST_F(CtlSendmailDn, PrintsKeysAndRequirements) {
  test::spit(dir_ / "c.pem", test::certificate({{"O", "Rig"}, {"CN", "hub \"x\""}}, root_));
  EXPECT_EQ(call({dir_ / "c.pem"}), kExitOk);
  EXPECT_EQ(out_.str(),
            "# keys of the access map\n"
            "CERTISSUER:/O=Rig/CN=Rig+20Root+20CA\n"
            "CERTSUBJECT:/O=Rig/CN=hub+20+22x+22\n"
            "# requirements, behind VERIFY+ (the next behind ++)\n"
            "CN:hub+20+22x+22\n"
            "CS:/O=Rig/CN=hub+20+22x+22\n"
            "CI:/O=Rig/CN=Rig+20Root+20CA\n");
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CtlSendmailDn, JsonHoldsTheSame) {
  test::spit(dir_ / "c.pem", test::certificate({{"CN", "hub"}}, root_));
  EXPECT_EQ(call({"--json", dir_ / "c.pem"}), kExitOk);
  EXPECT_NE(out_.str().find("\"keys\":[\"CERTISSUER:/O=Rig/CN=Rig+20Root+20CA\","
                            "\"CERTSUBJECT:/CN=hub\"],\"requirements\":[\"CN:hub\",\"CS:/CN=hub\","
                            "\"CI:/O=Rig/CN=Rig+20Root+20CA\"]"),
            std::string::npos)
      << out_.str();
}

TEST_F(CtlSendmailDn, WarnsAboutAnEmptySubject) {
  test::spit(dir_ / "c.pem", test::certificate({}, root_));
  EXPECT_EQ(call({dir_ / "c.pem"}), kExitOk);
  EXPECT_NE(err_.str().find("empty DN"), std::string::npos);
}

TEST_F(CtlSendmailDn, MissingFileAndWrongFileAreNoSuccess) {
  EXPECT_NE(call({dir_ / "none.pem"}), kExitOk);
  EXPECT_NE(err_.str().find("none.pem"), std::string::npos);
  test::spit(dir_ / "c.pem", "hello");
  EXPECT_EQ(call({dir_ / "c.pem"}), kExitProblem);
  EXPECT_EQ(call({}), kExitUsage);
  EXPECT_EQ(out_.str(), "");
}

}  // namespace
}  // namespace bsmtp::mda::ctl

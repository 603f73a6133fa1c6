// bsmtp-in under faults: every file call fails, or is the last one before the process dies or the
// power goes. What it answered with success is whole on the disk, what is visible is whole, and
// the MTA's next attempt ends with exactly one copy.
#include <gtest/gtest.h>

#include <memory>

#include "common/base/text.h"
#include "common/config/config.h"
#include "common/spool/accepted_parcel.h"
#include "common/spool/spool.h"
#include "mda/receive/receiver.h"
#include "tests/support/faulty_file_ops.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

using test::FaultyFileOps;
using test::slurp;
using test::Survival;
using test::TempDir;

constexpr std::string_view kFirst =
    "MAIL FROM:<ann@domain.com>\r\nRCPT TO:<bob@domain.co.uk>\r\nDATA\r\nSubject: 1\r\n\r\none\r\n"
    ".\r\n";
constexpr std::string_view kSecond =
    "MAIL FROM:<>\r\nRCPT TO:<carl@domain.co.uk>\r\nDATA\r\nSubject: 2\r\n\r\n..two\r\n.\r\n";

std::string trusted_mail() {
  return str_cat(
      {"From: x\r\nMIME-Version: 1.0\r\nContent-Type: application/batch-SMTP\r\n"
       "Content-Transfer-Encoding: 7bit\r\n\r\nEHLO hub.domain.com\r\n",
       kFirst, kSecond, "QUIT\r\n"});
}

std::string untrusted_mail() {
  std::string mail = trusted_mail();
  mail.resize(mail.size() - 18);  // the batch ends in the middle of a message
  return mail;
}

class Site {
 public:
  Site() {
    EXPECT_TRUE(os::ensure_directory(os::real_file_ops(), dir_ / "pgp", 0700).is_ok());
    EXPECT_TRUE(os::ensure_directory(os::real_file_ops(), dir_ / "pgp/verify", 0700).is_ok());
    FaultyFileOps ops(dir_.path());  // without faults: only faster than a disk
    const Status made = spool::Spool::create_layout(ops, dir_ / "spool", {"remote1"});
    EXPECT_TRUE(made.is_ok()) << made.text();
  }

  std::string spool() const { return dir_ / "spool"; }
  std::string fresh() { return dir_ / str_cat({"cut", std::to_string(++cuts_)}); }

  Result<ReceiveReport> receive(os::FileOps& ops, const std::string& spool, const std::string& mail,
                                const std::string& recipient = "bsmtp@athena.domain.co.uk") const {
    auto config = config::parse(
        str_cat({"host = athena.domain.co.uk\nspool-directory = ", spool,
                 "\nfree-percent-quarantine = 0\nfree-percent-dispatch = 0\n"
                 "openpgp-directory = ",
                 dir_ / "pgp",
                 "\n[peer.remote1]\nhost = hub.domain.com\nrecipient-domains = domain.co.uk\n"
                 "require = transport\nprofile = rfc2442\n"}),
        "test");
    EXPECT_TRUE(config.is_ok()) << config.status().text();
    Receiver receiver(std::make_shared<const config::Config>(std::move(*config)), ops,
                      system_clock());
    ReceiveRequest request;
    request.recipient = recipient;
    request.peer = "remote1";
    StringSource input(mail);
    return receiver.receive(request, input);
  }

  // The MTA's next attempt, without faults.
  Result<ReceiveReport> retry(const std::string& spool, const std::string& mail) const {
    FaultyFileOps ops(spool);
    return receive(ops, spool, mail);
  }

 private:
  TempDir dir_;
  int cuts_ = 0;
};

// What is visible must be whole; returns how many parcels there are.
std::size_t check_accepted(const std::string& spool) {
  const auto names = test::names_in(spool + "/inbound/accepted");
  for (const std::string& name : names) {
    const std::string directory = spool + "/inbound/accepted/" + name;
    EXPECT_EQ(test::names_in(directory), (std::vector<std::string>{"messages", "meta"}));
    EXPECT_EQ(slurp(directory + "/messages"), str_cat({kFirst, kSecond}));
    const auto parcel = spool::AcceptedParcel::load(os::real_file_ops(), directory);
    EXPECT_TRUE(parcel.is_ok()) << parcel.status().text();
    EXPECT_EQ(parcel.is_ok() ? parcel->open_messages().size() : 0, 2U);
    for (std::uint64_t n = 1; parcel.is_ok() && n <= 2; ++n) {
      EXPECT_TRUE(parcel->open_message(n).is_ok());
    }
  }
  return names.size();
}

std::size_t check_quarantine(const std::string& spool, const std::string& mail) {
  std::size_t entries = 0;
  for (const std::string& name : test::names_in(spool + "/inbound/quarantine")) {
    if (name.size() == 44) {
      ++entries;
      const std::string directory = spool + "/inbound/quarantine/" + name;
      EXPECT_EQ(slurp(directory + "/parcel"), mail);
      EXPECT_NE(slurp(directory + "/meta").find("sha256: "), std::string::npos);
    }
  }
  return entries;
}

std::uint64_t calls_of_a_good_run(const std::string& mail) {
  const Site site;
  FaultyFileOps ops(site.spool());
  const auto report = site.receive(ops, site.spool(), mail);
  EXPECT_TRUE(report.is_ok()) << report.status().text();
  return ops.calls();
}

TEST(ReceiveCrash, TheTrustedParcelIsAccepted) {
  const Site site;
  FaultyFileOps ops(site.spool());
  const auto report = site.receive(ops, site.spool(), trusted_mail());
  ASSERT_TRUE(report.is_ok()) << report.status().text();
  EXPECT_EQ(report->outcome, ReceiveOutcome::kAccepted) << report->reason;
  EXPECT_EQ(check_accepted(site.spool()), 1U);
  EXPECT_EQ(test::names_in(site.spool() + "/inbound/tmp"), std::vector<std::string>{});
  // One for all messages and one for meta; directories: scratch and accepted.
  EXPECT_EQ(ops.count("fsync"), 2U);
  EXPECT_EQ(ops.count("fsync_dir"), 2U);
  EXPECT_EQ(ops.count("create"), 3U) << "the mail as received, its messages, meta";
}

TEST(ReceiveCrash, DeathAtEveryCallLosesNothingThatWasAcknowledged) {
  const std::uint64_t calls = calls_of_a_good_run(trusted_mail());
  ASSERT_GT(calls, 20U);
  for (std::uint64_t n = 1; n <= calls + 1; ++n) {
    Site site;
    FaultyFileOps ops(site.spool());
    ops.stop_at(n);
    const auto report = site.receive(ops, site.spool(), trusted_mail());
    for (const Survival survival : test::kSurvivals) {
      SCOPED_TRACE(str_cat(
          {"call ", std::to_string(n), ", survival ", std::to_string(static_cast<int>(survival))}));
      const std::string disk = site.fresh();
      ops.power_cut(disk, survival);
      const std::size_t before = check_accepted(disk);
      EXPECT_LE(before, 1U);
      if (report.is_ok()) {
        EXPECT_EQ(before, 1U) << "acknowledged and lost";
      } else {
        EXPECT_TRUE(report.status().is_temporary()) << report.status().text();
      }
      const auto again = site.retry(disk, trusted_mail());
      ASSERT_TRUE(again.is_ok()) << again.status().text();
      EXPECT_EQ(again->outcome,
                before == 1 ? ReceiveOutcome::kDuplicate : ReceiveOutcome::kAccepted);
      EXPECT_EQ(check_accepted(disk), 1U);
    }
  }
}

TEST(ReceiveCrash, OneFailingCallIsTemporaryOrHarmless) {
  const std::uint64_t calls = calls_of_a_good_run(trusted_mail());
  for (const int error : {EIO, ENOSPC}) {
    for (std::uint64_t n = 1; n <= calls; ++n) {
      SCOPED_TRACE(str_cat({"call ", std::to_string(n), ", errno ", std::to_string(error)}));
      const Site site;
      FaultyFileOps ops(site.spool());
      ops.fail_at(n, error);
      const auto report = site.receive(ops, site.spool(), trusted_mail());
      const std::size_t there = check_accepted(site.spool());
      if (report.is_ok()) {
        EXPECT_EQ(report->outcome, ReceiveOutcome::kAccepted) << report->reason;
        EXPECT_EQ(there, 1U);
      } else {
        EXPECT_TRUE(report.status().is_temporary()) << report.status().text();
      }
      const auto again = site.retry(site.spool(), trusted_mail());
      ASSERT_TRUE(again.is_ok()) << again.status().text();
      EXPECT_EQ(check_accepted(site.spool()), 1U);
      EXPECT_EQ(check_quarantine(site.spool(), ""), 0U);
    }
  }
}

TEST(ReceiveCrash, DeathAtEveryCallKeepsTheQuarantineWhole) {
  const std::uint64_t calls = calls_of_a_good_run(untrusted_mail());
  for (std::uint64_t n = 1; n <= calls + 1; ++n) {
    Site site;
    FaultyFileOps ops(site.spool());
    ops.stop_at(n);
    const auto report = site.receive(ops, site.spool(), untrusted_mail());
    for (const Survival survival : test::kSurvivals) {
      SCOPED_TRACE(str_cat(
          {"call ", std::to_string(n), ", survival ", std::to_string(static_cast<int>(survival))}));
      const std::string disk = site.fresh();
      ops.power_cut(disk, survival);
      const std::size_t before = check_quarantine(disk, untrusted_mail());
      EXPECT_LE(before, 1U);
      if (report.is_ok() && report->outcome == ReceiveOutcome::kQuarantined) {
        EXPECT_EQ(before, 1U);
      }
      const auto again = site.retry(disk, untrusted_mail());
      ASSERT_TRUE(again.is_ok()) << again.status().text();
      EXPECT_EQ(again->outcome, ReceiveOutcome::kQuarantined);
      EXPECT_EQ(check_quarantine(disk, untrusted_mail()), 1U);
      EXPECT_EQ(check_accepted(disk), 0U);
    }
  }
}

// A bounce of one of our parcels; how many are kept, each whole.
std::size_t check_returns(const std::string& spool) {
  const auto names = test::names_in(spool + "/inbound/returns");
  for (const std::string& name : names) {
    EXPECT_EQ(slurp(str_cat({spool, "/inbound/returns/", name})),
              "MAIL FROM:<>\r\nRCPT TO:<bsmtp+c0ffee@athena.domain.co.uk>\r\nDATA\r\n"
              "Subject: failed\r\n\r\nsorry\r\n.\r\n");
  }
  return names.size();
}

TEST(ReceiveCrash, DeathAtEveryCallKeepsAnAcknowledgedBounceWhole) {
  const std::string mail = "Subject: failed\r\n\r\nsorry\r\n";
  const std::string address = "bsmtp+c0ffee@athena.domain.co.uk";
  bool over = false;
  for (std::uint64_t n = 1; !over; ++n) {
    ASSERT_LT(n, 100U);
    Site site;
    FaultyFileOps ops(site.spool());
    ops.stop_at(n);
    const auto report = site.receive(ops, site.spool(), mail, address);
    over = report.is_ok();
    for (const Survival survival : test::kSurvivals) {
      SCOPED_TRACE(
          str_cat({ops.trace().back(), ", survival ", std::to_string(static_cast<int>(survival))}));
      const std::string disk = site.fresh();
      ops.power_cut(disk, survival);
      const std::size_t before = check_returns(disk);
      EXPECT_LE(before, 1U);
      if (report.is_ok()) {
        EXPECT_EQ(before, 1U) << "acknowledged and lost";
      } else {
        EXPECT_TRUE(report.status().is_temporary()) << report.status().text();
      }
    }
  }
}

}  // namespace
}  // namespace bsmtp::mda

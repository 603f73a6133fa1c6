// Every file operation of a bypass fails once, and every one is once the last before the power
// goes. After recovery each recipient of each message was either taken by the host MTA, or waits
// in incoming/ exactly once; both only when a line `outcome=ambiguous` names the item. Whom the MTA
// took, but cannot report about as NOTIFY asks, a durable notice tells so: one, whatever happened.
#include <gtest/gtest.h>

#include <cerrno>
#include <map>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/log/log.h"
#include "common/spool/item.h"
#include "mda/bypass/bypass.h"
#include "tests/support/faulty_file_ops.h"
#include "tests/support/smtp_server.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

using spool::Spool;
using spool::Stage;
using test::FaultyFileOps;
using test::Survival;

constexpr const char* kPeer = "remote1";

std::string item_text(std::size_t n) {
  const std::string number = std::to_string(n);
  // The second one has a recipient that the MTA defers, and the third's sender wants no report.
  return str_cat({"MAIL FROM:<ann", number, "@domain.com> ENVID=e", number, "\r\nRCPT TO:<bob",
                  number, "@x>", n == 2 ? "" : " NOTIFY=SUCCESS,FAILURE", "\r\n",
                  n == 1 ? "RCPT TO:<later1@x> NOTIFY=NEVER\r\n" : "", "DATA\r\nSubject: ", number,
                  "\r\n\r\n..dot\r\n.\r\n"});
}

// Two messages in incoming/ and one in a parcel in sent/.
class Site {
 public:
  Site() : server_(options()) {
    FaultyFileOps quick(dir_.path());
    EXPECT_TRUE(Spool::create_layout(quick, root_, {kPeer}).is_ok());
    const spool::Paths paths(root_);
    const std::string parcel = make_id(system_clock().now()).value();
    const std::string place = paths.parcel(kPeer, Stage::kSent, parcel);
    EXPECT_TRUE(os::ensure_directory(os::real_file_ops(), place, 0770).is_ok());
    EXPECT_TRUE(os::ensure_directory(os::real_file_ops(), place + "/items", 0770).is_ok());
    test::spit(place + "/entity", "Content-Type: text/plain\r\n\r\n");
    test::spit(place + "/state", "version: 1\nfinished: 20261122T011000Z\nanswer: 250 ok\n");
    for (std::size_t n = 0; n < 3; ++n) {
      const std::string id = make_id(system_clock().now()).value();
      ids_[n] = id;
      test::spit(n < 2 ? paths.item(kPeer, id) : place + "/items/" + id, item_text(n));
    }
    config_.host = "hub.domain.com";
    config_.spool_directory = root_;
    log::use_sink(std::make_shared<log::CaptureSink>(sink_));
  }
  ~Site() { log::use_sink(nullptr); }
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;

  void work(os::FileOps& ops) {
    const auto spool = Spool::open(ops, root_);
    if (!spool.is_ok()) {
      return;
    }
    HostMta mta({str_cat({"smtp://127.0.0.1:", std::to_string(server_.port())}), "hub.domain.com",
                 std::chrono::seconds(10)});
    BypassOptions options;
    options.peer = kPeer;
    options.unacknowledged = true;
    NoticeStore notices(*spool, nullptr);
    (void)Bypass(config_, *spool, mta, notices, system_clock(), options).run();
  }

  void expect_promise(const FaultyFileOps& ops, Survival survival, const std::string& where) {
    const std::string disk = dir_ / ("cut" + std::to_string(cuts_++));
    ops.power_cut(disk, survival);
    FaultyFileOps quick(disk);
    const auto spool = Spool::open(quick, disk);
    ASSERT_TRUE(spool.is_ok()) << where;
    std::vector<std::string> doubtful;
    const auto undone = spool::recover_building(
        *spool, kPeer, [&](const std::string& item) { doubtful.push_back(item); });
    ASSERT_TRUE(undone.is_ok()) << where << undone.status().to_string();
    const auto taken = taken_recipients();
    for (const auto& [n, id] : ids_) {
      const std::string bob = str_cat({"bob", std::to_string(n), "@x"});
      const auto waits = waiting(*spool, id);
      const bool ambiguous = std::count(doubtful.begin(), doubtful.end(), id) != 0 || logged(id);
      const std::string about = str_cat({where, ", ", bob});
      EXPECT_GE(taken.count(bob) + waits.count(bob), 1U) << "lost, " << about;
      EXPECT_LE(waits.count(bob), 1U) << about;
      EXPECT_LE(taken.count(bob), 1U) << about;
      if (taken.count(bob) != 0 && waits.count(bob) != 0) {
        EXPECT_TRUE(ambiguous) << "twice without a word, " << about;
      }
      EXPECT_EQ(waits.count("later1@x"), n == 1 ? 1U : 0U) << about;
      const auto told = reports_to(*spool, str_cat({"ann", std::to_string(n), "@domain.com"}));
      EXPECT_LE(told, 1U) << about;
      if (waits.count(bob) == 0 && n != 2) {
        EXPECT_EQ(told, 1U) << "its sender hears nothing, " << about;
      } else if (taken.count(bob) == 0 || n == 2) {
        EXPECT_EQ(told, 0U) << about;
      }
    }
  }

  const std::string& root() const { return root_; }

 private:
  static test::SmtpServer::Options options() {
    test::SmtpServer::Options out;
    out.ehlo = {"PIPELINING", "8BITMIME"};  // no DSN
    out.script = [](const std::string& command) {
      return std::string(command.find("later1") != std::string::npos ? "450 4.2.1 later\r\n" : "");
    };
    return out;
  }

  std::multiset<std::string> taken_recipients() const {
    std::multiset<std::string> out;
    for (const auto& message : server_.messages()) {
      for (const std::string& rcpt : message.rcpts) {
        const std::string address = rcpt.substr(9, rcpt.find('>') - 9);
        if (message.ended && address != "later1@x") {
          out.insert(address);
        }
      }
    }
    return out;
  }

  // Recipients of item `id`, wherever it waits after recovery.
  static std::multiset<std::string> waiting(const Spool& spool, const std::string& id) {
    std::multiset<std::string> out;
    std::vector<std::string> places = {spool.paths().item(kPeer, id)};
    for (const Stage stage : spool::kStages) {
      const auto parcels = spool.list_parcels(kPeer, stage);
      for (const std::string& parcel : *parcels) {
        places.push_back(spool.paths().parcel(kPeer, stage, parcel) + "/items/" + id);
      }
    }
    for (const std::string& place : places) {
      const auto item = spool::ItemReader::open(os::real_file_ops(), place);
      if (item.is_ok()) {
        StringSink text;
        EXPECT_TRUE(copy(*item->plain_text(), text).is_ok());
        EXPECT_NE(text.str().find("\r\n.dot\r\n"), std::string::npos);
        for (const auto& recipient : item->envelope().recipients) {
          out.insert(recipient.address);
        }
      }
    }
    return out;
  }

  static std::uint64_t reports_to(const Spool& spool, const std::string& sender) {
    std::uint64_t found = 0;
    const auto ids = spool::list_ids(spool.ops(), spool.paths().notices_ready());
    for (const std::string& id : ids.value()) {
      const auto notice =
          spool::ItemReader::open(spool.ops(), str_cat({spool.paths().notices_ready(), "/", id}));
      EXPECT_TRUE(notice.is_ok()) << "a notice that is none";
      found += notice.is_ok() && notice->envelope().recipients.at(0).address == sender ? 1U : 0U;
    }
    return found;
  }

  bool logged(const std::string& id) const {
    const auto lines = sink_.lines();
    return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.starts_with(id) && line.find("outcome=ambiguous") != std::string::npos;
    });
  }

  test::TempDir dir_;
  std::string root_ = dir_ / "spool";
  config::Config config_;
  test::SmtpServer server_;
  std::map<std::size_t, std::string> ids_;
  log::CaptureSink sink_;
  int cuts_ = 0;
};

std::uint64_t bypass_operations() {
  Site site;
  FaultyFileOps ops(site.root());
  site.work(ops);
  site.expect_promise(ops, Survival::kOnlySynced, "no fault");
  return ops.calls();
}

TEST(BypassCrash, DeathAtAnyCallLosesNothingAndDoublesNothingSilently) {
  const std::uint64_t total = bypass_operations();
  ASSERT_GT(total, 50U);
  for (std::uint64_t n = 1; n <= total; ++n) {
    Site site;
    FaultyFileOps ops(site.root());
    ops.stop_at(n);
    site.work(ops);
    for (const Survival survival : test::kSurvivals) {
      site.expect_promise(ops, survival, ops.trace().at(n - 1));
    }
  }
}

TEST(BypassCrash, OneFailedCallLosesNothingAndDoublesNothingSilently) {
  const std::uint64_t total = bypass_operations();
  for (std::uint64_t n = 1; n <= total; ++n) {
    Site site;
    FaultyFileOps ops(site.root());
    ops.fail_at(n, n % 2 == 0 ? EIO : ENOSPC);
    site.work(ops);
    site.expect_promise(ops, Survival::kEverything, ops.trace().at(n - 1));
  }
}

}  // namespace
}  // namespace bsmtp::mda

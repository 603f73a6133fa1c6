// The life of an accepted parcel under faults: every file call of putting it off and of ending it,
// by removing it or, damaged, by setting it aside, fails, or is the last one before the process
// dies or the power goes. Promises held to: until it is over it is found under exactly one of its
// two names, whole, with the second message still to do; what was answered "put off" is known as
// such after a power cut; nothing is ever removed for a fault.
#include <gtest/gtest.h>

#include <cerrno>

#include "common/base/text.h"
#include "common/spool/spool.h"
#include "mda/deliver/accepted_dir.h"
#include "tests/support/faulty_file_ops.h"
#include "tests/support/temp_dir.h"

namespace bsmtp::mda {
namespace {

using spool::Spool;
using test::FaultyFileOps;
using test::Survival;

const std::string kId(44, 'a');
const std::string kName = "remote1." + kId;
constexpr const char* kFirst = "MAIL FROM:<>\r\nRCPT TO:<one@x>\r\nDATA\r\nA: 1\r\n\r\n1\r\n.\r\n";
constexpr const char* kSecond = "MAIL FROM:<>\r\nRCPT TO:<two@x>\r\nDATA\r\nA: 2\r\n\r\n2\r\n.\r\n";
constexpr const char* kText = "A: 2\r\n\r\n2\r\n";

class Gateway {
 public:
  Gateway() {
    FaultyFileOps ops(dir_.path());  // without faults: only faster than a disk
    EXPECT_TRUE(Spool::create_layout(ops, root_, {"remote1"}).is_ok());
    spool::AcceptedMeta meta;
    meta.peer = "remote1";
    meta.parcel_id = kId;
    meta.digest = std::string(64, 'd');
    for (const std::string item : {kFirst, kSecond}) {
      spool::AcceptedMessage message;
      message.text_digest = std::string(64, 'e');
      message.text_bytes = std::string_view(kText).size();
      message.item_bytes = item.size();
      meta.messages.push_back(message);
    }
    const std::string dir = str_cat({root_, "/inbound/accepted/", kName});
    EXPECT_TRUE(os::ensure_directory(os::real_file_ops(), dir, spool::kDirMode).is_ok());
    test::spit(dir + "/messages", str_cat({kFirst, kSecond}));
    test::spit(dir + "/meta", *spool::format_accepted_meta(meta));
  }

  const std::string& root() const { return root_; }
  std::string after_cut(const FaultyFileOps& ops, Survival survival) {
    const std::string target = dir_ / ("cut" + std::to_string(cuts_++));
    ops.power_cut(target, survival);
    return target;
  }

 private:
  test::TempDir dir_;
  std::string root_ = dir_ / "spool";
  int cuts_ = 0;
};

struct Life {
  std::uint64_t put_off = 0;  // how often it was told so
  bool removing = false;
  bool damaged = false;  // it is set aside in the end
};
const std::string kHeld = "/peers/remote1/held";

// The first message is delivered; the second is put off twice, then delivered or given up, too.
Status live(FaultyFileOps& ops, const std::string& root, Life& life) {
  TRY_ASSIGN(const Spool spool, Spool::open(ops, root));
  for (std::uint64_t round = 1; round <= 3; ++round) {
    TRY_ASSIGN(auto dir, AcceptedDir::claim(spool, kName));
    if (!dir) {
      return Status::temporary("4.3.0", "nobody else is there, but it was not to be had");
    }
    if (round == 3 && life.damaged) {
      return dir->set_aside().status();
    }
    if (round == 3) {
      life.removing = true;
      return dir->remove();
    }
    spool::Deferral deferral;
    deferral.attempts = round;
    TRY(dir->defer(deferral, {1}));
    life.put_off = round;
  }
  return Status::ok();
}

void expect_promises(const std::string& root, const Life& life, const std::string& where) {
  SCOPED_TRACE(where);
  const auto spool = Spool::open(os::real_file_ops(), root);
  ASSERT_TRUE(spool.is_ok()) << spool.status().text();
  const auto accepted = AcceptedDir::list_accepted(*spool);
  const auto deferred = AcceptedDir::list_deferred(*spool);
  ASSERT_TRUE(accepted.is_ok() && deferred.is_ok());
  const std::size_t places = accepted->size() + deferred->size();
  EXPECT_LE(places, 1U);
  if (places == 0 && life.damaged) {
    ASSERT_EQ(test::names_in(root + kHeld), std::vector<std::string>{kId + ".parcel"}) << "lost";
    const std::string held = str_cat({root, kHeld, "/", kId, ".parcel"});
    EXPECT_EQ(test::slurp(held + "/messages"), str_cat({kFirst, kSecond}));
    EXPECT_EQ(test::names_in(held).size(), 3U);
    return;
  }
  EXPECT_EQ(test::names_in(root + kHeld), std::vector<std::string>{});
  if (places == 0) {
    EXPECT_TRUE(life.removing) << "lost";
    return;
  }
  if (life.put_off > 0) {
    EXPECT_EQ(deferred->size(), 1U) << "put off, and then not";
  }
  const auto dir = AcceptedDir::claim(*spool, kName);
  ASSERT_TRUE(dir.is_ok()) << dir.status().text();
  ASSERT_TRUE(dir->has_value());
  EXPECT_GE((*dir)->deferral().attempts, life.put_off);
  EXPECT_EQ((*dir)->messages().back(), 2U);
  const auto item = (*dir)->open_message(2);
  ASSERT_TRUE(item.is_ok()) << item.status().text();
  StringSink text;
  EXPECT_TRUE(copy(*item->stuffed_text(), text).is_ok());
  EXPECT_EQ(text.take(), kText);
}

std::uint64_t calls_of_a_life(bool damaged) {
  const Gateway gateway;
  FaultyFileOps ops(gateway.root());
  Life life{.damaged = damaged};
  const Status status = live(ops, gateway.root(), life);
  EXPECT_TRUE(status.is_ok()) << status.text();
  EXPECT_EQ(test::names_in(gateway.root() + "/inbound/deferred"), std::vector<std::string>{});
  EXPECT_EQ(test::names_in(gateway.root() + "/inbound/tmp"), std::vector<std::string>{});
  return ops.calls();
}

class DeliverCrash : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Ends, DeliverCrash, ::testing::Bool(), [](const auto& test) {
  return std::string(test.param ? "SetAside" : "Removed");
});

TEST_P(DeliverCrash, DeathAtEveryCallKeepsTheParcel) {
  const std::uint64_t calls = calls_of_a_life(GetParam());
  ASSERT_GT(calls, 30U);
  for (std::uint64_t n = 1; n <= calls; ++n) {
    for (const Survival survival : test::kSurvivals) {
      Gateway gateway;
      FaultyFileOps ops(gateway.root());
      ops.stop_at(n);
      Life life{.damaged = GetParam()};
      ASSERT_FALSE(live(ops, gateway.root(), life).is_ok());
      expect_promises(gateway.after_cut(ops, survival), life,
                      str_cat({ops.trace().at(n - 1), ", call ", std::to_string(n), ", survival ",
                               std::to_string(static_cast<int>(survival))}));
    }
  }
}

TEST_P(DeliverCrash, OneFailingCallKeepsTheParcel) {
  const std::uint64_t calls = calls_of_a_life(GetParam());
  for (const int error : {EIO, ENOSPC}) {
    for (std::uint64_t n = 1; n <= calls; ++n) {
      Gateway gateway;
      FaultyFileOps ops(gateway.root());
      ops.fail_at(n, error);
      Life life{.damaged = GetParam()};
      const Status status = live(ops, gateway.root(), life);
      const std::string where = str_cat({ops.trace().at(n - 1), ", call ", std::to_string(n)});
      EXPECT_TRUE(status.is_ok() || status.is_temporary()) << where << status.text();
      for (const Survival survival : test::kSurvivals) {
        expect_promises(gateway.after_cut(ops, survival), life, where);
      }
    }
  }
}

}  // namespace
}  // namespace bsmtp::mda

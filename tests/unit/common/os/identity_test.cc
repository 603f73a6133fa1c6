#include "common/os/identity.h"

#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>

#include "tests/support/temp_dir.h"

namespace bsmtp::os {
namespace {

using test::TempDir;

constexpr uid_t kNobody = 65534;

// Runs `body` in a child and returns its exit status: credentials cannot be restored.
int in_child(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::_exit(body());
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

#define NEEDS_ROOT()                                \
  if (::geteuid() != 0) {                           \
    GTEST_SKIP() << "only root can change its ids"; \
  }

ServiceUser nobody() {
  return {kNobody, kNobody};
}

TEST(OwnerOf, IsTheDirectorysOwnerAndGroup) {
  const auto root = owner_of("/");
  ASSERT_TRUE(root.is_ok());
  EXPECT_EQ(root->uid, 0U);
  EXPECT_EQ(root->gid, 0U);
  EXPECT_TRUE(owner_of("/no-such-directory-here").status().is_temporary());
}

TEST(Become, GivesUpRootWithAllGroupsForGood) {
  NEEDS_ROOT();
  EXPECT_EQ(in_child([] {
              const std::array<gid_t, 2> leftovers{0, 4};
              if (::setgroups(leftovers.size(), leftovers.data()) != 0) return 1;
              if (!become(nobody(), false).is_ok()) return 2;
              std::array<gid_t, 8> groups{};
              const int n = ::getgroups(groups.size(), groups.data());
              for (int i = 0; i < n; ++i) {
                if (groups.at(static_cast<std::size_t>(i)) != kNobody) return 3;
              }
              return has_root() || ::setuid(0) == 0 || ::seteuid(0) == 0 ? 4 : 0;
            }),
            0);
}

TEST(Become, UndoesWhatSendmailLeavesOfRoot) {
  NEEDS_ROOT();
  EXPECT_EQ(in_child([] {
              // F=S: real uid 0, effective the mailer's, groups of the delivery before it.
              const std::array<gid_t, 1> leftovers{1002};
              if (::setgroups(leftovers.size(), leftovers.data()) != 0) return 1;
              if (::setresgid(kNobody, kNobody, kNobody) != 0) return 1;
              if (::setresuid(0, kNobody, kNobody) != 0) return 1;
              if (!has_root()) return 2;
              if (!become(nobody(), false).is_ok()) return 3;
              return has_root() || ::seteuid(0) == 0 ? 4 : 0;
            }),
            0);
}

TEST(Become, RefusesToStayRoot) {
  NEEDS_ROOT();
  EXPECT_EQ(in_child([] { return become({0, 0}, false).is_temporary() ? 0 : 1; }), 0);
  EXPECT_EQ(in_child([] { return become({0, 0}, true).is_ok() ? 0 : 1; }), 0);
}

TEST(Become, RefusesRootsGroupForAnotherUser) {
  NEEDS_ROOT();
  EXPECT_EQ(in_child([] {
              const Status status = become({kNobody, 0}, false);
              if (!status.is_temporary()) return 1;
              if (status.text().find("chgrp") == std::string::npos) return 2;
              return ::geteuid() == 0 ? 0 : 3;  // nothing was given up half-way
            }),
            0);
}

TEST(Become, AnOrdinaryUserStaysWhoItIs) {
  NEEDS_ROOT();
  EXPECT_EQ(in_child([] {
              if (!become(nobody(), false).is_ok()) return 1;
              if (!become({1, 1}, false).is_ok()) return 2;
              return ::geteuid() == kNobody ? 0 : 3;
            }),
            0);
}

TEST(Become, RefusesDifferentRealAndEffectiveUsers) {
  NEEDS_ROOT();
  EXPECT_EQ(in_child([] {
              if (::setresgid(1, 1, 1) != 0 || ::setresuid(1, kNobody, kNobody) != 0) return 1;
              return become(nobody(), false).is_temporary() ? 0 : 2;
            }),
            0);
}

struct ModeCase {
  const char* name;
  mode_t mode;
  mode_t group_bits;
  bool good;
};

TEST(SecretFile, ChecksOwnerKindAndMode) {
  const TempDir dir;
  const std::string path = dir / "key";
  test::spit(path, "secret");
  const ModeCase cases[] = {
      {"owner reads", 0400, 0, true},        {"owner writes", 0600, 0, true},
      {"group reads", 0640, 0, false},       {"group may read", 0640, 0040, true},
      {"group writes", 0660, 0040, false},   {"others read", 0604, 0044, false},
      {"others execute", 0601, 0070, false},
  };
  for (const auto& c : cases) {
    ASSERT_EQ(::chmod(path.c_str(), c.mode), 0);
    EXPECT_EQ(check_secret_file(path, c.group_bits).is_ok(), c.good) << c.name;
  }
  ASSERT_EQ(::chmod(path.c_str(), 0400), 0);
  ASSERT_EQ(::symlink(path.c_str(), (dir / "link").c_str()), 0);
  EXPECT_TRUE(check_secret_file(dir / "link").is_temporary());
  EXPECT_TRUE(check_secret_file(dir / "missing").is_temporary());
  EXPECT_TRUE(check_secret_file(dir.path()).is_temporary());
}

TEST(SecretFile, MustBelongToUsOrRoot) {
  NEEDS_ROOT();
  const TempDir dir;
  const std::string path = dir / "key";
  test::spit(path, "secret");
  ASSERT_EQ(::chmod(path.c_str(), 0400), 0);
  ASSERT_EQ(::chown(path.c_str(), 1234, 1234), 0);
  EXPECT_TRUE(check_secret_file(path).is_temporary());
}

TEST(PrivateDirectory, MustBeClosedToOthers) {
  const TempDir dir;
  EXPECT_TRUE(check_private_directory(dir.path()).is_ok());
  ASSERT_EQ(::chmod(dir.path().c_str(), 0711), 0);
  EXPECT_TRUE(check_private_directory(dir.path()).is_temporary());
  test::spit(dir / "f", "");
  EXPECT_TRUE(check_private_directory(dir / "f").is_temporary());
}

}  // namespace
}  // namespace bsmtp::os

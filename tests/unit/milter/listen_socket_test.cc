#include "milter/listen_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/base/unique_fd.h"

namespace bsmtp::milter {
namespace {

class ListenSocketTest : public testing::Test {
 protected:
  ListenSocketTest() {
    std::string name = "/tmp/milter-socket.XXXXXX";
    directory_ = mkdtemp(name.data());
    path_ = directory_ / "s";
  }
  ~ListenSocketTest() override { std::filesystem::remove_all(directory_); }

  UniqueFd bind_socket(bool listening) const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string text = path_.string();
    text.copy(address.sun_path, text.size());
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    if (listening) {
      EXPECT_EQ(listen(fd.get(), 5), 0);
    }
    return fd;
  }

  std::filesystem::path directory_;
  std::filesystem::path path_;
};

TEST(SocketPathTest, Forms) {
  EXPECT_EQ(socket_path("unix:/run/x"), "/run/x");
  EXPECT_EQ(socket_path("LOCAL:/run/x"), "/run/x");
  EXPECT_EQ(socket_path("/run/x"), "/run/x");
  EXPECT_EQ(socket_path("inet:8891@127.0.0.1"), "");
  EXPECT_EQ(socket_path("inet6:8891@[::1]"), "");
}

TEST_F(ListenSocketTest, NothingThereIsFine) {
  EXPECT_TRUE(make_way(path_).is_ok());
}

TEST_F(ListenSocketTest, StaleSocketIsRemoved) {
  bind_socket(true).reset();
  ASSERT_TRUE(std::filesystem::exists(path_));
  EXPECT_TRUE(make_way(path_).is_ok());
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ListenSocketTest, ListeningSocketIsLeftAlone) {
  const UniqueFd fd = bind_socket(true);
  const Status status = make_way(path_);
  EXPECT_TRUE(status.is_temporary());
  EXPECT_NE(status.text().find(path_.string()), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(path_));
}

// As a milter leaves it that root started and killed.
TEST_F(ListenSocketTest, StaleSocketOfAnotherUserIsRemovedAListeningOneIsNot) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "needs two users";
  }
  constexpr uid_t kMilter = 65534;
  ASSERT_EQ(chown(directory_.c_str(), kMilter, kMilter), 0);
  UniqueFd fd = bind_socket(true);
  ASSERT_EQ(chmod(path_.c_str(), 0600), 0);
  ASSERT_EQ(seteuid(kMilter), 0);
  const Status listening = make_way(path_);
  fd.reset();
  const Status stale = make_way(path_);
  ASSERT_EQ(seteuid(0), 0);
  EXPECT_NE(listening.text().find("user id 0"), std::string::npos) << listening.text();
  EXPECT_TRUE(stale.is_ok()) << stale.text();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ListenSocketTest, OtherFilesAreLeftAlone) {
  std::ofstream(path_) << "precious";
  EXPECT_TRUE(make_way(path_).is_temporary());
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(ListenSocketTest, OnlyTheOwnSocketIsRemovedAtTheEnd) {
  const UniqueFd first = bind_socket(true);
  SocketFile file;
  ASSERT_TRUE(file.adopt(path_).is_ok());
  std::filesystem::rename(path_, directory_ / "old");  // keeps the inode in use
  const UniqueFd second = bind_socket(true);
  file.remove();
  EXPECT_TRUE(std::filesystem::exists(path_)) << "a successor's socket";
  SocketFile own;
  ASSERT_TRUE(own.adopt(path_).is_ok());
  own.remove();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace bsmtp::milter

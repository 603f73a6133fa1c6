// The peer bsmtp-out is measured against: the same durable work and nothing else. Reads standard
// input, writes it to DIR/tmp/<pid>, fsync, rename into DIR/incoming, fsync of that directory.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: out_bench_peer DIR < message\n");
    return 75;
  }
  const std::string dir = argv[1];
  const std::string name = std::to_string(::getpid());
  const std::string tmp = dir + "/tmp/" + name;
  const int out = ::open(tmp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
  std::array<char, 65536> block;  // NOLINT: filled by read before use
  ssize_t n = 0;
  while ((n = ::read(STDIN_FILENO, block.data(), block.size())) > 0) {
    if (::write(out, block.data(), static_cast<std::size_t>(n)) != n) {
      return 75;
    }
  }
  if (out < 0 || n < 0 || ::fsync(out) != 0 || ::close(out) != 0) {
    return 75;
  }
  const std::string incoming = dir + "/incoming";
  const int fd = ::open(incoming.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (::rename(tmp.c_str(), (incoming + "/" + name).c_str()) != 0 || ::fsync(fd) != 0) {
    return 75;
  }
  return 0;
}

// The peer `bsmtp-out --lmtp` is measured against: the same durable work and nothing else. An LMTP
// session on standard input and output; takes every sender and recipient, writes each text as it
// comes to DIR/tmp/<pid>.<n>, fsync, rename into DIR/incoming, fsync of that directory, "250" for
// each recipient. No check of anything, no log.
#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace {

class Session {
 public:
  explicit Session(std::string dir)
      : dir_(std::move(dir)),
        incoming_(::open((dir_ + "/incoming").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}

  int run() {
    say("220 sink");
    std::string line;
    while (next_line(line)) {
      if (is(line, "LHLO")) {
        say("250-sink\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n"
            "250-SIZE\r\n250 SMTPUTF8");
      } else if (is(line, "MAIL")) {
        recipients_ = 0;
        say("250 2.1.0 ok");
      } else if (is(line, "RCPT")) {
        ++recipients_;
        say("250 2.1.5 ok");
      } else if (is(line, "DATA")) {
        say("354 go");
        const bool stored = store();
        for (std::size_t i = 0; i < recipients_; ++i) {
          say(stored ? "250 2.0.0 stored" : "451 4.3.0 not stored");
        }
      } else if (is(line, "QUIT")) {
        say("221 2.0.0 bye");
        flush();
        return 0;
      } else {
        say("250 2.0.0 ok");
      }
    }
    return 0;
  }

 private:
  static bool is(const std::string& line, const char* verb) {
    return ::strncasecmp(line.c_str(), verb, 4) == 0;
  }

  void say(std::string_view reply) { out_.append(reply).append("\r\n"); }

  void flush() {
    if (!out_.empty() && ::write(STDOUT_FILENO, out_.data(), out_.size()) < 0) {
      ::_exit(1);
    }
    out_.clear();
  }

  // Adds what there is to the buffer, after everything said so far has been sent.
  bool fill() {
    flush();
    const ssize_t n = ::read(STDIN_FILENO, block_.data(), block_.size());
    if (n > 0) {
      in_.append(block_.data(), static_cast<std::size_t>(n));
    }
    return n > 0;
  }

  bool next_line(std::string& line) {
    std::size_t end = 0;
    while ((end = in_.find("\r\n")) == std::string::npos) {
      if (!fill()) {
        return false;
      }
    }
    line = in_.substr(0, end);
    in_.erase(0, end + 2);
    return true;
  }

  bool store() {
    const std::string name = std::to_string(::getpid()) + "." + std::to_string(++count_);
    const std::string tmp = dir_ + "/tmp/" + name;
    std::size_t end = 0;
    while ((end = in_.find("\r\n.\r\n")) == std::string::npos) {
      if (!fill()) {
        return false;
      }
    }
    const int out = ::open(tmp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
    const bool written = out >= 0 &&
                         ::write(out, in_.data(), end + 5) == static_cast<ssize_t>(end + 5) &&
                         ::fsync(out) == 0 && ::close(out) == 0;
    in_.erase(0, end + 5);
    return written && ::rename(tmp.c_str(), (dir_ + "/incoming/" + name).c_str()) == 0 &&
           ::fsync(incoming_) == 0;
  }

  std::string dir_;
  int incoming_;
  std::array<char, 65536> block_{};
  std::string in_;
  std::string out_;
  std::size_t recipients_ = 0;
  std::size_t count_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  return argc == 2 ? Session(argv[1]).run() : 75;
}

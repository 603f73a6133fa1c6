// A scriptable SMTP server on a loopback socket for tests of clients: records what it was sent
// and answers what the script says, else what a good server would. One connection at a time,
// served by its own thread. Knows nothing of the product beyond common/base.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/base/unique_fd.h"

namespace bsmtp::test {

class SmtpServer {
 public:
  struct Message {
    std::string mail;                // the MAIL command line
    std::vector<std::string> rcpts;  // all RCPT command lines, refused ones too
    std::string text;                // as received: dot-stuffed CRLF, without the end dot
    bool ended = false;              // the end dot came
  };
  // What a script may answer instead of the default. `command` is the line without CRLF;
  // "<connect>" stands for the greeting and "<text>" for the end dot. Return "" for the default
  // answer; "CLOSE" closes without a word; otherwise full reply lines with CRLF ("421 bye\r\n"
  // closes after it is sent); "SLEEP n" waits n milliseconds and then gives the default answer.
  using Script = std::function<std::string(const std::string& command)>;

  struct Options {
    // Keywords of the EHLO reply.
    std::vector<std::string> ehlo = {"PIPELINING", "SIZE 10240000", "8BITMIME",
                                     "DSN",        "SMTPUTF8",      "ENHANCEDSTATUSCODES"};
    Script script;
    // Close when this many octets of message text have come (0 = never).
    std::uint64_t close_in_text_after = 0;
  };
  explicit SmtpServer(Options options);
  SmtpServer() : SmtpServer(Options()) {}
  ~SmtpServer();
  SmtpServer(const SmtpServer&) = delete;
  SmtpServer& operator=(const SmtpServer&) = delete;

  std::uint16_t port() const { return port_; }
  // A new connected socket to the server.
  UniqueFd connect() const;
  // Each waits (10 s at most) until the connections made by connect() have ended, then tells
  // what came.
  std::vector<Message> messages() const;
  std::vector<std::string> commands() const;
  // How many separate reads the commands came in: shows pipelining.
  std::size_t reads() const;

 private:
  struct Session {
    int fd = -1;
    std::string input;
    Message message;
    bool has_recipient = false;
    bool in_text = false;
  };
  void run();
  void serve(int fd);
  bool take_command(Session& session);
  bool take_text(Session& session);
  bool reply_to(Session& session, const std::string& command, const std::string& usual,
                std::string& given);
  std::string usual_reply(const Session& session, const std::string& command) const;
  void settle(std::unique_lock<std::mutex>& lock) const;

  Options options_;
  UniqueFd listener_;
  UniqueFd stop_read_;
  UniqueFd stop_write_;
  std::uint16_t port_ = 0;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable std::size_t connected_ = 0;  // by connect()
  std::size_t served_ = 0;
  std::vector<Message> messages_;
  std::vector<std::string> commands_;
  std::size_t reads_ = 0;
  std::thread thread_;
};

}  // namespace bsmtp::test

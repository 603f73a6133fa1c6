// A scriptable SMTP server on a loopback socket for tests of clients: records what it was sent
// and answers what the script says, else what a good server would. One connection at a time,
// served by its own thread. Knows nothing of the product beyond common/base.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
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
  // Waits until the connection at hand has ended, then tells what came.
  std::vector<Message> messages() const;
  std::vector<std::string> commands() const;
  // How many separate reads the commands came in: shows pipelining.
  std::size_t reads() const;
  // Ends the server thread; the destructor does it too.
  void stop();

 private:
  struct Session;
  void run();
  void serve(int fd);
  bool answer(Session& session, const std::string& command);
  bool take_text(Session& session);
  bool send_reply(int fd, const std::string& reply);

  Options options_;
  UniqueFd listener_;
  UniqueFd stop_read_;
  UniqueFd stop_write_;
  std::uint16_t port_ = 0;
  mutable std::mutex mutex_;
  std::vector<Message> messages_;
  std::vector<std::string> commands_;
  std::size_t reads_ = 0;
  std::thread thread_;
};

}  // namespace bsmtp::test

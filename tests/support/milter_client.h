// MilterClient: the MTA's side of the milter protocol, version 6, over a unix or inet socket, for
// tests and benchmarks. It behaves as Postfix and sendmail do: skips the steps the filter does not
// want, does not wait where the filter said it never answers, sends the macros asked for. Unlike
// miltertest it sees the ESMTP arguments of added recipients.
// Failure: a temporary Status; a filter that is silent for 20 s counts as failed.
// Threads: one client, one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/base/unique_fd.h"

namespace bsmtp::test {

// Bits of the option negotiation, as the protocol numbers them.
inline constexpr std::uint32_t kActAddRecipient = 0x04;
inline constexpr std::uint32_t kActDeleteRecipient = 0x08;
inline constexpr std::uint32_t kActAddRecipientPar = 0x80;
inline constexpr std::uint32_t kActSetSymbolList = 0x100;
inline constexpr std::uint32_t kAllActions = 0x1FF;
inline constexpr std::uint32_t kAllSteps = 0x1FFFFF;
inline constexpr std::uint32_t kStepNoConnect = 0x01;
inline constexpr std::uint32_t kStepNoHelo = 0x02;
inline constexpr std::uint32_t kStepNoMail = 0x04;
inline constexpr std::uint32_t kStepNoRcpt = 0x08;
inline constexpr std::uint32_t kStepNoBody = 0x10;
inline constexpr std::uint32_t kStepNoHeaders = 0x20;
inline constexpr std::uint32_t kStepNoEndOfHeader = 0x40;
inline constexpr std::uint32_t kStepNoData = 0x200;
inline constexpr std::uint32_t kStepQuietConnect = 0x1000;
inline constexpr std::uint32_t kStepQuietMail = 0x4000;
inline constexpr std::uint32_t kStepQuietRcpt = 0x8000;

struct RecipientAddition {
  std::string address;
  std::string args;
  bool with_args = false;  // sent as "add with arguments", also when they are empty
};

// What the filter answered at the end of a message.
struct Outcome {
  char reply = '\0';  // 'c' continue, 't' tempfail, 'y' with `text`, ...
  std::string text;   // of 'y'
  std::string order;  // one letter per change, in the order they came: '2', '+', '-', ...
  std::vector<RecipientAddition> added;
  std::vector<std::string> deleted;
};

class MilterClient {
 public:
  // "unix:PATH" or "inet:PORT@ADDRESS" (numeric).
  static Result<MilterClient> open(const std::string& socket);

  // Offers these; afterwards actions(), steps() and symbols() are what the filter wants.
  Status negotiate(std::uint32_t actions = kAllActions, std::uint32_t steps = kAllSteps);
  std::uint32_t actions() const { return actions_; }
  std::uint32_t steps() const { return steps_; }
  // Macro names the filter asked for, by protocol stage (0 connect, 2 MAIL, 3 RCPT, 5 end).
  const std::map<std::uint32_t, std::string>& symbols() const { return symbols_; }

  // Values given before the command of that letter: 'C' connect, 'M' MAIL, 'R' RCPT, 'E' end.
  void set_macros(char command, std::vector<std::pair<std::string, std::string>> macros);

  // Each returns the filter's reply, 'c' where it said it would not answer.
  Result<char> connect(const std::string& host = "client.example",
                       const std::string& address = "192.0.2.1");
  Result<char> helo(const std::string& name = "client.example");
  Result<char> mail(const std::vector<std::string>& arguments);
  Result<char> rcpt(const std::vector<std::string>& arguments);
  Result<char> data();
  Result<char> header(const std::string& name, const std::string& value);
  Result<char> end_of_header();
  Result<char> body(std::string_view chunk);
  Result<Outcome> end_of_message();
  Status abort();
  Status quit();

  // negotiate() and connect(), the usual beginning.
  Status begin();
  // A whole message: each recipient is its argument list.
  Result<Outcome> message(const std::vector<std::string>& sender,
                          const std::vector<std::vector<std::string>>& recipients);

  Status send_raw(std::string_view octets);
  // Sends one packet; `payload` without length and command.
  Status send(char command, std::string_view payload);
  // Steps without an answer wait in the client for the next one with an answer; this sends them.
  Status flush();
  struct Packet {
    char command = '\0';
    std::string payload;
  };
  Result<Packet> receive();
  // Says that nothing more will come; the filter may still answer.
  void end_input();
  // True when the filter has closed the connection (waits for that up to 20 s).
  bool closed();

 private:
  explicit MilterClient(UniqueFd fd) : fd_(std::move(fd)) {}
  Status send_macros(char command);
  Status fill(std::size_t octets);
  Result<char> step(char command, std::string_view payload, std::uint32_t quiet_bit);

  UniqueFd fd_;
  std::uint32_t actions_ = 0;
  std::uint32_t steps_ = 0;
  std::map<std::uint32_t, std::string> symbols_;
  std::map<char, std::vector<std::pair<std::string, std::string>>> macros_;
  std::string in_;
  std::string out_;
};

}  // namespace bsmtp::test

// What tests of the SMTP client share: a scripted server, a connection to it and an opened client.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/smtp/client.h"
#include "common/smtp/socket_transport.h"
#include "tests/support/smtp_server.h"

namespace bsmtp::smtp {

using test::SmtpServer;

// A server, a connection to it and an opened client.
class Session {
 public:
  explicit Session(SmtpServer::Options server, Client::Options client = defaults())
      : server_(std::move(server)),
        transport_(os::Socket(server_.connect(), "fake", os::SocketOptions{})),
        client_(transport_, std::move(client)),
        opened_(client_.open()) {}
  Session() : Session(SmtpServer::Options()) {}

  static Client::Options defaults() {
    Client::Options options;
    options.ehlo_name = "hub.domain.com";
    options.peer = "fake";
    options.timeouts = {.greeting = std::chrono::seconds(5),
                        .command = std::chrono::seconds(5),
                        .data_start = std::chrono::seconds(5),
                        .data_block = std::chrono::seconds(5),
                        .data_end = std::chrono::seconds(5)};
    return options;
  }
  // Ends the connection, so that the server's record is complete.
  SmtpServer& done() {
    client_.quit();
    transport_.shutdown();
    return server_;
  }
  Client& client() { return client_; }
  const Status& opened() const { return opened_; }

 private:
  SmtpServer server_;
  SocketTransport transport_;
  Client client_;
  Status opened_;
};

inline mail::Envelope envelope_to(const std::vector<std::string>& recipients) {
  mail::Envelope envelope;
  envelope.sender = "ann@domain.com";
  for (const std::string& address : recipients) {
    envelope.recipients.push_back({address, "", "", {}});
  }
  return envelope;
}

inline Delivery send_text(Client& client, const mail::Envelope& envelope, std::string_view text) {
  StringSource source(text);
  return client.send(envelope, source);
}

inline SmtpServer::Options scripted(SmtpServer::Script script) {
  SmtpServer::Options options;
  options.script = std::move(script);
  return options;
}

// Answers one exact command with one reply.
inline SmtpServer::Options answering(const std::string& command, const std::string& reply) {
  return scripted([=](const std::string& got) { return got == command ? reply : ""; });
}

}  // namespace bsmtp::smtp

// MapServer: answers socketmap look-ups on one listening socket, in a thread of its own.
// Guarantees: every answer comes from the Policy that new messages see at that moment; text that
// is no request closes its connection and nothing else; memory is bounded (kMaxConnections, one
// request and kMaxReplies of answers each); a client that does not go on is cut off. A look-up
// that fails for whatever reason is TEMP: the MTA keeps the mail.
// Threads: open(), start() and stop() belong to the main thread; all else is the server's own.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <thread>

#include "common/base/status.h"
#include "common/base/unique_fd.h"
#include "milter/listen_socket.h"
#include "milter/policy.h"

namespace bsmtp::milter {

// Postfix has one connection per proxymap, trivial-rewrite or smtpd process, sendmail one per
// process that routes mail; further ones wait in the backlog until one ends or is found idle.
inline constexpr std::size_t kMaxConnections = 400;
// Answers that wait for a client to read them; no more requests are taken meanwhile.
inline constexpr std::size_t kMaxReplies = 65536;
// What a client may take.
struct MapLimits {
  std::chrono::milliseconds idle = std::chrono::minutes(10);       // between requests
  std::chrono::milliseconds full_idle = std::chrono::seconds(10);  // when others wait for a place
  // From a request's first octet to its last, and for each portion of the answers to be read.
  std::chrono::milliseconds request = std::chrono::seconds(30);
  std::chrono::milliseconds sweep = std::chrono::seconds(1);  // how often these are looked at
};

class MapServer {
 public:
  // `policy` outlives the server.
  explicit MapServer(const PolicyHolder& policy, const MapLimits& limits = {})
      : policy_(policy), limits_(limits) {}
  MapServer(const MapServer&) = delete;
  MapServer& operator=(const MapServer&) = delete;
  ~MapServer() { stop(); }

  // Listens: clients may connect and wait from now on. "" = no socketmap. `mode` is that of a
  // unix socket. Temporary 4.3.x names the socket.
  Status open(const std::string& connection, mode_t mode);
  // After the program has become a daemon: no thread survives a fork.
  Status start();
  // Ends the thread, the connections and the socket file. Does nothing the second time.
  void stop();

 private:
  void run() const;

  const PolicyHolder& policy_;
  const MapLimits limits_;
  SocketFile file_;
  UniqueFd listener_;
  UniqueFd stop_;  // eventfd
  std::thread thread_;
};

}  // namespace bsmtp::milter

// One poll loop over all socketmap connections; see map_server.h.
#include "milter/map_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <exception>
#include <system_error>
#include <utility>
#include <vector>

#include "common/base/text.h"
#include "common/log/events.h"
#include "common/socketmap/protocol.h"
#include "milter/map_lookup.h"

namespace bsmtp::milter {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kKey = "socketmap-socket";

// One client: what it sent that is not answered yet, and answers it has not read yet.
class Connection {
 public:
  explicit Connection(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  bool wants_input() const { return !closing_ && !more_ && out_.size() < kMaxReplies; }
  bool wants_output() const { return !out_.empty(); }
  // `full`: others wait for a place.
  Clock::time_point deadline(bool full, const MapLimits& limits) const {
    const bool at_rest = in_.empty() && out_.empty();
    return since_ + (!at_rest ? limits.request : full ? limits.full_idle : limits.idle);
  }

  // False when the connection is at its end.
  bool ready(short events, const PolicyHolder& policies) {
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0 && wants_input() && !receive()) {
      return false;
    }
    // All of one batch by one set of rules, as libmilter's sessions do for a message.
    const std::shared_ptr<const Policy> policy = policies.get();
    do {
      answer(*policy);
      if (!send()) {
        return false;
      }
    } while (out_.empty() && more_);
    return !closing_ || !out_.empty();
  }

 private:
  bool receive() {
    std::array<char, 16384> buffer;  // NOLINT(*-member-init): filled by recv
    const ssize_t n = recv(fd(), buffer.data(), buffer.size(), 0);
    if (n < 0) {
      return errno == EAGAIN || errno == EINTR;
    }
    if (n == 0) {  // half-closed: what it asked is still answered
      closing_ = true;
      return true;
    }
    if (in_.empty() && out_.empty()) {
      since_ = Clock::now();
    }
    in_.append(buffer.data(), static_cast<std::size_t>(n));
    return true;
  }

  void answer(const Policy& policy) {
    std::string_view rest = in_;
    more_ = false;
    bool answered = false;
    const bool all_read = out_.empty();  // else the clock runs for the answers that wait
    while (!bad_) {
      const socketmap::Parsed request = socketmap::parse_request(rest);
      if (request.outcome == socketmap::Outcome::kBad) {
        bad_ = closing_ = true;
        log::trouble("-", Status::temporary("4.3.0", str_cat({kKey,
                                                              ": a client sent what is no "
                                                              "socketmap request; closed: ",
                                                              printable(rest.substr(0, 80))})));
        rest = {};
        break;
      }
      if (request.outcome == socketmap::Outcome::kIncomplete) {
        break;
      }
      if (out_.size() >= kMaxReplies) {
        more_ = true;
        break;
      }
      append_answer(policy, request);
      rest.remove_prefix(request.consumed);
      answered = true;
    }
    in_.erase(0, in_.size() - rest.size());
    if (answered && all_read) {
      since_ = Clock::now();
    }
  }

  void append_answer(const Policy& policy, const socketmap::Parsed& request) {
    MapAnswer answer;
    try {
      answer = look_up_map(policy, request.name, request.key);
    } catch (const std::exception&) {
      answer = {socketmap::Answer::kTemp, "out of memory"};
    }
    socketmap::append_reply(out_, answer.answer, answer.data);
  }

  bool send() {
    while (!out_.empty()) {
      const ssize_t n = ::send(fd(), out_.data(), out_.size(), MSG_NOSIGNAL);
      if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
      }
      out_.erase(0, static_cast<std::size_t>(n));
      since_ = Clock::now();
    }
    return true;
  }

  UniqueFd fd_;
  std::string in_;   // less than a read and a request together
  std::string out_;  // less than kMaxReplies and one answer together
  Clock::time_point since_ = Clock::now();
  bool closing_ = false;  // no more input; ends when the answers are out
  bool bad_ = false;
  bool more_ = false;  // whole requests wait for room in out_
};

class Loop {
 public:
  Loop(int listener, int stop, const PolicyHolder& policies, const MapLimits& limits)
      : listener_(listener), stop_(stop), policies_(policies), limits_(limits) {}

  void run() {
    for (;;) {
      wait();
      if (fds_[0].revents != 0) {
        return;
      }
      serve();
      if (fds_[1].revents != 0) {
        accept_one();
      }
      const auto now = Clock::now();
      const bool full = connections_.size() >= kMaxConnections;
      std::erase_if(connections_,
                    [&](const Connection& c) { return c.deadline(full, limits_) < now; });
    }
  }

 private:
  void wait() {
    fds_.clear();
    fds_.push_back({stop_, POLLIN, 0});
    // A full house, or no descriptor left: the others wait, a negative one is not polled.
    const bool room = connections_.size() < kMaxConnections && Clock::now() >= accept_after_;
    fds_.push_back({room ? listener_ : -1, POLLIN, 0});
    for (const Connection& connection : connections_) {
      const int events =
          (connection.wants_input() ? POLLIN : 0) | (connection.wants_output() ? POLLOUT : 0);
      fds_.push_back({connection.fd(), static_cast<short>(events), 0});
    }
    if (poll(fds_.data(), fds_.size(), static_cast<int>(limits_.sweep.count())) < 0) {
      for (pollfd& fd : fds_) {
        fd.revents = 0;
      }
    }
  }

  void serve() {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      const short events = fds_[i + 2].revents;
      if (events != 0 && !connections_[i].ready(events, policies_)) {
        continue;
      }
      if (kept != i) {
        connections_[kept] = std::move(connections_[i]);
      }
      ++kept;
    }
    connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(kept),
                       connections_.end());
  }

  void accept_one() {
    UniqueFd fd(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd.valid()) {
      connections_.emplace_back(std::move(fd));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      accept_after_ = Clock::now() + std::chrono::seconds(1);
    }
  }

  int listener_;
  int stop_;
  const PolicyHolder& policies_;
  const MapLimits& limits_;
  std::vector<Connection> connections_;
  std::vector<pollfd> fds_;
  Clock::time_point accept_after_;
};

}  // namespace

Status MapServer::open(const std::string& connection, mode_t mode) {
  if (connection.empty()) {
    return Status::ok();
  }
  const std::string path = socket_path(connection);
  if (!path.empty()) {
    TRY(make_way(path, kKey));
  }
  // The socket is born with its mode: no moment in which others could connect.
  const mode_t old = umask(~mode & 0777U);
  auto listener = listen_on(connection, kKey);
  umask(old);
  TRY_ASSIGN(listener_, std::move(listener));
  stop_.reset(eventfd(0, EFD_CLOEXEC));
  if (!stop_.valid()) {
    return Status::from_errno("eventfd", errno);
  }
  return file_.adopt(path, kKey);
}

Status MapServer::start() {
  if (!listener_.valid()) {
    return Status::ok();
  }
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    return Status::temporary("4.3.0", str_cat({kKey, ": no thread: ", error.what()}));
  }
  return Status::ok();
}

void MapServer::run() const {
  // Out of memory ends all connections, which are asked for again, not the service.
  for (;;) {
    try {
      Loop(listener_.get(), stop_.get(), policy_, limits_).run();
      return;
    } catch (const std::exception&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
}

void MapServer::stop() {
  file_.remove();
  if (thread_.joinable()) {
    const std::uint64_t one = 1;
    static_cast<void>(::write(stop_.get(), &one, sizeof one) < 0);
    thread_.join();
  }
  listener_.reset();
}

}  // namespace bsmtp::milter

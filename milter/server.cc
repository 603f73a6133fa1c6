#include "milter/server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>

#include "common/base/text.h"
#include "common/base/version.h"
#include "common/config/config.h"
#include "common/log/events.h"
#include "common/log/log.h"
#include "common/os/identity.h"
#include "milter/callbacks.h"
#include "milter/listen_socket.h"
#include "milter/map_server.h"
#include "milter/policy.h"
#include "milter/signals.h"

namespace bsmtp::milter {
namespace {

using std::chrono::milliseconds;

// libmilter sends the final reply after our last callback has returned.
constexpr milliseconds kReplyGrace{250};
constexpr milliseconds kDrainStep{50};

class Server {
 public:
  Server(ServerOptions options, config::Config config, std::shared_ptr<const Policy> policy)
      : options_(std::move(options)),
        config_(std::move(config)),
        runtime_(std::move(policy)),
        maps_(runtime_.policy()) {}

  Status open();
  Status become_daemon();
  Status serve_until_told();

 private:
  void reload();
  void drain();
  // Which signal came, 0 when `wait` (negative: none) passed, -1 when libmilter stopped.
  int wait_event(milliseconds wait) const;

  ServerOptions options_;
  config::Config config_;
  Runtime runtime_;
  MapServer maps_;
  SocketFile socket_file_;
  UniqueFd signals_;
  UniqueFd ended_;  // eventfd, written when libmilter's loop has ended
};

Status Server::open() {
  TRY_ASSIGN(signals_, block_signals());
  ended_.reset(eventfd(0, EFD_CLOEXEC));
  if (!ended_.valid()) {
    return Status::from_errno("eventfd", errno);
  }
  const std::string path = socket_path(config_.milter_socket);
  if (!path.empty()) {
    TRY(make_way(path));
  }
  // The socket is born with its mode: no moment in which others could connect.
  const mode_t old = umask(static_cast<mode_t>(~config_.milter_socket_mode) & 0777U);
  const Status opened = open_filter(runtime_, config_.milter_socket);
  umask(old);
  TRY(opened);
  TRY(socket_file_.adopt(path));
  return maps_.open(config_.socketmap_socket, static_cast<mode_t>(config_.milter_socket_mode));
}

// After the socket is open, so that whoever started us may start the MTA when we return; before
// any thread, as only the forking one lives on.
Status Server::become_daemon() {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) {
    return Status::from_errno("/dev/null", errno);
  }
  const pid_t child = fork();
  if (child < 0) {
    return Status::from_errno("fork", errno);
  }
  if (child > 0) {
    std::_Exit(0);
  }
  if (setsid() < 0 || chdir("/") != 0) {
    return Status::from_errno("cannot become a daemon", errno);
  }
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (dup2(null.get(), fd) < 0) {
      return Status::from_errno("dup2", errno);
    }
  }
  return Status::ok();
}

int Server::wait_event(milliseconds wait) const {
  pollfd fds[2] = {{signals_.get(), POLLIN, 0}, {ended_.get(), POLLIN, 0}};
  if (poll(fds, 2, static_cast<int>(wait.count())) <= 0) {
    return 0;
  }
  return (fds[1].revents & POLLIN) != 0 ? -1 : next_signal(signals_);
}

void Server::reload() {
  auto config = config::load(options_.config_file);
  if (!config.is_ok()) {
    log::reload_failed(kProgram, config.status());
    return;
  }
  auto policy = Policy::load(*config);
  if (!policy.is_ok()) {
    log::reload_failed(kProgram, policy.status());
    return;
  }
  if (config->milter_socket != config_.milter_socket ||
      config->milter_socket_mode != config_.milter_socket_mode) {
    log::alarm("-", str_cat({"milter-socket is now ", config->milter_socket,
                             "; restart bsmtp-milter, a reload keeps ", config_.milter_socket}));
  }
  if (config->socketmap_socket != config_.socketmap_socket) {
    log::alarm("-", "socketmap-socket has changed; restart bsmtp-milter, a reload keeps the old");
  }
  log::set_level(log::level_from(config->log_level));
  const std::string files = join(policy.value()->rules().files(), " ");
  runtime_.policy().set(std::move(policy).value());
  log::reloaded(kProgram, files);
}

// New connections find no socket, or are refused when they have it open already (inet); their
// mail is tried again by the sender. Connections that are between messages are cut.
void Server::drain() {
  runtime_.drain();
  socket_file_.remove();
  const auto deadline = std::chrono::steady_clock::now() + kDrainLimit;
  while (!runtime_.is_idle(kReplyGrace) && std::chrono::steady_clock::now() < deadline) {
    const int event = wait_event(kDrainStep);
    if (event == SIGTERM || event == SIGINT || event < 0) {
      break;
    }
  }
}

Status Server::serve_until_told() {
  TRY(maps_.start());
  const int ended = ended_.get();
  std::thread([ended] {
    const Status status = serve();
    log::trouble("-", status);
    const std::uint64_t one = 1;
    static_cast<void>(::write(ended, &one, sizeof one) < 0);
  }).detach();
  log::started(kProgram, kVersion);
  for (;;) {
    const int event = wait_event(milliseconds(-1));
    if (event == SIGHUP) {
      reload();
    } else if (event == SIGTERM || event == SIGINT) {
      drain();
      maps_.stop();  // answers to the last: messages under way may still need them
      const auto left = runtime_.in_flight();
      log::stopped(kProgram,
                   left == 0 ? "told to" : "told to, messages cut off: " + std::to_string(left));
      return Status::ok();
    } else if (event < 0) {
      socket_file_.remove();
      maps_.stop();
      return Status::temporary("4.3.0", "libmilter stopped serving; see the mail log");
    }
  }
}

// systemd's readiness protocol (sd_notify(3)): one datagram to the socket named in the
// environment. Nobody asks: nothing is sent.
void notify_ready() {
  const char* name = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = name == nullptr ? "" : name;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return;
  }
  path.copy(address.sun_path, path.size());
  if (address.sun_path[0] == '@') {
    address.sun_path[0] = '\0';
  }
  const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  constexpr std::string_view kReady = "READY=1";
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  static_cast<void>(sendto(fd.get(), kReady.data(), kReady.size(), MSG_NOSIGNAL,
                           reinterpret_cast<const sockaddr*>(&address), length));
}

// Typed by root: what root binds, the service could not replace.
Status become_socket_owner(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (!os::has_root() || slash == std::string::npos || slash == 0) {
    return Status::ok();
  }
  const auto owner = os::owner_of(path.substr(0, slash));
  // One that is missing is reported by the bind; one of root's, or of root's group, was meant so.
  return owner.is_ok() && owner->uid != 0 && owner->gid != 0 ? os::become(*owner, false)
                                                             : Status::ok();
}

}  // namespace

Status run_server(const ServerOptions& options) {
  if (options.foreground) {
    log::use_stderr(kProgram);
  } else {
    log::use_syslog(kProgram);
  }
  config::Config config;
  TRY_ASSIGN(config, config::load(options.config_file));
  log::set_level(log::level_from(config.log_level));
  TRY(become_socket_owner(socket_path(config.milter_socket)));
  std::shared_ptr<const Policy> policy;
  TRY_ASSIGN(policy, Policy::load(config));
  // Not destroyed before the process ends: libmilter's threads use it.
  static std::unique_ptr<Server> server;
  server = std::make_unique<Server>(options, std::move(config), std::move(policy));
  TRY(server->open());
  if (!options.foreground) {
    TRY(server->become_daemon());
  }
  notify_ready();
  return server->serve_until_told();
}

}  // namespace bsmtp::milter

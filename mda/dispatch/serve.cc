// See serve.h.
#include "mda/dispatch/serve.h"

#include <sys/stat.h>

#include <utility>

#include "common/base/version.h"
#include "common/log/events.h"
#include "common/log/log.h"
#include "mda/agent/agent.h"

namespace bsmtp::mda {
namespace {

constexpr const char* kProgram = "bsmtp-dispatch";

// What runs, and with which configuration.
struct Running {
  std::shared_ptr<const config::Config> config;
  std::unique_ptr<Service> service;
};

Result<Running> open_service(const std::string& file, const ServiceOptions& options) {
  config::Config loaded;
  TRY_ASSIGN(loaded, config::load(file));
  Running running;
  running.config = std::make_shared<const config::Config>(std::move(loaded));
  TRY_ASSIGN(running.service, Service::open(running.config, system_clock(), options));
  return running;
}

// The old one goes on when the new one cannot be opened.
bool reload(const std::string& file, const ServiceOptions& options, Running& next) {
  auto opened = open_service(file, options);
  if (!opened.is_ok()) {
    log::reload_failed(kProgram, opened.status());
    return false;
  }
  next = std::move(opened).value();
  log::reloaded(kProgram, file);
  return true;
}

}  // namespace

Status serve(const std::string& file, const ServiceOptions& options, bool foreground) {
  config::Config first;
  TRY_ASSIGN(first, config::load(file));
  auto current = std::make_shared<const config::Config>(std::move(first));
  foreground ? log::use_stderr(kProgram) : log::use_syslog(kProgram);
  log::set_level(log::level_from(current->log_level));
  TRY(become_dispatch_user(current->spool_directory, current->sign_home()));
  ::umask(007);
  UniqueFd signals;
  TRY_ASSIGN(signals, start_signals());
  log::started(kProgram, kVersion);
  Running running{current, nullptr};
  TRY_ASSIGN(running.service, Service::open(current, system_clock(), options));
  for (;;) {
    Running next;
    ServiceEnd end = ServiceEnd::kStopped;
    TRY_ASSIGN(end,
               running.service->run(signals.get(), [&] { return reload(file, options, next); }));
    if (end == ServiceEnd::kDoneWithTrouble) {
      return Status::temporary("4.3.0", "not everything could be done; the log says what");
    }
    if (end != ServiceEnd::kReload) {
      log::stopped(kProgram, end == ServiceEnd::kDone ? "done" : "signal");
      return Status::ok();
    }
    running = std::move(next);
    log::set_level(log::level_from(running.config->log_level));
  }
}

}  // namespace bsmtp::mda

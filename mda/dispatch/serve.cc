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

std::shared_ptr<const config::Config> load_again(const std::string& file) {
  auto loaded = config::load(file);
  if (!loaded.is_ok()) {
    log::reload_failed(kProgram, loaded.status());
    return nullptr;
  }
  log::reloaded(kProgram, file);
  return std::make_shared<const config::Config>(std::move(loaded).value());
}

}  // namespace

Status serve(const std::string& file, const ServiceOptions& options, bool foreground) {
  config::Config first;
  TRY_ASSIGN(first, config::load(file));
  auto current = std::make_shared<const config::Config>(std::move(first));
  foreground ? log::use_stderr(kProgram) : log::use_syslog(kProgram);
  log::set_level(log::level_from(current->log_level));
  TRY(become_service_user(current->spool_directory));
  ::umask(007);
  UniqueFd signals;
  TRY_ASSIGN(signals, start_signals());
  log::started(kProgram, kVersion);
  for (;;) {
    std::unique_ptr<Service> service;
    TRY_ASSIGN(service, Service::open(current, system_clock(), options));
    ServiceEnd end = ServiceEnd::kStopped;
    TRY_ASSIGN(end, service->run(signals.get(), [&] {
      const auto next = load_again(file);
      current = next ? next : current;
      return next != nullptr;
    }));
    if (end == ServiceEnd::kDoneWithTrouble) {
      return Status::temporary("4.3.0", "not everything could be done; the log says what");
    }
    if (end != ServiceEnd::kReload) {
      log::stopped(kProgram, end == ServiceEnd::kDone ? "done" : "signal");
      return Status::ok();
    }
    log::set_level(log::level_from(current->log_level));
  }
}

}  // namespace bsmtp::mda

// bsmtp-out: started by the host MTA for one message and one peer, or for one LMTP session; see
// docs/man/bsmtp-out.8.
#include <unistd.h>

#include "common/config/config.h"
#include "common/log/log.h"
#include "common/os/fd_stream.h"
#include "mda/agent/agent.h"
#include "mda/agent/lmtp.h"
#include "mda/enqueue/arguments.h"
#include "mda/enqueue/enqueue.h"
#include "mda/enqueue/lmtp_handler.h"

namespace {

using bsmtp::Status;
using bsmtp::config::Config;
using bsmtp::mda::AgentOptions;
using bsmtp::mda::EnqueueHooks;
using bsmtp::mda::EnqueueRequest;
using bsmtp::mda::ParentWatch;

Status serve(const Config& config, const EnqueueRequest& request, const AgentOptions& options) {
  bsmtp::mda::EnqueueHandler handler(config, request.peer, EnqueueHooks());
  bsmtp::lmtp::Options session;
  session.host = config.host;
  return bsmtp::mda::serve_standard_streams(handler, session, options, config.agent_deadline);
}

Status run(int argc, char** argv, AgentOptions& options, const ParentWatch& parent) {
  TRY_ASSIGN(const auto arguments, bsmtp::mda::parse_arguments(argc, argv));
  if (arguments.done) {
    return Status::ok();
  }
  options.lmtp = arguments.lmtp;  // the exact reading of the command line
  bsmtp::log::use_syslog(options.name);
  TRY_ASSIGN(const auto config, bsmtp::config::load(arguments.config_file));
  bsmtp::log::set_level(bsmtp::log::level_from(config.log_level));
  bsmtp::mda::set_deadline(options, config.agent_deadline);
  TRY(bsmtp::mda::become_service_user(config.spool_directory));
  if (arguments.lmtp) {
    return serve(config, arguments.request, options);
  }
  bsmtp::os::FdSource message(STDIN_FILENO, "standard input");
  EnqueueHooks hooks;
  hooks.before_rename = [&parent] { return parent.check(); };
  return bsmtp::mda::enqueue(config, arguments.request, message, hooks);
}

}  // namespace

int main(int argc, char** argv) {
  const ParentWatch parent;  // first of all: the MTA may die at any moment
  AgentOptions options;
  options.name = "bsmtp-out";
  options.lmtp = bsmtp::mda::asks_for_lmtp(argc, argv);
  return bsmtp::mda::run_agent(options, [&] { return run(argc, argv, options, parent); });
}

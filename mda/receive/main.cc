// bsmtp-in: takes one mail for the parcel address (or a return address) from the MTA on standard
// input, or an LMTP session with many, verifies it and accepts it into the spool. See receiver.h
// and docs/man/bsmtp-in.8.
#include <memory>

#include "common/config/config.h"
#include "common/log/events.h"
#include "common/log/log.h"
#include "common/os/deadline.h"
#include "common/os/fd_stream.h"
#include "mda/agent/agent.h"
#include "mda/agent/lmtp.h"
#include "mda/receive/arguments.h"
#include "mda/receive/lmtp_handler.h"
#include "mda/receive/receiver.h"

namespace {

using namespace bsmtp;  // NOLINT(google-build-using-namespace): a main file

Status take_mail(mda::Receiver& receiver, const mda::ReceiveRequest& request) {
  os::FdSource input(0, "standard input");
  Status status = receiver.receive(request, input).status();
  if (!status.is_ok()) {
    log::parcel_refused(request.queue_id, status);
  }
  return status;
}

Status receive(int argc, const char* const* argv, mda::AgentOptions& agent) {
  const mda::ParentWatch parent;
  TRY_ASSIGN(const mda::ReceiveArguments arguments, mda::parse_receive_arguments(argc, argv));
  if (arguments.done) {
    return Status::ok();
  }
  agent.lmtp = arguments.lmtp;  // the exact reading of the command line
  // Not earlier: the frame has opened descriptors 0 to 2 by now, so the socket of the log cannot
  // become the standard output on which the MTA reads our answer.
  log::use_syslog(agent.name);
  TRY_ASSIGN(config::Config loaded, config::load(arguments.config_file));
  const auto config = std::make_shared<const config::Config>(std::move(loaded));
  log::set_level(log::level_from(config->log_level));
  mda::set_deadline(agent, config->agent_deadline);
  TRY(mda::become_service_user(config->spool_directory));
  os::Deadline::end_children_too();  // gpg, which on a failing disk can hang for ever
  if (arguments.lmtp) {              // has an end mark, so nobody need watch the parent
    mda::Receiver receiver(config, os::real_file_ops(), system_clock());
    mda::ReceiveHandler handler(receiver, *config, arguments.request.peer);
    return mda::serve_standard_streams(handler, mda::ReceiveHandler::session_options(*config),
                                       agent, config->agent_deadline);
  }
  mda::Receiver receiver(config, os::real_file_ops(), system_clock(),
                         [&parent] { return parent.check(); });
  return take_mail(receiver, arguments.request);
}

}  // namespace

int main(int argc, char** argv) {
  mda::AgentOptions agent{"bsmtp-in", std::chrono::seconds(300)};
  agent.lmtp = mda::asks_for_lmtp(argc, argv);
  return mda::run_agent(agent, [&] { return receive(argc, argv, agent); });
}

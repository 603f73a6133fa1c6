// bsmtp-in: takes one mail for the parcel address (or a return address) from the MTA on standard
// input, verifies it and accepts it into the spool. See receiver.h and docs/man/bsmtp-in.8.
#include <boost/program_options/value_semantic.hpp>
#include <memory>

#include "common/config/config.h"
#include "common/config/options.h"
#include "common/log/events.h"
#include "common/log/log.h"
#include "common/os/fd_stream.h"
#include "mda/agent/agent.h"
#include "mda/receive/receiver.h"

namespace {

namespace po = boost::program_options;
using namespace bsmtp;  // NOLINT(google-build-using-namespace): a main file

Status receive(int argc, const char* const* argv, const mda::AgentOptions& agent) {
  const mda::ParentWatch parent;
  mda::ReceiveRequest request;
  po::options_description own;
  own.add_options()                                                                   //
      ("queue-id", po::value(&request.queue_id), "queue id of the MTA, for the log")  //
      ("sender", po::value(&request.sender), "reverse-path of the mail")              //
      ("client", po::value(&request.client), "address of the MTA's client")           //
      ("peer", po::value(&request.peer),
       "peer for which the MTA vouches: only in a transport restricted to it")  //
      ("recipient", po::value<std::vector<std::string>>(), "parcel or return address");
  TRY_ASSIGN(const config::CommandLine line,
             config::parse_command_line(argc, argv, agent.name,
                                        "takes one parcel from the MTA on standard input", own,
                                        "recipient"));
  if (line.done) {
    return Status::ok();
  }
  // Not earlier: the frame has opened descriptors 0 to 2 by now, so the socket of the log cannot
  // become the standard output on which the MTA reads our answer.
  log::use_syslog(agent.name);
  if (line.values.count("recipient") == 0 ||
      line.values["recipient"].as<std::vector<std::string>>().size() != 1) {
    return Status::temporary("4.3.5",
                             "bsmtp-in takes exactly one recipient; set "
                             "bsmtp-in_destination_recipient_limit = 1 in the MTA");
  }
  request.recipient = line.values["recipient"].as<std::vector<std::string>>().front();
  TRY_ASSIGN(config::Config loaded, config::load(line.config_file));
  const auto config = std::make_shared<const config::Config>(std::move(loaded));
  log::set_level(log::level_from(config->log_level));
  mda::set_deadline(agent, config->agent_deadline);
  TRY(mda::become_service_user(config->spool_directory));
  mda::Receiver receiver(config, os::real_file_ops(), system_clock(),
                         [&parent] { return parent.check(); });
  os::FdSource input(0, "standard input");
  Status status = receiver.receive(request, input).status();
  if (!status.is_ok()) {
    log::parcel_refused(request.queue_id, status);
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  const mda::AgentOptions agent{"bsmtp-in", std::chrono::seconds(300)};
  return mda::run_agent(agent, [&] { return receive(argc, argv, agent); });
}

#include "mda/receive/arguments.h"

#include <boost/program_options/value_semantic.hpp>
#include <vector>

#include "common/config/options.h"

namespace bsmtp::mda {

namespace po = boost::program_options;

Result<ReceiveArguments> parse_receive_arguments(int argc, const char* const* argv) {
  ReceiveArguments out;
  ReceiveRequest& request = out.request;
  po::options_description own;
  own.add_options()                                                                   //
      ("queue-id", po::value(&request.queue_id), "queue id of the MTA, for the log")  //
      ("sender", po::value(&request.sender), "reverse-path of the mail")              //
      ("client", po::value(&request.client), "address of the MTA's client")           //
      ("peer", po::value(&request.peer),
       "peer for which the MTA vouches: only in a transport restricted to it")  //
      ("lmtp", "speak LMTP on stdin and stdout")                                //
      ("recipient", po::value<std::vector<std::string>>(), "parcel or return address");
  TRY_ASSIGN(const config::CommandLine line,
             config::parse_command_line(argc, argv, "bsmtp-in",
                                        "takes one parcel from the MTA on standard input", own,
                                        "recipient"));
  out.done = line.done;
  out.config_file = line.config_file;
  if (line.done) {
    return out;
  }
  out.lmtp = line.values.count("lmtp") != 0;
  std::vector<std::string> recipients;
  if (line.values.count("recipient") != 0) {
    recipients = line.values["recipient"].as<std::vector<std::string>>();
  }
  if (out.lmtp) {
    const bool bare = recipients.empty() && request.sender.empty() && request.queue_id.empty() &&
                      request.client.empty();
    if (!bare) {
      return Status::temporary("4.3.5", "--lmtp takes no option beside it but --peer and --config");
    }
    return out;
  }
  if (recipients.size() != 1) {
    return Status::temporary("4.3.5",
                             "bsmtp-in takes exactly one recipient; set "
                             "bsmtp-in_destination_recipient_limit = 1 in the MTA");
  }
  request.recipient = recipients.front();
  return out;
}

}  // namespace bsmtp::mda

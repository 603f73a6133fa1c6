// bsmtp-dispatch: the command line; exit code 0 or 75.
#include <boost/program_options.hpp>
#include <cstdio>
#include <exception>

#include "common/config/options.h"
#include "mda/agent/agent.h"
#include "mda/dispatch/serve.h"

namespace {

using bsmtp::Status;
namespace config = bsmtp::config;
namespace mda = bsmtp::mda;

constexpr const char* kProgram = "bsmtp-dispatch";

Status run(int argc, char** argv) {
  namespace po = boost::program_options;
  po::options_description own("Options");
  own.add_options()("foreground", "log to standard error")(
      "once", "do all that is due, wait for it, exit 0 (75 when something could not be done)")(
      "flush", "close batches and retry what waits now")(
      "peer", po::value<std::string>(), "only for this peer (name or pseudo-domain)");
  config::CommandLine line;
  TRY_ASSIGN(line, config::parse_command_line(
                       argc, argv, kProgram,
                       "Builds, submits and delivers parcels of the mail tunnel", own, ""));
  if (line.done) {
    return Status::ok();
  }
  mda::ServiceOptions options;
  options.once = line.values.count("once") != 0;
  options.flush = line.values.count("flush") != 0;
  options.peer = line.values.count("peer") != 0 ? line.values["peer"].as<std::string>() : "";
  return mda::serve(line.config_file, options,
                    line.values.count("foreground") != 0 || options.once);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Status status = run(argc, argv);
    if (!status.is_ok()) {
      std::fprintf(stderr, "%s: %s\n", kProgram, status.to_string().c_str());
    }
    return status.is_ok() ? mda::kExitOk : mda::kExitTemporary;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: 4.3.0 %s\n", kProgram, error.what());
    return mda::kExitTemporary;
  }
}

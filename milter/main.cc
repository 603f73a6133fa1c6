// bsmtp-milter: the mail filter that diverts tunneled recipients; docs/man/bsmtp-milter.8.
#include <boost/program_options.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>

#include "common/config/options.h"
#include "milter/server.h"

namespace {

// What a service manager shows; nothing here is read by an MTA, so 1 is free to mean "failed".
int report(const bsmtp::Status& status) {
  std::cerr << "bsmtp-milter: " << status.to_string() << "\n";
  return 1;
}

int run(int argc, char** argv) {
  namespace po = boost::program_options;
  po::options_description own;
  own.add_options()("foreground", "stay in the foreground and log to standard error");
  const auto line = bsmtp::config::parse_command_line(
      argc, argv, "bsmtp-milter", "Diverts recipients behind a mail tunnel to it", own, "");
  if (!line.is_ok()) {
    return report(line.status());
  }
  if (line->done) {
    return 0;
  }
  const bsmtp::Status status =
      bsmtp::milter::run_server({line->config_file, line->values.count("foreground") > 0});
  return status.is_ok() ? 0 : report(status);
}

}  // namespace

int main(int argc, char** argv) {
  int code = 1;
  try {
    code = run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bsmtp-milter: 4.3.0 %s\n", error.what());
  }
  std::fflush(stdout);
  // libmilter's threads still run; static objects they use must not be destroyed under them.
  std::_Exit(code);
}

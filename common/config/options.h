// The command-line frame of all programs: --config, --help, --version beside a program's own
// options, parsed by Boost.Program_options. Usage trouble is a temporary Status: an MTA that calls
// an agent with a wrong option must keep the mail (exit 75), not bounce it.
// May not: print anything but --help and --version, which it does on stdout.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <string>

#include "common/base/status.h"

namespace bsmtp::config {

struct CommandLine {
  boost::program_options::variables_map values;
  std::string config_file;  // "" = the default
  bool done = false;        // --help or --version was answered: exit 0
};

// `positional` names the option that takes all arguments without a dash and those after "--";
// "" when the program takes none. `summary` is the first line of --help.
Result<CommandLine> parse_command_line(int argc, const char* const* argv,
                                       const std::string& program, const std::string& summary,
                                       const boost::program_options::options_description& own,
                                       const std::string& positional);

}  // namespace bsmtp::config

#include "common/config/options.h"

#include <boost/program_options/errors.hpp>
#include <boost/program_options/parsers.hpp>
#include <boost/program_options/positional_options.hpp>
#include <cstdio>
#include <sstream>

#include "common/base/text.h"
#include "common/base/version.h"

namespace bsmtp::config {
namespace po = boost::program_options;

Result<CommandLine> parse_command_line(int argc, const char* const* argv,
                                       const std::string& program, const std::string& summary,
                                       const po::options_description& own,
                                       const std::string& positional) {
  CommandLine out;
  po::options_description all("Options");
  all.add_options()("config", po::value<std::string>(&out.config_file)->value_name("FILE"),
                    "configuration file instead of the installed one")(
      "help", "print this text and exit")("version", "print the version and exit");
  all.add(own);
  try {
    po::positional_options_description rest;
    if (!positional.empty()) {
      rest.add(positional.c_str(), -1);
    }
    // No guessing of abbreviated names: a later option could change what an old call means.
    const int style = po::command_line_style::unix_style &
                      ~static_cast<int>(po::command_line_style::allow_guessing);
    po::store(po::command_line_parser(argc, argv).options(all).positional(rest).style(style).run(),
              out.values);
    po::notify(out.values);
  } catch (const po::error& e) {
    return Status::temporary(
        "4.3.5", str_cat({program, ": ", printable(e.what(), 200), "; see ", program, " --help"}));
  }
  if (out.values.count("help") != 0) {
    std::ostringstream text;
    text << program << ": " << summary << "\n" << all;
    std::fputs(text.str().c_str(), stdout);
    out.done = true;
  } else if (out.values.count("version") != 0) {
    std::printf("%s %s\n", program.c_str(), kVersion);
    out.done = true;
  }
  return out;
}

}  // namespace bsmtp::config

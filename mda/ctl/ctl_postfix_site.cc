// See ctl_postfix.h: what postconf and postmap say about this machine.
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/text.h"
#include "mda/ctl/ctl_postfix.h"
#include "mda/ctl/ctl_process.h"

namespace bsmtp::mda::ctl {

std::vector<PostfixService> parse_postfix_servers(std::string_view services,
                                                  std::string_view overrides) {
  constexpr std::size_t kType = 1;
  constexpr std::size_t kCommand = 7;
  std::vector<PostfixService> found;
  for (const std::string_view line : split(services, '\n')) {
    const auto words = split_blank(line);
    if (words.size() > kCommand && words[kCommand] == "smtpd") {
      found.push_back({str_cat({words[0], "/", words[kType]}), {}});
    }
  }
  for (const std::string_view line : split(overrides, '\n')) {  // smtp/inet/name = value
    const std::size_t equal = line.find(" =");
    const std::size_t slash = equal == std::string_view::npos ? equal : line.rfind('/', equal);
    if (slash == std::string_view::npos) {
      continue;
    }
    const std::string_view service = line.substr(0, slash);
    for (PostfixService& each : found) {
      if (each.name == service) {
        each.own[std::string(line.substr(slash + 1, equal - slash - 1))] =
            std::string(trim(line.substr(equal + 2)));
      }
    }
  }
  return found;
}

std::optional<PostfixSite> read_postfix() {
  const std::string postconf = find_program("postconf");
  const std::string postmap = find_program("postmap");
  if (postconf.empty()) {
    return std::nullopt;
  }
  const auto say = [](const std::vector<std::string>& argv) -> std::string {
    const auto output = run_program(argv, true);
    return output.is_ok() && output->exit_code == 0 ? std::string(trim(output->output)) : "";
  };
  PostfixSite site;
  auto cache = std::make_shared<std::map<std::string, std::string>>();
  site.parameter = [=](const std::string& name) {
    const auto known = cache->find(name);
    return known != cache->end() ? known->second
                                 : cache->emplace(name, say({postconf, "-xh", name})).first->second;
  };
  site.lookup = [=](const std::string& map, const std::string& key) {
    return say({postmap, "-q", key, map});
  };
  site.elsewhere = [=](const std::string& directory, const std::string& name) {
    return say({postconf, "-c", directory, "-xh", name});
  };
  site.servers = parse_postfix_servers(say({postconf, "-M"}), say({postconf, "-Px"}));
  return site;
}

}  // namespace bsmtp::mda::ctl

// Time of one classify() with 10, 10^4 and 10^6 rules, in interleaved runs with a peer that does
// the least any table can do: a bare walk over the parent domains in an std::unordered_map, no
// rules, no rewriting, no safety. Prints ns of processor time per address, the ratio, look-ups (the
// count that the unit test gates on), load time and memory. Usage: rewrite_bench [ROUNDS]
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/text.h"
#include "common/rewrite/engine.h"

namespace {

using bsmtp::rewrite::Decision;
using bsmtp::rewrite::Kind;
using bsmtp::rewrite::RuleSet;

constexpr std::size_t kAddresses = 20000;  // asked per run, spread over the whole rule set

bsmtp::rewrite::Options options() {
  bsmtp::rewrite::Options out;
  out.host = "hub.domain.com";
  out.peers = {{"remote1", "BSOUT-REMOTE1", "bsout_remote1", "athena.domain.co.uk", "bsmtp", true}};
  return out;
}

// Processor time of this process in ns: other work on the machine does not count.
double now() {
  timespec time = {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

// The seed's two rules for each domain.
std::string rules_text(std::size_t rules) {
  std::string text;
  for (std::size_t i = 0; i < rules / 2; ++i) {
    const std::string domain = "d" + std::to_string(i) + ".example.co.uk";
    text += domain + " $U%$H@BSOUT-REMOTE1$Nbsout_remote1\n";
    text += "." + domain + " $U%$H$D@BSOUT-REMOTE1$Nbsout_remote1\n";
  }
  return text;
}

// A third exact hits, a third below a domain, a third misses.
std::vector<std::string> addresses(std::size_t rules) {
  std::vector<std::string> out;
  std::uint64_t state = 88172645463325252ULL;
  for (std::size_t i = 0; i < kAddresses; ++i) {
    state ^= state << 13U;
    state ^= state >> 7U;
    state ^= state << 17U;
    const std::string domain = "d" + std::to_string(state % (rules / 2)) + ".example.co.uk";
    const char* const forms[] = {"user@", "user@mail.", "user@x"};
    out.push_back(forms[i % 3] + domain);
  }
  return out;
}

class Peer {
 public:
  explicit Peer(std::size_t rules) {
    for (std::size_t i = 0; i < rules / 2; ++i) {
      const std::string domain = "d" + std::to_string(i) + ".example.co.uk";
      table_.emplace(domain, 1);
      table_.emplace("." + domain, 1);
    }
  }
  bool find(std::string_view address) const {
    const std::string domain = bsmtp::to_lower(address.substr(address.rfind('@') + 1));
    if (table_.contains(domain)) {
      return true;
    }
    for (std::size_t dot = domain.find('.'); dot != std::string::npos;
         dot = domain.find('.', dot + 1)) {
      if (table_.contains(domain.substr(dot))) {
        return true;
      }
    }
    return false;
  }

 private:
  std::unordered_map<std::string, int> table_;
};

template <typename Ask>
double nanoseconds(const std::vector<std::string>& asked, std::size_t* hits, Ask ask) {
  const double start = now();
  for (const std::string& address : asked) {
    *hits += ask(address) ? 1U : 0U;
  }
  return (now() - start) / static_cast<double>(asked.size());
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

bool run(std::size_t size, int rounds) {
  const double start = now();
  const auto rules = RuleSet::parse(rules_text(size), "bench", options());
  const double load = (now() - start) / 1e9;
  if (!rules.is_ok()) {
    std::fprintf(stderr, "%s\n", rules.status().to_string().c_str());
    return false;
  }
  const Peer peer(size);
  const std::vector<std::string> asked = addresses(size);
  std::vector<double> ours;
  std::vector<double> theirs;
  std::size_t our_hits = 0;
  std::size_t their_hits = 0;
  bsmtp::rewrite::Trace count;
  count.text = false;
  for (int round = 0; round < rounds; ++round) {
    ours.push_back(nanoseconds(asked, &our_hits, [&](const std::string& address) {
      bsmtp::rewrite::Query query;
      query.address = address;
      return classify(**rules, query, &count).kind == Kind::kDivert;
    }));
    theirs.push_back(nanoseconds(asked, &their_hits,
                                 [&](const std::string& address) { return peer.find(address); }));
  }
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf("%8zu %10.0f %10.0f %7.2f %9.2f %8.2f %9ld\n", size, median(ours), median(theirs),
              median(ours) / median(theirs),
              static_cast<double>(count.lookups) /
                  static_cast<double>(asked.size() * static_cast<std::size_t>(rounds)),
              load, usage.ru_maxrss / 1024);
  return our_hits == their_hits;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 11;
  std::printf("   rules    ours ns    peer ns   ratio  look-ups   load s   rss MiB\n");
  for (const std::size_t size : {10U, 10000U, 1000000U}) {
    if (!run(size, rounds)) {
      std::fprintf(stderr, "the two did not find the same domains\n");
      return 1;
    }
  }
  return 0;
}

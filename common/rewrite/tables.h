// What a loaded RuleSet holds: rules, the hash index over their patterns, the channel table.
// Internal to common/rewrite. Patterns are found by their whole text (tag included), so the cost
// of a probe does not depend on the number of rules. Threads: const after load.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/rewrite/rules.h"
#include "common/rewrite/template.h"

namespace bsmtp::rewrite {

inline constexpr std::uint32_t kNoRule = std::numeric_limits<std::uint32_t>::max();

struct Rule {
  std::string_view pattern;  // as written, tag included
  std::uint32_t template_index = 0;
  std::uint32_t file = 0;
  std::uint32_t line = 0;
  std::uint32_t next = kNoRule;  // the next rule with the same pattern, in file order
};

// What a routing system means here.
struct Channel {
  enum class Kind { kPeer, kPass, kLocal };
  Kind kind = Kind::kPass;
  std::uint32_t peer = 0;
};

struct Tables {
  Options options;
  std::vector<std::string> files;
  std::vector<std::string> warnings;
  std::deque<std::string> texts;    // file contents; patterns and templates are views into them
  std::deque<std::string> lowered;  // keys of patterns with upper-case letters
  std::vector<Template> templates;  // each distinct text once
  std::unordered_map<std::string_view, std::uint32_t> template_of_text;
  std::vector<Rule> rules;
  struct Chain {
    std::uint32_t first = kNoRule;
    std::uint32_t last = kNoRule;
  };
  std::unordered_map<std::string_view, Chain> index;  // lower-case pattern -> its rules
  bool counts_labels = false;                         // a pattern has a `*`
  std::unordered_map<std::string, Channel> channels;  // lower-case host name of a channel
  std::unordered_set<std::string> exempt;             // lower-case "user@host" of gateways
  std::unordered_set<std::string> gateways;           // lower-case gateway hosts

  std::string where(const Rule& rule) const {
    return files[rule.file] + ":" + std::to_string(rule.line);
  }
  const Template& template_of(const Rule& rule) const { return templates[rule.template_index]; }
  // "PATTERN TEMPLATE"
  std::string text_of(const Rule& rule) const;
};

// A pattern without its tag ("mtcp-force|." -> ".").
std::string_view pattern_core(std::string_view pattern);
// Refuses, temporary 4.3.5, a pattern that no probe can ever be equal to.
Status check_pattern(std::string_view pattern);

}  // namespace bsmtp::rewrite

// Template: the right-hand side of a rewrite rule, compiled once. Internal to common/rewrite.
// compile_template() refuses what PMDF has and this suite leaves out, and what would be read
// differently from what it looks like; expand_template() fills it in for one matched host.
// Threads: const after compile; pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace bsmtp::rewrite {

// Where the host under consideration stood in the address ($S $A $P $X).
enum class Position : std::uint8_t { kRoute = 1, kAt = 2, kPercent = 4, kBang = 8 };

enum class OpKind : std::uint8_t {
  kText,            // literal characters
  kUser,            // $U
  kUserBase,        // $0U
  kSubaddress,      // $1U
  kMatched,         // $D $nD
  kUnmatched,       // $H $nH
  kLiteralRest,     // $L
  kUnmatchedLeft,   // $&n
  kUnmatchedRight,  // $!n
  kMatchedLeft,     // $*n
  kMatchedRight,    // $#n
  kLower,           // $\  .
  kUpper,           // $^
  kOriginal,        // $_
  kUnique,          // $W
};

struct Op {
  OpKind kind = OpKind::kText;
  unsigned n = 0;
  std::string text;
};

enum class Form : std::uint8_t {
  kErrorOnly,    // $?text
  kAgain,        // A%B
  kRoute,        // A@B, A%B@C: the last part is the routing system
  kSourceRoute,  // A@B@C, A@B@C@D
};

struct Template {
  std::string_view text;
  Form form = Form::kRoute;
  std::vector<std::vector<Op>> parts;  // A B [C [D]]

  bool envelope_only = false, header_only = false;     // $E $B
  bool forward_only = false, backward_only = false;    // $F $R
  std::uint8_t positions = 0;                          // Position bits; 0 = all
  std::vector<std::string> source_is, source_not;      // $M $N, lower-case
  std::vector<std::string> target_is, target_not;      // $Q $C, lower-case
  bool internal_only = false, internal_never = false;  // $1M $1N
  std::optional<std::string> tag;                      // $T
  std::optional<std::string> error_text;               // $?
  std::string error_code;                              // of the same $?

  // True when neither a control nor a missing label can make a rule with it fail.
  bool cannot_fail() const;
};

// Temporary 4.3.5 with what is wrong and what to write instead (no file or line: the caller's).
Result<Template> compile_template(std::string_view text);

// What a probe matched. Views into the host being rewritten.
struct Match {
  std::string_view user;       // $U, wire form
  std::string_view host;       // the whole host
  std::string_view unmatched;  // $H
  std::string_view matched;    // $D
  std::string_view literal_rest;
};

// The parts, filled in. nullopt: a label the template asks for does not exist ("why" says which).
// An empty host part becomes the whole host: the published exact-host rules say $U%$H, and $H
// is empty for an exact match.
std::optional<std::vector<std::string>> expand_template(const Template& t, const Match& match,
                                                        std::string* why);

}  // namespace bsmtp::rewrite

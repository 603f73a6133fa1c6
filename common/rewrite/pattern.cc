// The form of patterns. The engine looks patterns up by their whole text; one that is equal to
// no probe would sit in the file without effect, so it is refused at load.
#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/rewrite/tables.h"

namespace bsmtp::rewrite {
namespace {

Status refuse(std::string_view pattern, std::string_view why) {
  return Status::temporary(
      "4.3.5", "pattern \"" + printable(pattern) + "\" can never match: " + std::string(why));
}

bool all_digits(std::string_view s) {
  return !s.empty() && s.size() <= 3 && s.find_first_not_of("0123456789") == std::string_view::npos;
}

// "[1.2.3.4]" "[1.2.3.]" "[1.]" "[]" "[*.*.*.*]" "[IPv6:...]"
Status check_literal(std::string_view core) {
  if (core.size() < 2 || core.back() != ']') {
    return refuse(core, "the address literal has no closing \"]\"");
  }
  const std::string_view inner = core.substr(1, core.size() - 2);
  if (inner.empty() || inner == "*.*.*.*" || inner.find(':') != std::string_view::npos) {
    return Status::ok();
  }
  auto octets = split(inner, '.');
  const bool prefix = octets.back().empty();
  if (prefix) {
    octets.pop_back();
  }
  const bool count_fits = prefix ? !octets.empty() && octets.size() <= 3 : octets.size() == 4;
  for (const std::string_view octet : octets) {
    if (!count_fits || !all_digits(octet)) {
      return refuse(core, "literals are [a.b.c.d], [a.b.c.], [a.b.], [a.], [] or [*.*.*.*]");
    }
  }
  return Status::ok();
}

}  // namespace

std::string_view pattern_core(std::string_view pattern) {
  const std::size_t bar = pattern.rfind('|');
  return bar == std::string_view::npos ? pattern : pattern.substr(bar + 1);
}

Status check_pattern(std::string_view pattern) {
  const std::string_view core = pattern_core(pattern);
  if (core.empty()) {
    return refuse(pattern, "it is empty");
  }
  if (core == "." || core == "$*" || core == "$%" || core == "$!") {
    return Status::ok();
  }
  if (core.front() == '$') {
    return refuse(pattern, "special patterns are $* $% $! [] and .");
  }
  if (core.front() == '[') {
    return check_literal(core);
  }
  std::string_view rest = core;
  bool explicit_seen = false;
  if (rest.front() == '.') {
    rest.remove_prefix(1);
    explicit_seen = true;  // ".*.com" is no probe
  }
  if (!rest.empty() && rest.back() == '.') {
    return refuse(pattern, "write it without the trailing dot");
  }
  for (const std::string_view label : split(rest, '.')) {
    if (label == "*" && !explicit_seen) {
      continue;
    }
    explicit_seen = true;
    if (label.find('*') != std::string_view::npos) {
      return refuse(pattern, "`*` stands for whole labels at the left only, as in *.*.com");
    }
    if (!mail::is_domain(label)) {
      return refuse(pattern, "\"" + printable(label) + "\" is no label of a host name");
    }
  }
  return Status::ok();
}

}  // namespace bsmtp::rewrite

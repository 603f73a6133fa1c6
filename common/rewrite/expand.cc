// Filling in a compiled template for one matched host.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/rewrite/template.h"

namespace bsmtp::rewrite {
namespace {

std::string_view drop_labels(std::string_view text, unsigned n) {
  const bool dot = !text.empty() && text.front() == '.';
  std::string_view rest = dot ? text.substr(1) : text;
  for (; n > 0; --n) {
    const std::size_t end = rest.find('.');
    if (end == std::string_view::npos) {
      return {};
    }
    rest.remove_prefix(end + 1);
  }
  // ".b.c" of ".a.b.c": $H$1D stays well formed.
  return dot ? std::string_view(rest.data() - 1, rest.size() + 1) : rest;
}

std::optional<std::string_view> pick_label(std::string_view text, unsigned n, bool from_right) {
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
  }
  if (!text.empty() && text.front() == '[') {
    text = text.substr(1, text.size() - (text.back() == ']' ? 2 : 1));
  }
  if (text.empty()) {
    return std::nullopt;
  }
  const auto labels = split(text, '.');
  if (n >= labels.size()) {
    return std::nullopt;
  }
  return labels[from_right ? labels.size() - 1 - n : n];
}

// $0U and $1U. A quoted local part is split by its meaning and quoted again where it has to be.
std::string user_piece(std::string_view user, bool subaddress) {
  const auto value = mail::dequote_local(user);
  const std::string plain = value ? *value : std::string(user);
  const std::size_t plus = plain.find('+');
  std::string piece;
  if (plus == std::string::npos) {
    piece = subaddress ? "" : plain;
  } else {
    piece = subaddress ? plain.substr(plus + 1) : plain.substr(0, plus);
  }
  return value && !piece.empty() ? mail::quote_local(piece) : piece;
}

// Different in every process and call; only letters and digits.
std::string unique_string() {
  static std::atomic<std::uint64_t> counter{0};
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  return str_cat({std::to_string(micros), "p", std::to_string(::getpid()), "n",
                  std::to_string(counter.fetch_add(1, std::memory_order_relaxed))});
}

class Expander {
 public:
  Expander(const Match& match, std::string* why) : match_(match), why_(why) {}

  // False when a label is missing.
  bool part(const std::vector<Op>& ops, std::string& out) {
    return std::all_of(ops.begin(), ops.end(), [&](const Op& op) { return one(op, out); });
  }

 private:
  void put(std::string_view text, std::string& out) const {
    out += case_ == OpKind::kLower   ? to_lower(text)
           : case_ == OpKind::kUpper ? to_upper(text)
                                     : std::string(text);
  }

  bool put_label(std::string_view from, const Op& op, bool from_right, std::string& out) {
    const auto label = pick_label(from, op.n, from_right);
    if (!label) {
      if (why_ != nullptr) {
        *why_ = str_cat({"there is no label ", std::to_string(op.n),
                         from_right ? " from the right" : " from the left", " in \"", from, "\""});
      }
      return false;
    }
    put(*label, out);
    return true;
  }

  bool one(const Op& op, std::string& out) {
    switch (op.kind) {
      case OpKind::kText:
        put(op.text, out);
        return true;
      case OpKind::kUser:
        put(match_.user, out);
        return true;
      case OpKind::kUserBase:
      case OpKind::kSubaddress:
        put(user_piece(match_.user, op.kind == OpKind::kSubaddress), out);
        return true;
      case OpKind::kMatched:
        put(drop_labels(match_.matched, op.n), out);
        return true;
      case OpKind::kUnmatched:
        put(drop_labels(match_.unmatched, op.n), out);
        return true;
      case OpKind::kLiteralRest:
        put(match_.literal_rest, out);
        return true;
      case OpKind::kUnmatchedLeft:
      case OpKind::kUnmatchedRight:
        return put_label(match_.unmatched, op, op.kind == OpKind::kUnmatchedRight, out);
      case OpKind::kMatchedLeft:
      case OpKind::kMatchedRight:
        return put_label(match_.matched, op, op.kind == OpKind::kMatchedRight, out);
      case OpKind::kUnique:
        put(unique_string(), out);
        return true;
      case OpKind::kLower:
      case OpKind::kUpper:
      case OpKind::kOriginal:
        case_ = op.kind;
        return true;
    }
    return true;
  }

  const Match& match_;
  std::string* why_;
  OpKind case_ = OpKind::kOriginal;
};

}  // namespace

std::optional<std::vector<std::string>> expand_template(const Template& t, const Match& match,
                                                        std::string* why) {
  Expander expander(match, why);
  std::vector<std::string> out(t.parts.size());
  for (std::size_t i = 0; i < t.parts.size(); ++i) {
    if (!expander.part(t.parts[i], out[i])) {
      return std::nullopt;
    }
  }
  if (out.size() > 1 && out[1].empty()) {
    out[1] = std::string(match.host);
  }
  return out;
}

}  // namespace bsmtp::rewrite

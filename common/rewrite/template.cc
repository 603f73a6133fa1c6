// Compiling a template; filling it in is expand.cc.
#include "common/rewrite/template.h"

#include <algorithm>

#include "common/base/text.h"

namespace bsmtp::rewrite {
namespace {

constexpr std::string_view kArgumentControls = "NMQCT?";  // what ends the text of another one

Status refuse(std::string text) {
  return Status::temporary("4.3.5", std::move(text));
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Reads one template from left to right. The first error ends it.
class Compiler {
 public:
  explicit Compiler(std::string_view text) : text_(text) { out_.text = text; }

  Result<Template> run() {
    out_.parts.emplace_back();
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '$') {
        TRY(sequence());
      } else if (c == '%' || c == '@') {
        separators_ += c;
        out_.parts.emplace_back();
      } else {
        add_text(c);
      }
    }
    TRY(settle_form());
    return std::move(out_);
  }

 private:
  void add(OpKind kind, unsigned n = 0) { out_.parts.back().push_back(Op{kind, n, ""}); }
  void add_text(char c) {
    auto& part = out_.parts.back();
    if (part.empty() || part.back().kind != OpKind::kText) {
      add(OpKind::kText);
    }
    part.back().text += c;
  }

  // After a `$`.
  Status sequence() {
    const std::size_t start = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) {
      ++at_;
    }
    const std::string_view digits = text_.substr(start, at_ - start);
    if (at_ == text_.size()) {
      return refuse("the template ends with an unfinished `$`; write `$$` for a dollar sign");
    }
    const char c = ascii_upper(text_[at_++]);
    if (c == '?') {
      return error_text(digits);
    }
    if (!digits.empty()) {
      return numbered(c, digits);
    }
    if (std::string_view("&!*#").find(c) != std::string_view::npos) {
      return label(c);
    }
    if (std::string_view("NMQCT").find(c) != std::string_view::npos) {
      return argument(c);
    }
    return plain(c);
  }

  Status plain(char c) {
    switch (c) {
      case '$':
      case '%':
      case '@':
        add_text(c);
        break;
      case 'U':
        add(OpKind::kUser);
        break;
      case 'D':
        add(OpKind::kMatched);
        break;
      case 'H':
        add(OpKind::kUnmatched);
        break;
      case 'L':
        add(OpKind::kLiteralRest);
        break;
      case 'W':
        add(OpKind::kUnique);
        break;
      case '\\':
        add(OpKind::kLower);
        break;
      case '^':
        add(OpKind::kUpper);
        break;
      case '_':
        add(OpKind::kOriginal);
        break;
      default:
        return condition(c);
    }
    return Status::ok();
  }

  Status condition(char c) {
    switch (c) {
      case 'E':
        out_.envelope_only = true;
        break;
      case 'B':
        out_.header_only = true;
        break;
      case 'F':
        out_.forward_only = true;
        break;
      case 'R':
        out_.backward_only = true;
        break;
      case 'S':
        position(Position::kRoute);
        break;
      case 'A':
        position(Position::kAt);
        break;
      case 'P':
        position(Position::kPercent);
        break;
      case 'X':
        position(Position::kBang);
        break;
      default:
        return unknown(c);
    }
    return Status::ok();
  }

  void position(Position p) {
    out_.positions = static_cast<std::uint8_t>(out_.positions | static_cast<std::uint8_t>(p));
  }

  static Status unknown(char c) {
    const std::string name = "`$" + printable(std::string_view(&c, 1)) + "`";
    switch (c) {
      case '(':
        return refuse("`$(...)` (general database) is not supported; write the rule out");
      case '{':
        return refuse("`${...}` (mapping table) is not supported; write the rules out");
      case '[':
        return refuse("`$[...]` (site routine) is not supported; write the rules out");
      case ']':
      case '=':
      case 'V':
      case 'Z':
        return refuse(name + " (LDAP) is not supported; write the rules out");
      default:
        return refuse(name + " is not a known sequence; write `$$` for a dollar sign");
    }
  }

  // $nU $nD $nH $1M $1N
  Status numbered(char c, std::string_view digits) {
    const bool one_digit = digits.size() == 1;
    const auto n = static_cast<unsigned>(digits[0] - '0');
    if (one_digit && c == 'U' && n <= 1) {
      add(n == 0 ? OpKind::kUserBase : OpKind::kSubaddress);
    } else if (one_digit && (c == 'D' || c == 'H')) {
      add(c == 'D' ? OpKind::kMatched : OpKind::kUnmatched, n);
    } else if (digits == "1" && c == 'M') {
      out_.internal_only = true;
    } else if (digits == "1" && c == 'N') {
      out_.internal_never = true;
    } else {
      return refuse(str_cat({"`$", digits, printable(std::string_view(&c, 1)),
                             "` is not supported; numbered sequences are $0U $1U $nD $nH (n 0-9) "
                             "$1M $1N and $xyyyzzz?text"}));
    }
    return Status::ok();
  }

  // $&n $!n $*n $#n
  Status label(char c) {
    if (at_ == text_.size() || !is_digit(text_[at_])) {
      return refuse(str_cat({"`$", std::string_view(&c, 1), "` needs a digit: which label"}));
    }
    const auto n = static_cast<unsigned>(text_[at_++] - '0');
    const OpKind kind = c == '&'   ? OpKind::kUnmatchedLeft
                        : c == '!' ? OpKind::kUnmatchedRight
                        : c == '*' ? OpKind::kMatchedLeft
                                   : OpKind::kMatchedRight;
    add(kind, n);
    return Status::ok();
  }

  // True when an argument ends here: `@`, `%`, `$N $M $Q $C $T $?` or `$digits...`.
  bool argument_ends() const {
    if (at_ == text_.size() || text_[at_] == '@' || text_[at_] == '%') {
      return true;
    }
    if (text_[at_] != '$') {
      return false;
    }
    std::size_t next = at_ + 1;
    while (next < text_.size() && is_digit(text_[next])) {
      ++next;
    }
    return next < text_.size() &&
           kArgumentControls.find(ascii_upper(text_[next])) != std::string_view::npos;
  }

  Status argument(char c) {
    const std::string name = {'$', c};
    std::string value;
    while (!argument_ends()) {
      if (text_[at_] == '$') {
        return refuse(str_cat({"after `", name, value, "` a `", printable(text_.substr(at_, 2)),
                               "` would be part of the name; put it before `", name, "`"}));
      }
      value += text_[at_++];
    }
    if (value.empty() && c != 'T') {
      return refuse("`" + name + "` needs a channel name");
    }
    switch (c) {
      case 'M':
        out_.source_is.push_back(to_lower(value));
        break;
      case 'N':
        out_.source_not.push_back(to_lower(value));
        break;
      case 'Q':
        out_.target_is.push_back(to_lower(value));
        break;
      case 'C':
        out_.target_not.push_back(to_lower(value));
        break;
      default:
        out_.tag = to_lower(value);
    }
    return Status::ok();
  }

  // $?text and $xyyyzzz?text. A template that begins with it is nothing but text: the manual's
  // own example has an `@` there.
  Status error_text(std::string_view digits) {
    const bool alone = at_ == digits.size() + 2;
    std::string value;
    while (alone ? at_ < text_.size() : !argument_ends()) {
      if (text_[at_] == '$' && !alone) {
        const char next = at_ + 1 < text_.size() ? text_[at_ + 1] : ' ';
        if (next != '$' && next != '@' && next != '%') {
          return refuse("a `$` in the text after `$?`; write `$$` for a dollar sign");
        }
        ++at_;
      }
      value += text_[at_++];
    }
    out_.error_text = std::string(trim(value));
    out_.error_code = "5.1.2";
    if (!digits.empty()) {
      const auto number = parse_u64(digits);
      const std::uint64_t x = number.value_or(0) / 1000000;
      if (x != 4 && x != 5) {
        return refuse(str_cat({"`$", digits,
                               "?`: the number is x, three digits y and three "
                               "digits z of the code x.y.z, x 4 or 5 (4.1.2 is 4001002)"}));
      }
      out_.error_code = str_cat({std::to_string(x), ".", std::to_string(*number / 1000 % 1000), ".",
                                 std::to_string(*number % 1000)});
    }
    return Status::ok();
  }

  Status settle_form() {
    if (separators_.empty() && out_.parts[0].empty() && out_.error_text) {
      out_.form = Form::kErrorOnly;
      return Status::ok();
    }
    if (separators_ == "%") {
      out_.form = Form::kAgain;
    } else if (separators_ == "@" || separators_ == "%@") {
      out_.form = Form::kRoute;
    } else if (separators_ == "@@" || separators_ == "@@@") {
      out_.form = Form::kSourceRoute;
    } else {
      return refuse(
          "a template is A%B, A@B, A%B@C, A@B@C or A@B@C@D; write `$%` and `$@` for the "
          "characters themselves");
    }
    if (out_.parts[0].empty()) {
      return refuse("the template has no user part; it begins with `$U` as a rule");
    }
    if (out_.form != Form::kAgain && out_.parts.back().empty()) {
      return refuse("the template has no routing system after its last `@`");
    }
    return Status::ok();
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::string separators_;
  Template out_;
};

}  // namespace

bool Template::cannot_fail() const {
  if (envelope_only || header_only || forward_only || backward_only || positions != 0 ||
      internal_only || internal_never || !source_is.empty() || !source_not.empty() ||
      !target_is.empty() || !target_not.empty()) {
    return false;
  }
  return std::none_of(parts.begin(), parts.end(), [](const std::vector<Op>& ops) {
    return std::any_of(ops.begin(), ops.end(), [](const Op& op) {
      return op.kind == OpKind::kUnmatchedLeft || op.kind == OpKind::kUnmatchedRight ||
             op.kind == OpKind::kMatchedLeft || op.kind == OpKind::kMatchedRight;
    });
  });
}

Result<Template> compile_template(std::string_view text) {
  return Compiler(text).run();
}

}  // namespace bsmtp::rewrite

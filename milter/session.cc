// The per-connection state machine of bsmtp-milter; see session.h.
#include "milter/session.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "common/base/text.h"
#include "common/mail/envelope.h"
#include "common/mail/utf8_xtext.h"
#include "common/rewrite/tunnel_address.h"

namespace bsmtp::milter {
namespace {

enum Notify : unsigned { kSuccess = 1, kFailure = 2, kDelay = 4, kNever = 8 };

struct NotifyWord {
  std::string_view word;
  unsigned bit;
};
constexpr std::array<NotifyWord, 4> kNotifyWords{
    {{"SUCCESS", kSuccess}, {"FAILURE", kFailure}, {"DELAY", kDelay}, {"NEVER", kNever}}};

// Unknown words do not count: the MTA has refused a NOTIFY with such before we see it.
unsigned notify_bits(std::string_view value) {
  unsigned bits = 0;
  for (const std::string_view word : split(value, ',')) {
    for (const NotifyWord& known : kNotifyWords) {
      if (iequals(word, known.word)) {
        bits |= known.bit;
      }
    }
  }
  return bits;
}

std::string notify_text(unsigned bits) {
  std::vector<std::string> words;
  for (const NotifyWord& known : kNotifyWords) {
    if ((bits & known.bit) != 0) {
      words.emplace_back(known.word);
    }
  }
  return join(words, ",");
}

// What may stand in a parameter list without changing its shape: no blank, no control.
bool is_one_word(std::string_view value) {
  return !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
  });
}

// The value of `keyword` in an argument list; the first one counts.
std::string_view argument(const std::vector<std::string_view>& arguments,
                          std::string_view keyword) {
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const std::string_view a = arguments[i];
    if (a.size() > keyword.size() && a[keyword.size()] == '=' && istarts_with(a, keyword)) {
      return a.substr(keyword.size() + 1);
    }
  }
  return {};
}

// End of the source route "@a,@b:" (RFC 5321 4.1.2), 0 when there is none. A colon inside an
// address literal is not the end.
std::size_t route_length(std::string_view path) {
  if (path.empty() || path.front() != '@') {
    return 0;
  }
  bool literal = false;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    literal = c == '[' || (literal && c != ']');
    if (c == '"') {
      return 0;
    }
    if (c == ':' && !literal) {
      return i + 1;
    }
  }
  return 0;
}

// What the label for NOTIFY=NEVER adds.
constexpr std::size_t kNeverOctets = rewrite::kNeverLabel.size() + 1;

// Two recipients that differ only in the case of their domain are one mailbox.
std::string mailbox_key(const Lookup& lookup) {
  return str_cat({lookup.peer, "\n", lookup.local, "\n", to_lower(lookup.domain)});
}

Result<std::string> tunnel_address(const Lookup& lookup, bool never) {
  return rewrite::encode_tunnel(lookup.local, lookup.domain, lookup.peer, never);
}

}  // namespace

BarePath bare_path(std::string_view path) {
  BarePath bare;
  path = trim(path);
  if (path.size() >= 2 && path.front() == '<' && path.back() == '>') {
    path = path.substr(1, path.size() - 2);
    bare.bracketed = true;
  }
  path.remove_prefix(route_length(path));
  bare.stripped = path;
  bare.address = path;
  if (!path.empty() && path.back() == '.') {
    bare.address.remove_suffix(1);
  }
  return bare;
}

std::string original_recipient(std::string_view address) {
  const bool ascii = std::all_of(address.begin(), address.end(),
                                 [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  const std::string encoded = ascii ? mail::to_xtext(address) : mail::to_utf8_xtext(address);
  std::string value = str_cat({ascii ? "rfc822;" : "utf-8;", encoded});
  if (encoded.empty() || value.size() > mail::kMaxOrcpt) {
    return {};
  }
  return value;
}

void Session::connect(Connection connection) {
  connection_ = std::move(connection);
  reset();
}

void Session::mail(std::shared_ptr<const Classifier> classifier, const MailFrom& mail) {
  reset();
  const BarePath bare = bare_path(mail.path);
  origin_ = classifier->origin(connection_, mail, bare.address);
  classifier_ = std::move(classifier);
}

void Session::rcpt(const std::vector<std::string_view>& arguments) {
  if (classifier_ == nullptr || arguments.empty() || ++recipients_ > kMaxRecipients) {
    failed_ = true;
    return;
  }
  const BarePath bare = bare_path(arguments.front());
  if (!origin_.may_divert || bare.address.find('@') == std::string_view::npos) {
    return;
  }
  Lookup lookup = classifier_->look_up(bare.address, origin_.channel);
  switch (lookup.outcome) {
    case Lookup::Outcome::kPlain:
      return;
    case Lookup::Outcome::kLeft:
      left_.push_back({std::string(bare.address), std::move(lookup.why)});
      return;
    case Lookup::Outcome::kDivert:
      break;
  }
  // Whatever NOTIFY asks, the longer of the two forms must fit: which one is used is known only
  // after the last recipient.
  auto tunnel = tunnel_address(lookup, false);
  if (!tunnel.is_ok()) {
    left_.push_back({std::string(bare.address), tunnel.status().text()});
    return;
  }
  if (tunnel->size() + kNeverOctets > rewrite::kMaxDiverted) {
    left_.push_back({std::string(bare.address), "its diverted form would be over 250 octets"});
    return;
  }
  const unsigned notify = notify_bits(argument(arguments, "NOTIFY"));
  const std::string_view orcpt = argument(arguments, "ORCPT");
  tunneled_.push_back({std::move(lookup), std::move(tunnel).value(), std::string(bare.address),
                       std::string(is_one_word(orcpt) ? orcpt : ""), notify, notify == 0});
  forget(arguments.front(), bare);
}

// Postfix keeps a recipient without its source route but hands it to a milter with it, so the raw
// text alone would leave the direct copy in place; sendmail wants the raw text. Deleting what is
// not there succeeds on both.
void Session::forget(std::string_view path, const BarePath& bare) {
  deletions_.emplace_back(path);
  if (bare.bracketed && path.size() == bare.address.size() + 2) {
    return;  // nothing was stripped: the other forms are the same
  }
  for (const std::string_view form : {bare.stripped, bare.address}) {
    deletions_.push_back(bare.bracketed ? str_cat({"<", form, ">"}) : std::string(form));
  }
}

void Session::merge() {
  std::sort(deletions_.begin(), deletions_.end());
  deletions_.erase(std::unique(deletions_.begin(), deletions_.end()), deletions_.end());
  if (tunneled_.size() < 2) {
    return;
  }
  std::vector<std::pair<std::string, std::size_t>> order;  // equal mailboxes in order of arrival
  for (std::size_t i = 0; i < tunneled_.size(); ++i) {
    order.emplace_back(mailbox_key(tunneled_[i].lookup), i);
  }
  std::sort(order.begin(), order.end());
  for (std::size_t i = 1, first = 0; i < order.size(); ++i) {
    if (order[i].first != order[first].first) {
      first = i;
      continue;
    }
    Tunneled& kept = tunneled_[order[first].second];
    Tunneled& other = tunneled_[order[i].second];
    kept.notify |= other.notify;
    kept.default_notify = kept.default_notify || other.default_notify;
    if (kept.orcpt.empty()) {
      kept.orcpt = std::move(other.orcpt);
    }
    other.address.clear();
  }
}

Result<Addition> Session::to_addition(Tunneled& tunneled) {
  unsigned notify = tunneled.notify;
  // Never, only if every recipient that leads here said so.
  if (notify == kNever && !tunneled.default_notify) {
    TRY_ASSIGN(tunneled.address, tunnel_address(tunneled.lookup, true));
  } else {
    notify &= ~static_cast<unsigned>(kNever);
    if (tunneled.default_notify && notify != 0) {
      notify |= kFailure | kDelay;  // RFC 3461 4.1: what no NOTIFY asks for
    }
  }
  std::string params;
  if (notify != 0) {
    params = str_cat({"NOTIFY=", notify_text(notify)});
  }
  const std::string orcpt =
      tunneled.orcpt.empty() ? original_recipient(tunneled.original) : std::move(tunneled.orcpt);
  if (!orcpt.empty()) {
    params += str_cat({params.empty() ? "" : " ", "ORCPT=", orcpt});
  }
  return Addition{std::move(tunneled.address), std::move(params), std::move(tunneled.original)};
}

Result<Edits> Session::end_of_message() {
  if (failed_ || classifier_ == nullptr) {
    reset();
    return Status::temporary("4.3.0", "this message could not be classified; try again");
  }
  merge();
  Edits edits;
  for (Tunneled& tunneled : tunneled_) {
    if (!tunneled.address.empty()) {
      Addition addition;
      TRY_ASSIGN(addition, to_addition(tunneled));
      edits.additions.push_back(std::move(addition));
    }
  }
  edits.deletions = std::move(deletions_);
  edits.left = std::move(left_);
  reset();
  return edits;
}

void Session::abort() {
  reset();
}

void Session::reset() {
  classifier_.reset();
  origin_ = {};
  failed_ = false;
  recipients_ = 0;
  tunneled_.clear();
  deletions_.clear();
  left_.clear();
}

}  // namespace bsmtp::milter

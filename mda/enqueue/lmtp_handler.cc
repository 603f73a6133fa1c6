#include "mda/enqueue/lmtp_handler.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/log/events.h"
#include "common/mail/address.h"
#include "common/mail/utf8_xtext.h"
#include "common/os/deadline.h"
#include "common/rewrite/tunnel_address.h"
#include "common/spool/heartbeat.h"

namespace bsmtp::mda {

// Writes to all items that can still be written; what fails one peer's item leaves the others
// alone.
class EnqueueHandler::Tee final : public Sink {
 public:
  explicit Tee(std::vector<Share>& shares) : shares_(shares) {}

  Status write(std::string_view data) override {
    Status last;
    bool any = false;
    for (Share& share : shares_) {
      if (share.status.is_ok()) {
        share.status = share.writer->write(data);
      }
      any = any || share.status.is_ok();
      last = share.status;
    }
    return any ? Status::ok() : last;
  }

 private:
  std::vector<Share>& shares_;
};

namespace {

constexpr std::string_view kAscii = "rfc822;";
constexpr std::string_view kUtf8 = "utf-8;";

// Postfix takes an ORCPT that a milter gives for xtext whatever its type, and so encodes a second
// time what already was.
std::optional<std::string> decode_utf8_orcpt(std::string_view text) {
  auto address = mail::from_utf8_xtext(text);
  if (address && mail::is_ascii(*address)) {
    const auto again = mail::from_utf8_xtext(*address);
    return again ? again : address;
  }
  return address;
}

// Where no one gave an ORCPT, Postfix makes one of its own form of the recipient; a report must
// name an address that the sender has seen.
std::string real_orcpt(const std::string& orcpt) {
  const bool utf8 = istarts_with(orcpt, kUtf8);
  if (!utf8 && !istarts_with(orcpt, kAscii)) {
    return orcpt;
  }
  std::optional<std::string> address;
  if (utf8) {
    address = decode_utf8_orcpt(std::string_view(orcpt).substr(kUtf8.size()));
  } else if (auto plain = mail::from_xtext(std::string_view(orcpt).substr(kAscii.size()));
             plain.is_ok()) {
    address = std::move(plain).value();
  }
  if (!address) {
    return orcpt;
  }
  const auto tunnel = rewrite::decode_tunnel(*address);
  if (!tunnel.is_ok() && !utf8) {
    return orcpt;
  }
  const std::string real = tunnel.is_ok() ? tunnel->address() : *address;
  if (mail::is_ascii(real)) {
    return str_cat({kAscii, mail::to_xtext(real)});
  }
  const std::string encoded = mail::to_utf8_xtext(real);
  return encoded.empty() ? "" : str_cat({kUtf8, encoded});  // not UTF-8: better none
}

}  // namespace

EnqueueHandler::EnqueueHandler(const config::Config& config, std::string peer_argument,
                               const EnqueueHooks& hooks)
    : config_(config),
      peer_argument_(std::move(peer_argument)),
      ops_(hooks.ops != nullptr ? *hooks.ops : os::real_file_ops()),
      clock_(hooks.clock != nullptr ? *hooks.clock : system_clock()) {}

void EnqueueHandler::reset() {
  shares_.clear();
  share_of_recipient_.clear();
  ready_.clear();
  resolver_.reset();
  spool_.reset();
}

Status EnqueueHandler::mail(const mail::Envelope& envelope) {
  reset();
  Status status = begin(envelope);
  if (!status.is_ok()) {
    log::enqueue_failed("", peer_argument_, status);
  }
  return status;
}

Status EnqueueHandler::begin(const mail::Envelope& envelope) {
  TRY_ASSIGN(spool_, spool::Spool::open(ops_, config_.spool_directory));
  TRY(spool_->require_free(static_cast<unsigned>(config_.free_percent_enqueue)));
  TRY(spool_->require_room(envelope.size.value_or(0)));
  resolver_.emplace(config_);
  if (!peer_argument_.empty()) {
    TRY(resolver_->use_peer(peer_argument_));
  }
  envelope_ = envelope;
  TRY_ASSIGN(envelope_.sender, resolve_sender(envelope.sender, config_.host));
  envelope_.size.reset();  // the MTA's estimate; the item has its size
  if (envelope_.body.empty()) {
    envelope_.body = "8BITMIME";  // true of any text; sendmail sends 8-bit text without saying so
  }
  envelope_.smtputf8 = envelope_.smtputf8 || !mail::is_ascii(envelope_.sender);
  return mail::format_mail(envelope_).status();
}

Result<ResolvedRecipient> EnqueueHandler::resolve(const mail::Recipient& recipient) {
  TRY_ASSIGN(ResolvedRecipient resolved, resolver_->resolve(recipient.address));
  if (resolved.recipient.notify.empty()) {  // else the label "never": the sender's own word
    resolved.recipient.notify = recipient.notify;
  }
  resolved.recipient.orcpt = real_orcpt(recipient.orcpt);
  if (resolved.recipient.orcpt.size() > mail::kMaxOrcpt) {
    resolved.recipient.orcpt.clear();  // better none than a recipient refused for it
  }
  TRY(mail::format_rcpt(resolved.recipient).status());
  TRY(require_ready(resolved.peer));
  return resolved;
}

Status EnqueueHandler::require_ready(const std::string& peer) {
  const auto known = ready_.find(peer);
  if (known != ready_.end()) {
    return known->second;
  }
  Status status = require_open(config_, peer);
  if (status.is_ok()) {
    status = spool_->check_way_in(peer);
  }
  if (status.is_ok()) {
    status = spool::require_alive(*spool_, peer, clock_.now(), config_.accept_while_stalled);
  }
  ready_.emplace(peer, status);
  return status;
}

std::size_t EnqueueHandler::share_of(const std::string& peer) {
  const auto found = std::find_if(shares_.begin(), shares_.end(),
                                  [&](const Share& share) { return share.peer == peer; });
  if (found != shares_.end()) {
    return static_cast<std::size_t>(found - shares_.begin());
  }
  Share& share = shares_.emplace_back();
  share.peer = peer;
  share.envelope = envelope_;
  return shares_.size() - 1;
}

Status EnqueueHandler::rcpt(const mail::Recipient& recipient) {
  auto resolved = resolve(recipient);
  if (!resolved.is_ok()) {
    log::enqueue_failed("", peer_argument_, resolved.status());
    return resolved.status();
  }
  const std::size_t share = share_of(resolved->peer);
  mail::Envelope& envelope = shares_[share].envelope;
  envelope.smtputf8 = envelope.smtputf8 || !mail::is_ascii(resolved->recipient.address);
  envelope.recipients.push_back(std::move(resolved->recipient));
  share_of_recipient_.push_back(share);
  return Status::ok();
}

Status EnqueueHandler::open_item(Share& share) {
  TRY_ASSIGN(share.id, make_id(clock_.now()));
  const auto options = item_options(config_, spool_->paths(), share.peer, share.id);
  share.scratch.emplace(options.tmp_path);
  TRY_ASSIGN(auto writer, spool::ItemWriter::create(ops_, share.envelope, options));
  share.writer.emplace(std::move(writer));
  return Status::ok();
}

void EnqueueHandler::commit(Share& share) {
  if (share.status.is_ok()) {
    share.status = share.writer->commit();
  }
  if (!share.status.is_ok()) {
    log::enqueue_failed("", share.peer, share.status);
    return;
  }
  const mail::Envelope& envelope = share.envelope;
  // LMTP does not carry the MTA's queue id, and sendmail does not log our reply.
  log::enqueued(share.id, share.writer->text().queue_id(), share.peer, envelope.sender,
                envelope.recipients.front().address, envelope.recipients.size(),
                share.writer->text().facts().octets);
}

std::vector<lmtp::Outcome> EnqueueHandler::deliver(Source& text) {
  for (Share& share : shares_) {
    share.status = open_item(share);
  }
  Tee tee(shares_);
  const Status copied = copy(text, tee).status();
  for (Share& share : shares_) {
    if (share.status.is_ok()) {  // a peer's own trouble says more than that of the whole copy
      share.status = copied.is_ok() ? share.writer->finish() : copied;
    }
  }
  if (copied.is_ok()) {
    // As in the pipe form: no 421 for a message of which a part is taken. All files are on disk by
    // now; the session restarts the deadline before it answers.
    os::Deadline::disarm();
  }
  for (Share& share : shares_) {
    commit(share);
  }
  std::vector<lmtp::Outcome> outcomes;
  outcomes.reserve(share_of_recipient_.size());
  for (const std::size_t index : share_of_recipient_) {
    const Share& share = shares_[index];
    outcomes.push_back({share.status, str_cat({"queued as ", share.id, " for ", share.peer})});
  }
  reset();
  return outcomes;
}

}  // namespace bsmtp::mda

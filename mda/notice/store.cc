// See store.h.
#include "mda/notice/store.h"

#include <algorithm>
#include <chrono>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/digest/sha256.h"
#include "common/log/events.h"
#include "common/mail/address.h"
#include "mda/agent/gateway_address.h"

namespace bsmtp::mda {
namespace {

// Mail of the null sender, or of one that is the tunnel's own, failed: nobody may get a DSN (it
// would go into a tunnel, or be taken for a parcel's bounce), but a human should know (standards: a
// site that loses all its bounces has a fault somewhere). The hour in the id limits the rate.
Status tell_postmaster(const NoticeSubject& subject, const std::string& sender,
                       const std::vector<DsnRecipient>& recipients) {
  const auto hour = std::chrono::duration_cast<std::chrono::hours>(subject.now.time_since_epoch());
  PostmasterLetter letter;
  letter.host = subject.config.host;
  letter.postmaster = postmaster_address(subject.config);
  letter.subject = str_cat({"Undeliverable notifications, peer ", subject.peer});
  letter.now = subject.now;
  letter.notice_id =
      notice_id({"null-sender", subject.peer, std::to_string(hour.count()), letter.postmaster});
  letter.body =
      str_cat({"Mail with the null sender (bounces, receipts), or with an address of the tunnel\n"
               "itself as its sender, could not be delivered.\n"
               "Nobody else is told; at most one such letter is sent per hour and peer.\n"
               "The log has the others under the events undeliverable and failed.\n\n"
               "Parcel: ",
               subject.parcel_id, "\nMessage: ", subject.message, "\nSender: <",
               printable(sender, 300), ">\n"});
  for (const DsnRecipient& r : recipients) {
    letter.body +=
        str_cat({"Recipient: <", printable(r.recipient.address, 300), "> ", r.status, " ",
                 printable(r.diagnostic.empty() ? r.reason : r.diagnostic, 500), "\n"});
  }
  return subject.store.put(letter.notice_id, letter_envelope(letter), format_letter(letter),
                           "null-sender", subject.parcel_id);
}

// A reason for a sender must not name files of this host: "/var/spool/bsmtp/...: is cut off" is
// "the message: is cut off" to him.
std::string without_paths(std::string text, const std::string& spool) {
  for (std::size_t at = 0; !spool.empty() && (at = text.find(spool)) != std::string::npos;) {
    const std::size_t end = text.find_first_of(" :;,'\"", at);
    text.replace(at, (end == std::string::npos ? text.size() : end) - at, "the message");
  }
  return text;
}

// Why the sender of unpacked mail is not told; "" when he is.
Result<std::string> withheld_because(const NoticeSubject& subject, const DsnRequest& request) {
  const config::Peer* const peer = subject.config.find_peer(subject.peer);
  if (peer == nullptr || !subject.unpacked) {
    return std::string();
  }
  const std::string_view domain =
      mail::strip_trailing_dot(mail::split_address(request.envelope.sender).domain);
  if (!peer->dsn_for.empty() && !mail::domain_matches_any(domain, peer->dsn_for)) {
    return std::string("dsn-for");
  }
  bool known = false;  // counted already
  TRY_ASSIGN(known, subject.store.is_known(request.notice_id));
  return std::string(known || subject.store.limit().take(subject.peer, peer->dsn_limit, subject.now)
                         ? ""
                         : "dsn-limit");
}

Status withhold(const NoticeSubject& subject, NoticeKind kind, const DsnRequest& request,
                const std::string& why) {
  if (kind != NoticeKind::kFailure) {
    return Status::ok();
  }
  log::dsn_withheld(request.notice_id, subject.peer, request.envelope.sender, why);
  for (const DsnRecipient& r : request.recipients) {
    TRY(subject.store.limit().withhold(
        subject.peer,
        str_cat({format_rfc5322(subject.now), "  ", why, "  parcel ", subject.parcel_id,
                 " message ", subject.message, "  <", printable(request.envelope.sender, 200),
                 "> -> <", printable(r.recipient.address, 200), ">  ", r.status, " ",
                 printable(r.diagnostic.empty() ? r.reason : r.diagnostic, 200)})));
  }
  return Status::ok();
}

void take_what_is_there(const Original& original, std::uint64_t cap, DsnRequest& request) {
  if (original.damaged) {
    request.envelope.ret = "HDRS";
  }
  // No report waits for a disk that cannot be read.
  if (original.text != nullptr &&
      !take_original(*original.text, original.octets, cap, request).is_ok()) {
    request.original_header.clear();
    request.original_body.clear();
    request.full = false;
  }
}

Status put_dsn(const NoticeSubject& subject, const DsnRequest& request) {
  TRY_ASSIGN(const std::string text, format_dsn(request));
  return subject.store.put(request.notice_id, dsn_envelope(request), text,
                           notice_kind_name(request.kind), subject.parcel_id);
}

// Attempts of notices stand beside those of parcels; no peer has such a name.
constexpr std::string_view kNoPeer = "*";

}  // namespace

std::string postmaster_address(const config::Config& config) {
  return config.postmaster.find('@') == std::string::npos
             ? str_cat({config.postmaster, "@", config.host})
             : config.postmaster;
}

std::string notice_id(const std::vector<std::string_view>& parts) {
  digest::Sha256 sha;
  for (const std::string_view part : parts) {
    sha.update(part);
    sha.update(std::string_view("\0", 1));
  }
  return sha.finish_hex().substr(0, kIdLength);
}

std::string NoticeStore::path(std::string_view id) const {
  return str_cat({spool_.paths().notices_ready(), "/", id});
}

Result<bool> NoticeStore::is_known(const std::string& id) const {
  ledger::Journal* const journal = journal_;
  bool known = false;
  TRY_ASSIGN(known, os::exists(spool_.ops(), path(id)));
  if (!known && journal != nullptr) {
    TRY(journal->run([&](ledger::Ledger& ledger) {
      TRY_ASSIGN(known, ledger.notice_sent(id));
      return Status::ok();
    }));
  }
  return known;
}

Status NoticeStore::put(const std::string& id, const mail::Envelope& envelope,
                        std::string_view text, std::string_view kind, std::string_view about) {
  bool known = false;
  TRY_ASSIGN(known, is_known(id));
  if (known) {
    return Status::ok();
  }
  std::string random;
  TRY_ASSIGN(random, random_hex(8));
  spool::ItemWriter::Options options;
  options.tmp_path = str_cat({spool_.paths().notices_tmp(), "/", id, ".", random});
  options.final_path = path(id);
  options.final_dir = spool_.paths().notices_ready();
  options.text.max_received = 1000;  // a returned message has Received lines of its own
  auto writer = spool::ItemWriter::create(spool_.ops(), envelope, std::move(options));
  if (!writer.is_ok()) {
    return writer.status();
  }
  TRY(writer->write(text));
  TRY(writer->commit());
  log::notice_written(
      id, kind, envelope.recipients.empty() ? "" : envelope.recipients.front().address, about);
  return Status::ok();
}

Result<std::vector<std::string>> NoticeStore::waiting() const {
  return spool::list_ids(spool_.ops(), spool_.paths().notices_ready());
}

Result<NoticeStore::Start> NoticeStore::begin(const std::string& id, TimePoint now) {
  ledger::Journal* const journal = journal_;
  Start start = Start::kSend;
  if (journal == nullptr) {
    return start;
  }
  TRY(journal->run([&](ledger::Ledger& ledger) {
    bool sent = false;
    TRY_ASSIGN(sent, ledger.notice_sent(id));
    std::vector<std::uint64_t> attempts;
    TRY_ASSIGN(attempts, ledger.attempts(kNoPeer, id));
    start = sent ? Start::kSent : attempts.empty() ? Start::kSend : Start::kSendAgain;
    return sent ? Status::ok() : ledger.note_attempt(kNoPeer, id, 0, now);
  }));
  return start;
}

Status NoticeStore::not_sent(const std::string& id) {
  ledger::Journal* const journal = journal_;
  return journal == nullptr ? Status::ok() : journal->run([&](ledger::Ledger& ledger) {
    return ledger.clear_attempt(kNoPeer, id, 0);
  });
}

Result<std::string> NoticeStore::keep_refused(const std::string& id) {
  os::FileOps& ops = spool_.ops();
  const std::string place = spool_.paths().notices_refused();
  TRY(os::ensure_directory(ops, place, spool::kDirMode));
  std::string to = str_cat({place, "/", id});
  TRY(ops.rename(path(id), to));
  TRY(ops.fsync_dir(place));
  return to;
}

Status NoticeStore::done(const std::string& id, TimePoint retain_until) {
  ledger::Journal* const journal = journal_;
  if (journal != nullptr) {
    const Status noted = journal->run([&](ledger::Ledger& ledger) {
      TRY(ledger.note_notice(id, retain_until));
      return ledger.clear_attempt(kNoPeer, id, 0);
    });
    TRY(noted);
  }
  return os::remove_if_exists(spool_.ops(), path(id));
}

std::string dsn_id(const NoticeSubject& subject, NoticeKind kind,
                   const std::vector<DsnRecipient>& recipients) {
  std::vector<std::string_view> parts = {subject.parcel_id, subject.message};
  for (const DsnRecipient& r : recipients) {
    if (wants_notice(r.recipient.notify, kind)) {
      parts.push_back(r.recipient.address);
    }
  }
  // The end of a message is told once, whether it is known or not.
  parts.push_back(notice_kind_name(kind == NoticeKind::kUnknown ? NoticeKind::kFailure : kind));
  return notice_id(parts);
}

Status tell_of_unreadable(NoticeStore& store, const std::string& peer, std::string_view what,
                          const Status& why, TimePoint now) {
  return store.limit().withhold(
      peer, str_cat({format_rfc5322(now), "  unreadable  ", what, "  set aside: ", why.text()}));
}

Status write_dsn(const NoticeSubject& subject, NoticeKind kind, const spool::ItemReader& item,
                 std::uint64_t text_bytes, const std::vector<DsnRecipient>& recipients) {
  return write_dsn(subject, kind, item.envelope(), {item.plain_text(), text_bytes}, recipients);
}

Status write_dsn(const NoticeSubject& subject, NoticeKind kind, const mail::Envelope& envelope,
                 const Original& original, const std::vector<DsnRecipient>& recipients) {
  DsnRequest request;
  for (const DsnRecipient& r : recipients) {
    if (wants_notice(r.recipient.notify, kind)) {
      request.recipients.push_back(r);
      std::string& reason = request.recipients.back().reason;
      reason = without_paths(std::move(reason), subject.config.spool_directory);
    }
  }
  if (request.recipients.empty()) {
    return Status::ok();
  }
  request.envelope = envelope;
  const std::string& sender = request.envelope.sender;
  if (sender.empty() || is_tunnels_own(subject.config, sender)) {
    const bool lost = kind == NoticeKind::kFailure || kind == NoticeKind::kUnknown;
    return lost ? tell_postmaster(subject, sender, request.recipients) : Status::ok();
  }
  request.notice_id = dsn_id(subject, kind, request.recipients);
  request.kind = kind;
  std::string why_not;
  TRY_ASSIGN(why_not, withheld_because(subject, request));
  if (!why_not.empty()) {
    return withhold(subject, kind, request, why_not);
  }
  request.reporting_mta = subject.config.host;
  request.postmaster = postmaster_address(subject.config);
  request.arrival = subject.arrival;
  request.now = subject.now;
  request.will_retry_until =
      subject.retry_until.value_or(subject.arrival + subject.config.delivery_expire);
  take_what_is_there(original, subject.config.dsn_return_bytes, request);
  Status status = put_dsn(subject, request);
  if (status.is_permanent() && !request.original_header.empty()) {
    // Damage may have made of the message what no mail can carry: then the report goes alone.
    request.original_header.clear();
    request.original_body.clear();
    request.full = false;
    status = put_dsn(subject, request);
  }
  if (status.is_permanent()) {
    // A sender address that cannot be written as an envelope: nobody can be told.
    log::alarm(request.notice_id,
               str_cat({"no notice can be sent to <", printable(request.envelope.sender, 300),
                        ">: ", status.text()}));
    return Status::ok();
  }
  return status;
}

}  // namespace bsmtp::mda

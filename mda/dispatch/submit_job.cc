// See submit_job.h.
#include "mda/dispatch/submit_job.h"

#include <algorithm>
#include <cerrno>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/log/events.h"
#include "common/mail/line.h"
#include "common/os/fd_stream.h"
#include "common/parcel/builder.h"
#include "common/spool/item.h"
#include "mda/dispatch/queue_watch.h"
#include "mda/dispatch/sent_job.h"
#include "mda/dispatch/split_job.h"
#include "mda/notice/back_off.h"

namespace bsmtp::mda {
namespace {

mail::Envelope parcel_envelope(const config::Config& config, const config::Peer& peer,
                               const spool::ParcelDir& parcel, const ParcelState& state) {
  mail::Envelope envelope;
  envelope.sender = str_cat({config.user, "+", state.token, "@", config.host});
  envelope.ret = "HDRS";
  envelope.envid = mail::to_xtext(parcel.id());
  mail::Recipient recipient;
  recipient.address = peer.parcel_address();
  // Without receipts the host MTA's word that it was handed on is all there will be.
  recipient.notify = awaits_receipt(peer, state) ? "FAILURE,DELAY" : "SUCCESS,FAILURE,DELAY";
  recipient.orcpt = str_cat({"rfc822;", mail::to_xtext(peer.parcel_address())});
  envelope.recipients.push_back(std::move(recipient));
  return envelope;
}

Result<std::string> fresh_headers(const SubmitContext& context, const config::Peer& peer,
                                  const spool::ParcelDir& parcel) {
  const TimePoint now = context.clock.now();
  std::string random;
  TRY_ASSIGN(random, random_hex(8));
  parcel::OuterHeaders headers;
  headers.from = context.config->parcel_address();
  headers.to = peer.parcel_address();
  headers.parcel_id = parcel.id();
  headers.message_id = str_cat({"<", parcel.id(), ".", random, "@", context.config->host, ">"});
  headers.date = now;
  return parcel::outer_headers(headers);
}

Status write_parcel(const spool::Spool& spool, const spool::ParcelDir& parcel,
                    const std::string& headers, Sink& out) {
  os::File entity;
  TRY_ASSIGN(entity, parcel.open_entity());
  os::FileSource source(spool.ops(), entity);
  mail::TextStuffer stuffer(out, {mail::LineEnds::kCrlf, false});
  TRY(stuffer.write(headers));
  TRY(copy(source, stuffer).status());
  return stuffer.finish();
}

class Submission {
 public:
  Submission(SubmitContext& context, const config::Peer& peer, spool::ParcelDir& parcel,
             ParcelState state)
      : context_(context),
        peer_(peer),
        parcel_(parcel),
        state_(std::move(state)),
        awaits_(awaits_receipt(peer, state_)) {}

  Result<SubmitResult> run(HostMta& mta) {
    const TimePoint now = context_.clock.now();
    if (state_.token.empty() || state_.created == TimePoint() || state_.expires == TimePoint()) {
      return Status::temporary("4.3.0", str_cat({parcel_.path(),
                                                 "/state: token, created or expires is "
                                                 "missing; the parcel stays in ready: restore "
                                                 "the file"}));
    }
    if (state_.finished != TimePoint()) {
      return finish_move();
    }
    if (!state_.failing.empty()) {
      return fail(noted_failure(state_), state_.failing_word);
    }
    if (!state_.splitting.empty()) {
      return SubmitResult{SubmitResult::Kind::kSplit, {}, Status::ok()};
    }
    state_.in_doubt = state_.in_doubt || state_.submitting;
    if (awaits_ && state_.submitting && state_.handed == TimePoint()) {
      state_.handed = now;  // for all that anybody knows
    }
    if (left_once()) {
      if (now >= state_.expires && state_.asked == TimePoint()) {
        state_.asked = now;
      } else if (now >= unknown_from(state_, resend_times(*context_.config))) {
        return back_to_sent("it could not be handed on once more");
      }
    } else if (now >= state_.expires) {
      return expire();
    }
    bool whole = false;
    TRY_ASSIGN(whole, entity_is_whole());
    if (!whole) {
      log::alarm(parcel_.id(), str_cat({parcel_.entity_path(),
                                        " is missing or not as it was built; the parcel's "
                                        "messages wait for another one"}));
      return build_again();
    }
    if (Status status = mta.ready(); !status.is_ok()) {
      return is_late() ? expire() : SubmitResult{SubmitResult::Kind::kUnreachable, {}, status};
    }
    if (state_.submitting) {
      log::ambiguous(parcel_.id(),
                     "interrupted while the parcel was handed to the host MTA; it is sent again");
    }
    std::string headers;
    TRY_ASSIGN(headers, fresh_headers(context_, peer_, parcel_));
    state_.submitting = true;
    TRY(parcel_.write_state(state_.to_fields()));
    // Nothing leaves before it is certain that the parcel stays in ready/.
    TRY(context_.spool.ops().fsync_dir(
        context_.spool.paths().stage(peer_.name, spool::Stage::kReady)));
    const smtp::Delivery delivery =
        mta.send(parcel_envelope(*context_.config, peer_, parcel_, state_),
                 [&](Sink& sink) { return write_parcel(context_.spool, parcel_, headers, sink); });
    return conclude(delivery);
  }

 private:
  Result<SubmitResult> conclude(const smtp::Delivery& delivery) {
    state_.submitting = false;
    const smtp::RecipientResult& result = delivery.recipients.at(0);
    const std::string reply = result.reply.code == 0 ? "" : result.reply.to_string();
    if (delivery.outcome == smtp::Outcome::kAmbiguous) {
      log::ambiguous(parcel_.id(), "the host MTA's final reply was lost; the parcel is sent again");
      state_.in_doubt = true;
      if (awaits_) {
        state_.handed = context_.clock.now();
      }
      return defer(Status::temporary("4.4.2", "the final reply was lost"));
    }
    if (result.status.is_ok()) {
      return sent(delivery.final_reply.to_string());
    }
    return result.status.is_permanent() ? refused(result, reply) : defer(result.status);
  }

  Result<SubmitResult> refused(const smtp::RecipientResult& result, const std::string& reply) {
    // This copy was refused, another one perhaps not.
    const bool another = doubtful();
    if (!awaits_) {
      return fail_this_copy(another, result.status, reply);
    }
    const bool read = result.stage == smtp::Stage::kText;
    const Refusal refusal = classify_refusal(result.status.code(), reply,
                                             read ? RefusedAt::kText : RefusedAt::kEnvelope);
    if (refusal != Refusal::kOther) {
      bool splits = false;
      TRY_ASSIGN(splits, begin_split(context_.spool, parcel_, state_, another, result.status));
      if (splits) {
        return SubmitResult{SubmitResult::Kind::kSplit, {}, result.status};
      }
    }
    if (!left_once()) {
      return fail_this_copy(another, result.status, reply);
    }
    // Its receipt may be on its way.
    log::parcel_returned(parcel_.id(), peer_.name, "refused", result.status.to_string());
    note_bounce(state_, resend_times(*context_.config), context_.clock.now());
    return back_to_sent(result.status.to_string());
  }

  // It waits for a receipt, or for what follows when none comes.
  Result<SubmitResult> back_to_sent(const std::string& why) {
    state_.answer = why;
    state_.finished = context_.clock.now();
    TRY(parcel_.write_state(state_.to_fields()));
    TRY(parcel_.move_to(spool::Stage::kSent));
    return SubmitResult{SubmitResult::Kind::kSent, {}, Status::ok()};
  }

  Result<SubmitResult> sent(const std::string& reply) {
    state_.answer = reply;
    state_.finished = context_.clock.now();
    if (awaits_) {
      state_.handed = state_.finished;
      state_.bounced = TimePoint();
      state_.next = TimePoint();
    }
    log::parcel_submitted(parcel_.id(), peer_.name, reply);
    TRY(parcel_.write_state(state_.to_fields()));
    TRY(parcel_.move_to(spool::Stage::kSent));
    return SubmitResult{SubmitResult::Kind::kSent, {}, Status::ok()};
  }

  // Stopped between noting the outcome and the rename: the host MTA has the parcel, or every
  // sender has a DSN. Only the rename is left.
  Result<SubmitResult> finish_move() {
    const bool was_sent = state_.failing.empty();
    TRY(parcel_.move_to(was_sent ? spool::Stage::kSent : spool::Stage::kFailed));
    return SubmitResult{
        was_sent ? SubmitResult::Kind::kSent : SubmitResult::Kind::kFailed, {}, Status::ok()};
  }

  // An earlier copy may have arrived: only the peer's receipt, or its silence, ends this parcel.
  bool left_once() const { return awaits_ && state_.handed != TimePoint(); }
  bool doubtful() const { return left_once() || may_have_arrived(state_); }

  // What the host MTA takes later than that could reach the peer expired, when its senders can no
  // longer be told by anybody.
  bool is_late() const {
    if (left_once()) {
      return false;
    }
    const TimePoint from = state_.oldest == TimePoint() ? state_.created : state_.oldest;
    return context_.clock.now() >= from + context_.config->delivery_expire;
  }

  // As it was when the parcel became ready?
  Result<bool> entity_is_whole() const {
    const auto info = context_.spool.ops().stat(parcel_.entity_path());
    if (!info.is_ok()) {
      return info.status().error_number() == ENOENT ? Result<bool>(false) : info.status();
    }
    if (info->is_directory || (state_.entity_octets != 0 && info->size != state_.entity_octets)) {
      return false;
    }
    if (state_.entity_digest.empty()) {
      return true;
    }
    os::File entity;
    TRY_ASSIGN(entity, parcel_.open_entity());
    std::string digest;
    TRY_ASSIGN(digest, digest_of(context_.spool.ops(), entity, info->size));
    return digest == state_.entity_digest;
  }

  // The messages that are too old fail, the others wait for a new parcel. One that may have arrived
  // stays together: apart, the younger ones would forget that.
  Result<SubmitResult> expire() {
    if (!doubtful()) {
      return undo(context_.config->delivery_expire);
    }
    state_.failing_unknown = true;
    return fail(Status::temporary("4.4.0",
                                  "its handing over to the recipient's mail gateway was "
                                  "interrupted, and its time is over"),
                {});
  }

  // Its entity is lost. What may have arrived goes as a whole into a parcel that remembers it.
  Result<SubmitResult> build_again() {
    if (!doubtful()) {
      return undo(std::chrono::seconds(0));
    }
    TRY(begin_again(parcel_, state_, "4.3.0 its entity was damaged"));
    return SubmitResult{SubmitResult::Kind::kSplit, {}, Status::ok()};
  }

  // From here on it is no parcel any more; a crash gives its messages back to incoming/. Those
  // that arrived at least `lifetime` ago (0 = none) fail.
  Result<SubmitResult> undo(std::chrono::seconds lifetime) {
    TRY(parcel_.move_to(spool::Stage::kBuilding));
    if (lifetime != std::chrono::seconds(0)) {
      TRY(expire_items(context_, parcel_, lifetime));
    }
    TRY(parcel_.abandon());
    return SubmitResult{SubmitResult::Kind::kGone, {}, Status::ok()};
  }

  Result<SubmitResult> defer(const Status& why) {
    const config::Config& config = *context_.config;
    if (is_late()) {
      return expire();
    }
    const std::chrono::seconds wait =
        back_off(++state_.attempts, config.retry_initial, config.retry_maximum);
    state_.next = context_.clock.now() + wait;
    state_.answer = why.to_string();
    log::parcel_deferred(parcel_.id(), peer_.name, why, static_cast<std::uint64_t>(wait.count()));
    TRY(parcel_.write_state(state_.to_fields()));
    return SubmitResult{SubmitResult::Kind::kDeferred, state_.next, why};
  }

  Result<SubmitResult> fail(const Status& why, const RemoteWord& word) {
    TRY(fail_parcel(context_, parcel_, state_, why, word));
    return SubmitResult{SubmitResult::Kind::kFailed, {}, why};
  }

  Result<SubmitResult> fail_this_copy(bool another, const Status& why, const std::string& reply) {
    const RemoteWord word{reply, "smtp", reply.empty() ? "" : context_.config->host};
    TRY(fail_copy(context_, parcel_, state_, another, why, word));
    return SubmitResult{SubmitResult::Kind::kFailed, {}, why};
  }

  SubmitContext& context_;
  const config::Peer& peer_;
  spool::ParcelDir& parcel_;
  ParcelState state_;
  const bool awaits_;
};

}  // namespace

Result<SubmitResult> submit_parcel(SubmitContext& context, const config::Peer& peer,
                                   const std::string& parcel_id, HostMta& mta) {
  auto claimed = spool::ParcelDir::claim(context.spool, peer.name, spool::Stage::kReady, parcel_id);
  if (!claimed.is_ok()) {
    return claimed.status();
  }
  if (!claimed->has_value()) {
    return SubmitResult{};
  }
  spool::ParcelDir& parcel = **claimed;
  spool::Fields fields;
  TRY_ASSIGN(fields, parcel.read_state());
  return Submission(context, peer, parcel, ParcelState::from(fields)).run(mta);
}

Status noted_failure(const ParcelState& state) {
  return state.failing.starts_with('5') ? Status::permanent(state.failing, state.failing_reason)
                                        : Status::temporary("4.4.0", state.failing_reason);
}

Status fail_parcel(SubmitContext& context, spool::ParcelDir& parcel, ParcelState state,
                   const Status& why, const RemoteWord& word) {
  const TimePoint now = context.clock.now();
  if (state.failing.empty()) {
    state.submitting = false;
    state.failing = why.code();
    state.failing_reason = why.text();
    state.failing_word = word;
    // On disk before the first sender is told.
    TRY(parcel.write_state(state.to_fields()));
  }
  const NoticeKind kind = state.failing_unknown ? NoticeKind::kUnknown : NoticeKind::kFailure;
  // What was said of a later copy is no verdict about the message: for the human part alone.
  const RemoteWord said = state.failing_unknown ? RemoteWord{word.text, "", ""} : word;
  std::vector<std::string> items;
  TRY_ASSIGN(items, parcel.items());
  for (const std::string& id : items) {
    const auto item = spool::ItemReader::open(context.spool.ops(), parcel.item_path(id));
    if (!item.is_ok()) {
      if (!item.status().is_permanent()) {
        return item.status();
      }
      log::alarm(id, str_cat({"its sender cannot be told that parcel ", parcel.id(),
                              " failed: ", item.status().text()}));
      continue;
    }
    const NoticeSubject subject{*context.config,
                                context.notices,
                                parcel.id(),
                                id,
                                parcel.peer(),
                                id_time(id).value_or(state.created),
                                now};
    std::vector<DsnRecipient> recipients;
    for (const mail::Recipient& recipient : item->envelope().recipients) {
      recipients.push_back({recipient, why.code(), said.text, why.text(), said.mta, said.type});
    }
    TRY(write_dsn(subject, kind, *item, item->text_size(), recipients));
  }
  state.answer = why.to_string();
  state.finished = now;
  if (state.failing_unknown) {
    log::parcel_unknown(parcel.id(), parcel.peer(), why.text());
  } else {
    log::parcel_failed(parcel.id(), parcel.peer(), why);
  }
  TRY(parcel.write_state(state.to_fields()));
  return parcel.move_to(spool::Stage::kFailed);
}

bool may_have_arrived(const ParcelState& state) {
  return state.earlier_copy || state.in_doubt || state.submitting || state.resends > 0 ||
         state.bounces > 0 || state.asked != TimePoint();
}

Status fail_copy(SubmitContext& context, spool::ParcelDir& parcel, ParcelState state, bool another,
                 const Status& why, const RemoteWord& word) {
  if (!another) {
    return fail_parcel(context, parcel, std::move(state), why, word);
  }
  state.failing_unknown = true;
  return fail_parcel(
      context, parcel, std::move(state),
      Status::temporary("4.4.0", str_cat({"an earlier copy may have arrived, a later "
                                          "one was refused (",
                                          why.to_string(), ")"})),
      word);
}

}  // namespace bsmtp::mda

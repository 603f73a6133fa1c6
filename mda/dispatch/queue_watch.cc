// See queue_watch.h.
#include "mda/dispatch/queue_watch.h"

#include <cerrno>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/log/events.h"
#include "common/spool/item.h"

namespace bsmtp::mda {
namespace {

constexpr std::chrono::hours kDay{24};
constexpr const char* kDelayed = "it waits for the tunnel to the recipient's mail gateway";
constexpr const char* kUnconfirmed =
    "it was handed on to the recipient's mail gateway, which has not confirmed it yet";
constexpr const char* kInDoubt =
    "its handing over to the recipient's mail gateway was interrupted, and its time is over";
constexpr const char* kExpired = "it could not be handed to the recipient's mail gateway in time";

std::vector<DsnRecipient> all_recipients(const spool::ItemReader& item, const char* status,
                                         const char* reason) {
  std::vector<DsnRecipient> out;
  for (const mail::Recipient& recipient : item.envelope().recipients) {
    out.push_back({recipient, status, "", reason, ""});
  }
  return out;
}

NoticeSubject subject_of(SubmitContext& context, const std::string& peer, const std::string& item) {
  const TimePoint now = context.clock.now();
  return {*context.config, context.notices, item, item, peer, id_time(item).value_or(now), now};
}

// Gone (claimed, sent) and broken items have other ways.
Status warn(SubmitContext& context, const std::string& peer, const std::string& id,
            const std::string& path, bool handed_over = false) {
  const auto item = spool::ItemReader::open(context.spool.ops(), path);
  if (!item.is_ok()) {
    const bool passed_over = item.status().is_permanent() || item.status().error_number() == ENOENT;
    return passed_over ? Status::ok() : item.status();
  }
  NoticeSubject subject = subject_of(context, peer, id);
  if (handed_over) {
    subject.retry_until = subject.arrival + context.config->parcel_lifetime;
  }
  return write_dsn(subject, NoticeKind::kDelay, *item, item->text_size(),
                   handed_over ? all_recipients(*item, "4.4.0", kUnconfirmed)
                               : all_recipients(*item, "4.4.1", kDelayed));
}

}  // namespace

Status QueueWatch::watch(SubmitContext& context, std::vector<PeerBacklog>& peers) {
  Status first;
  for (PeerBacklog& peer : peers) {
    const Status status = watch_peer(context, peer);
    if (!status.is_ok()) {
      log::trouble(peer.peer, status);
      first = first.is_ok() ? status : first;
    }
  }
  return first;
}

Status QueueWatch::watch_peer(SubmitContext& context, PeerBacklog& peer) {
  const TimePoint now = context.clock.now();
  const config::Peer* const known = context.config->find_peer(peer.peer);
  if (known != nullptr && peer.late_since && *peer.late_since + known->alarm_age <= now) {
    TRY(raise_alarm(context, peer, *peer.late_since));
  }
  if (!peer.expired.empty()) {
    TRY(expire_waiting(context, peer.peer, peer.expired));
  }
  TRY(warn_waiting(context, peer));
  for (PeerBacklog::Parcel& parcel : peer.ready) {
    TRY(warn_ready(context, peer.peer, parcel));
  }
  for (const std::string& parcel : peer.unconfirmed) {
    TRY(warn_sent(context, peer.peer, parcel));
  }
  return Status::ok();
}

Status QueueWatch::raise_alarm(SubmitContext& context, const PeerBacklog& peer, TimePoint since) {
  const TimePoint now = context.clock.now();
  const auto last = alarmed_.find(peer.peer);
  if (last != alarmed_.end() && now < last->second + kDay && now >= last->second) {
    return Status::ok();
  }
  const std::string what = str_cat(
      {"its mail is late since ", format_rfc5322(since), ": ", std::to_string(peer.messages),
       " messages (", std::to_string(peer.octets), " octets) wait, ", std::to_string(peer.parcels),
       " parcels are built and not handed over"});
  log::alarm(peer.peer, str_cat({what, "; see `bsmtpctl status`"}));
  PostmasterLetter letter;
  letter.host = context.config->host;
  letter.postmaster = postmaster_address(*context.config);
  letter.subject = str_cat({"Mail for peer ", peer.peer, " is late"});
  letter.now = now;
  // The day in the id: at most one a day, also over restarts.
  const auto day = std::chrono::duration_cast<std::chrono::hours>(now.time_since_epoch()) / kDay;
  letter.notice_id = notice_id({"late", peer.peer, std::to_string(day), letter.postmaster});
  letter.body = str_cat(
      {"Peer ", peer.peer, ": ", what,
       ".\n\n"
       "`bsmtpctl status` shows all queues, the mail log says what is tried and refused.\n"
       "If the tunnel stays out of order, `bsmtpctl peer bypass ",
       peer.peer,
       "` hands the\nmail to the host MTA. At most one such letter is sent a day and peer.\n"});
  TRY(context.notices.put(letter.notice_id, letter_envelope(letter), format_letter(letter), "late",
                          peer.peer));
  alarmed_[peer.peer] = now;
  return Status::ok();
}

Status QueueWatch::warn_waiting(SubmitContext& context, PeerBacklog& peer) {
  for (const std::string& id : peer.delayed) {
    TRY(warn(context, peer.peer, id, context.spool.paths().item(peer.peer, id)));
    peer.warned = id;
  }
  return Status::ok();
}

Status QueueWatch::warn_ready(SubmitContext& context, const std::string& peer,
                              PeerBacklog::Parcel& parcel) {
  const TimePoint until = context.clock.now() - context.config->delay_warning;
  const std::string items = str_cat(
      {context.spool.paths().parcel(peer, spool::Stage::kReady, parcel.id), "/", spool::kItemsDir});
  const auto ids = spool::list_ids(context.spool.ops(), items);
  if (!ids.is_ok()) {
    return ids.status().error_number() == ENOENT ? Status::ok() : ids.status();  // sent meanwhile
  }
  for (const std::string& id : *ids) {
    const TimePoint arrival = id_time(id).value_or(context.clock.now());
    if (arrival > parcel.warned && arrival <= until) {
      TRY(warn(context, peer, id, str_cat({items, "/", id})));
    }
  }
  parcel.warned = until;
  return Status::ok();
}

Status QueueWatch::warn_sent(SubmitContext& context, const std::string& peer,
                             const std::string& parcel) {
  const std::string items = str_cat(
      {context.spool.paths().parcel(peer, spool::Stage::kSent, parcel), "/", spool::kItemsDir});
  const auto ids = spool::list_ids(context.spool.ops(), items);
  if (!ids.is_ok()) {
    return ids.status().error_number() == ENOENT ? Status::ok() : ids.status();  // acknowledged
  }
  for (const std::string& id : *ids) {
    TRY(warn(context, peer, id, str_cat({items, "/", id}), true));
  }
  return Status::ok();
}

Status expire_items(SubmitContext& context, spool::ParcelDir& dir, std::chrono::seconds lifetime,
                    bool in_doubt) {
  const NoticeKind kind = in_doubt ? NoticeKind::kUnknown : NoticeKind::kFailure;
  const TimePoint now = context.clock.now();
  std::vector<std::string> ids;
  TRY_ASSIGN(ids, dir.items());
  for (const std::string& id : ids) {
    const TimePoint arrival = id_time(id).value_or(now);
    if (arrival + lifetime > now) {
      continue;
    }
    const auto item = spool::ItemReader::open(context.spool.ops(), dir.item_path(id));
    if (!item.is_ok()) {
      if (!item.status().is_permanent()) {
        return item.status();
      }
      log::item_held(id, dir.peer(), item.status());
      TRY(tell_of_unreadable(context.notices, dir.peer(), str_cat({"message ", id}), item.status(),
                             now));
      TRY(dir.set_item_aside(id));
      continue;
    }
    // Told first, removed then: repeated after a crash the notice is the same one.
    TRY(write_dsn(subject_of(context, dir.peer(), id), kind, *item, item->text_size(),
                  in_doubt ? all_recipients(*item, "4.4.0", kInDoubt)
                           : all_recipients(*item, "5.4.7", kExpired)));
    if (in_doubt) {
      log::ambiguous(id, "its time is over, and the host MTA may have taken it before");
    }
    log::item_expired(id, dir.peer(), format_rfc5322(arrival));
    TRY(dir.item_handed(id));
  }
  return Status::ok();
}

Status expire_waiting(SubmitContext& context, const std::string& peer,
                      const std::vector<std::string>& items) {
  std::optional<spool::ParcelDir> dir;
  {
    auto lock = context.spool.lock_peer(peer);
    if (!lock.is_ok()) {
      return lock.status();
    }
    std::string id;
    TRY_ASSIGN(id, make_id(context.clock.now()));
    auto created = spool::ParcelDir::create(context.spool, *lock, id);
    if (!created.is_ok()) {
      return created.status();
    }
    dir.emplace(std::move(created).value());
    for (const std::string& item : items) {
      const Status taken = dir->take_item(item).status();
      if (!taken.is_ok()) {
        (void)dir->abandon();  // else the next recovery does it
        return taken;
      }
    }
  }
  const Status status = expire_items(context, *dir, context.config->delivery_expire);
  TRY(dir->abandon());
  return status;
}

}  // namespace bsmtp::mda

// See keeper.h.
#include "mda/deliver/keeper.h"

#include <memory>
#include <utility>

#include "common/base/text.h"
#include "common/log/events.h"
#include "mda/deliver/parcel_note.h"
#include "mda/notice/back_off.h"

namespace bsmtp::mda {

void ParcelKeeper::run() {
  while (const auto chore = shared_.queue.next_chore(ParcelQueue::Wait::kForever)) {
    if (chore->parcel == nullptr) {
      load(chore->name);
    } else {
      conclude(*chore->parcel);
    }
  }
}

void ParcelKeeper::load(const std::string& name) {
  auto dir = AcceptedDir::claim(shared_.spool, name);
  Result<bool> opened = false;
  if (!dir.is_ok()) {
    opened = dir.status();
  } else if (dir->has_value()) {
    opened = open_parcel(std::move(**dir));
  }
  if (!opened.is_ok()) {
    shared_.trouble = true;
    log::alarm(name, opened.status().text());
    if (const Status told = give_up(name, dir.status()); !told.is_ok()) {
      log::trouble(name, told);
    }
  }
  if (!opened.is_ok() || !opened.value()) {
    // Trouble, or somebody else's lock: it is still there, and no event will say so again.
    shared_.queue.look_again(shared_.clock.now() + shared_.config->retry_initial);
    shared_.queue.forget(name);
    shared_.changed();
  }
}

Result<bool> ParcelKeeper::open_parcel(AcceptedDir dir) {
  const config::Config& config = *shared_.config;
  const spool::AcceptedMeta& meta = dir.meta();
  const ledger::ParcelRecord record = parcel_record(config, meta);
  ParcelNote note;
  std::vector<std::uint64_t> in_doubt;
  const Status noted = shared_.journal.run([&](ledger::Ledger& ledger) {
    TRY_ASSIGN(note, note_accepted(ledger, config, meta, shared_.clock.now(), true));
    TRY_ASSIGN(in_doubt, ledger.attempts(record.peer, record.parcel_id));
    return Status::ok();
  });
  if (!noted.is_ok()) {
    shared_.trouble = true;  // of all parcels alike
    shared_.alarm_pace.alarm("ledger", noted.text());
    return false;
  }
  const ledger::ParcelKnown known = note.known;
  if (note.owed) {
    shared_.receipt_owed = true;
    shared_.changed();
  }
  if (known == ledger::ParcelKnown::kConflict) {
    const std::string why = "another parcel with this id and other contents was taken before";
    std::string id;
    TRY_ASSIGN(id, dir.quarantine(shared_.quarantine, "5.7.1", why, shared_.clock.now()));
    log::alarm(record.parcel_id, str_cat({"peer ", record.peer, ": ", why, "; quarantined as ", id,
                                          ": ask the peer's admin"}));
    return false;
  }
  if (known == ledger::ParcelKnown::kDone) {
    log::parcel_duplicate(record.parcel_id, record.peer, meta.queue_id);
    TRY(put_away(dir, 0));
    return false;
  }
  if (known == ledger::ParcelKnown::kBuried) {
    log::parcel_tombstoned(record.parcel_id, record.peer, "dropped",
                           "it came again; its peer was told that it is not delivered");
    TRY(dir.remove());
    return false;
  }
  log_ambiguous(dir, in_doubt);
  auto parcel = std::make_shared<OpenParcel>(std::move(dir));
  parcel->retain_until = record.retain_until;
  parcel->doubtful.insert(in_doubt.begin(), in_doubt.end());
  const auto& messages = parcel->dir.messages();
  parcel->todo.assign(messages.begin(), messages.end());
  const std::string name = parcel->dir.name();
  if (messages.empty()) {
    TRY(shared_.journal.run([&](ledger::Ledger& ledger) {
      return ledger.finish_parcel(record.peer, record.parcel_id);
    }));
    TRY(put_away(parcel->dir, 0));
    return false;
  }
  shared_.queue.opened(name, std::move(parcel));
  return true;
}

Status ParcelKeeper::give_up(const std::string& name, const Status& why) {
  if (why.is_ok() || !is_damage(why)) {
    return Status::ok();
  }
  const TimePoint now = shared_.clock.now();
  TRY_ASSIGN(const TimePoint written, AcceptedDir::written_at(shared_.spool, name));
  if (now < written + shared_.config->delivery_expire) {
    return Status::ok();
  }
  const auto named = *spool::parse_accepted_directory_name(name);
  TRY(tell_of_unreadable(shared_.notices, named.peer, str_cat({"parcel ", named.parcel_id}), why,
                         now));
  TRY_ASSIGN(const auto place, AcceptedDir::set_broken_aside(shared_.spool, name));
  if (place) {
    log::alarm(named.parcel_id,
               str_cat({"peer ", named.peer,
                        ": past its time for delivery and still damaged, so given up; nobody but ",
                        "the postmaster is told; it lies in ", *place,
                        ": look at the disk, tell the senders whom you find there"}));
  }
  return Status::ok();
}

Status ParcelKeeper::put_away(AcceptedDir& dir, std::uint64_t lost) {
  // `damaged` was noted before anybody was told; a crash since then has forgotten `lost`.
  if (lost == 0 && (dir.deferral().damaged == 0 || !dir.has_damage())) {
    return dir.remove();
  }
  TRY_ASSIGN(const std::string place, dir.set_aside());
  log::alarm(dir.meta().parcel_id,
             str_cat({"peer ", dir.meta().peer,
                      ": messages of it were damaged on this host's disk and are given up; their ",
                      "senders, or the postmaster, are told; the parcel lies in ", place,
                      ": look at the disk, then remove it"}));
  return Status::ok();
}

void ParcelKeeper::log_ambiguous(const AcceptedDir& dir,
                                 const std::vector<std::uint64_t>& messages) {
  for (const std::uint64_t message : messages) {
    log::ambiguous(str_cat({dir.meta().parcel_id, ".", std::to_string(message)}),
                   "interrupted while this message was handed to the host MTA; it is handed over "
                   "again");
  }
}

void ParcelKeeper::conclude(OpenParcel& parcel) {
  const spool::AcceptedMeta& meta = parcel.dir.meta();
  Status status;
  if (parcel.unfinished.empty()) {
    status = shared_.journal.run(
        [&](ledger::Ledger& ledger) { return ledger.finish_parcel(meta.peer, meta.parcel_id); });
    if (status.is_ok()) {
      status = put_away(parcel.dir, parcel.lost);
    }
  } else {
    spool::Deferral state = parcel.dir.deferral();
    ++state.attempts;
    state.damaged = parcel.damaged + parcel.lost;
    state.next = shared_.clock.now() + back_off(state.attempts, shared_.config->retry_initial,
                                                shared_.config->retry_maximum);
    status = parcel.dir.defer(state, parcel.finished);
    // Also when that failed: the parcel is still in accepted/ and must not be forgotten.
    shared_.queue.look_again(state.next);
  }
  if (!status.is_ok()) {
    shared_.trouble = true;
    log::trouble(meta.parcel_id, status);
  }
  shared_.queue.forget(parcel.dir.name());
  shared_.changed();
}

}  // namespace bsmtp::mda

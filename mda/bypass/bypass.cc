// See bypass.h: which items, in directories of our own. Handing one over: bypass_item.cc.
#include "mda/bypass/bypass.h"

#include <algorithm>
#include <cerrno>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/log/events.h"

namespace bsmtp::mda {
namespace {

// Claimed at a time: so many are out of reach of a dispatcher, and come back after a crash.
constexpr std::size_t kAtOnce = 100;

// Why its messages may have arrived; "" when the host MTA surely never took it.
std::string doubt_of_parcel(spool::Stage stage, const spool::Fields& state) {
  const bool taken = stage == spool::Stage::kSent || state.get("answer").starts_with('2');
  if (taken) {
    const auto when =
        state.get_time("handed") ? state.get_time("handed") : state.get_time("finished");
    return str_cat({"handed over", when ? " " + format_rfc5322(*when) : "",
                    " in a parcel that was not acknowledged"});
  }
  if (state.has("earlier-copy")) {
    return "it was handed over before, in a parcel that was split since";
  }
  return state.has("submitting") || state.has("in-doubt") || state.has("handed")
             ? "the handing over of its parcel was interrupted, or its end is not known"
             : "";
}

}  // namespace

Bypass::Bypass(const config::Config& config, const spool::Spool& spool, HostMta& mta,
               NoticeStore& notices, const Clock& clock, BypassOptions options)
    : config_(config),
      spool_(spool),
      mta_(mta),
      notices_(notices),
      clock_(clock),
      options_(std::move(options)) {}

Result<BypassReport> Bypass::run() {
  if (!options_.dry_run) {
    TRY(mta_.ready());
    TRY(recover());
  }
  Status status;
  if (options_.unacknowledged) {
    status = parcels();
  }
  report_.stopped = status.is_ok() ? queue() : status;
  if (!options_.dry_run) {
    mta_.close();
  }
  return std::move(report_);
}

// What an earlier bypass, or a dispatcher that died, left in building/.
Status Bypass::recover() {
  return spool::recover_building(
             spool_, options_.peer,
             [this](const std::string& item) {
               log::ambiguous(item,
                              "interrupted while it was handed to the host MTA; it waits again");
               interrupted_.insert(item);
             })
      .status();
}

Status Bypass::parcels() {
  // Oldest mail first: what was sent, then what is ready.
  for (const spool::Stage stage : {spool::Stage::kSent, spool::Stage::kReady}) {
    std::vector<std::string> ids;
    TRY_ASSIGN(ids, spool_.list_parcels(options_.peer, stage));
    for (const std::string& id : ids) {
      TRY(parcel(stage, id));
    }
  }
  return Status::ok();
}

Status Bypass::parcel(spool::Stage stage, const std::string& id) {
  auto claimed = spool::ParcelDir::claim(spool_, options_.peer, stage, id);
  if (!claimed.is_ok()) {
    return claimed.status();
  }
  if (!claimed->has_value()) {
    report_.busy.push_back(id);
    return Status::ok();
  }
  spool::ParcelDir& dir = **claimed;
  spool::Fields state;
  TRY_ASSIGN(state, dir.read_state());
  if (!state.get("failing").empty()) {
    return Status::ok();  // its senders are being told that it failed
  }
  const std::string doubt = doubt_of_parcel(stage, state);
  std::vector<std::string> items;
  TRY_ASSIGN(items, dir.items());
  if (options_.dry_run) {
    for (const std::string& item : items) {
      TRY(list(dir.item_path(item), {item, id, "", {}, ""}, doubt));
    }
    return Status::ok();
  }
  if (!doubt.empty()) {
    // Before the parcel loses its name: a receipt or a bounce of it finds nothing any more.
    for (const std::string& item : items) {
      log::ambiguous(item, str_cat({doubt, " ", id, "; handed to the host MTA once more"}));
    }
  }
  // From here on it is no parcel any more: a crash gives its messages back to incoming/.
  TRY(dir.move_to(spool::Stage::kBuilding));
  return hand_over(dir, id, doubt);
}

Status Bypass::queue() {
  std::vector<std::string> ids;
  TRY_ASSIGN(ids, spool_.list_incoming(options_.peer));
  if (options_.dry_run) {
    for (const std::string& id : ids) {
      TRY(list(spool_.paths().item(options_.peer, id), {id, "", "", {}, ""}, ""));
    }
    return Status::ok();
  }
  for (std::size_t at = 0; at < ids.size(); at += kAtOnce) {
    const auto first = ids.begin() + static_cast<std::ptrdiff_t>(at);
    const auto last = first + static_cast<std::ptrdiff_t>(std::min(kAtOnce, ids.size() - at));
    TRY(batch({first, last}));
  }
  return Status::ok();
}

Status Bypass::batch(const std::vector<std::string>& ids) {
  std::optional<spool::ParcelDir> dir;
  const Status claimed = claim(ids, dir);
  if (!claimed.is_ok()) {
    if (dir) {
      (void)dir->abandon();  // else the next recovery does it
    }
    return claimed;
  }
  return hand_over(*dir, "", "");
}

Status Bypass::claim(const std::vector<std::string>& ids, std::optional<spool::ParcelDir>& dir) {
  auto lock = spool_.lock_peer(options_.peer);
  if (!lock.is_ok()) {
    return lock.status();
  }
  std::string id;
  TRY_ASSIGN(id, make_id(clock_.now()));
  auto created = spool::ParcelDir::create(spool_, *lock, id);
  if (!created.is_ok()) {
    return created.status();
  }
  dir.emplace(std::move(created).value());
  for (const std::string& item : ids) {
    TRY(dir->take_item(item).status());  // false: the dispatcher has built it into a parcel
  }
  return Status::ok();
}

Status Bypass::hand_over(spool::ParcelDir& dir, const std::string& parcel,
                         const std::string& doubt) {
  auto notes = dir.begin_handing();
  Status status = notes.status();
  std::vector<std::string> items;
  if (status.is_ok()) {
    TRY_ASSIGN(items, dir.items());
  }
  for (std::size_t i = 0; i < items.size() && status.is_ok(); ++i) {
    status = hand_item(dir, *notes, items[i], parcel, doubt);
  }
  if (notes.is_ok()) {
    TRY(dir.end_handing(std::move(notes).value()));
  }
  TRY(dir.abandon());  // what is left waits on in incoming/
  if (options_.progress) {
    options_.progress(report_.messages);
  }
  return status;
}

// --dry-run: as if the MTA took everything.
Status Bypass::list(const std::string& path, const BypassLine& line, const std::string& doubt) {
  const auto item = spool::ItemReader::open(spool_.ops(), path);
  if (!item.is_ok()) {
    if (item.status().error_number() != ENOENT) {
      report_.left.push_back(line);
      report_.left.back().why = item.status().text();
    }
    return Status::ok();
  }
  if (options_.guard) {
    TRY(options_.guard(item->envelope()));
  }
  ++report_.messages;
  report_.recipients += item->envelope().recipients.size();
  if (!doubt.empty()) {
    report_.maybe_arrived.push_back(line);
    BypassLine& listed = report_.maybe_arrived.back();
    listed.sender = item->envelope().sender;
    for (const mail::Recipient& recipient : item->envelope().recipients) {
      listed.recipients.push_back(recipient.address);
    }
    listed.why = doubt;
  }
  return Status::ok();
}

}  // namespace bsmtp::mda

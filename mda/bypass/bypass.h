// Bypass: hands one peer's waiting mail back to the host MTA (`submit`), each message with its
// own envelope and DSN data, so that the MTA sends it on by itself. For a tunnel that is out of
// order for long; `bsmtpctl peer bypass`.
// An item leaves the spool only after the MTA's 250 for all its recipients; one that was taken for
// some stays with the others. A sender who asked for NOTIFY=SUCCESS, which the MTA does not
// announce, is told "relayed" (RFC 3461 5.2.2) by a notice that is durable before the item leaves.
// What is under way is noted durably before its first octet leaves:
// an interrupted item waits again and is logged outcome=ambiguous, by us or by whoever recovers.
// Works on items in directories of its own below building/, locked as the dispatcher locks them,
// so both may run at once. May not: decide whether the mail would come back (see `guard`).
// Memory: does not depend on how many items wait, but for what the report lists.
// Threads: one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/mail/envelope.h"
#include "common/spool/item.h"
#include "common/spool/parcel_dir.h"
#include "mda/notice/host_mta.h"
#include "mda/notice/store.h"

namespace bsmtp::mda {

struct BypassOptions {
  std::string peer;
  bool unacknowledged = false;  // ready/ and sent/ too
  bool dry_run = false;         // changes nothing, sends nothing
  // Asked before an item is handed over. Not ok: nothing more is sent, run() returns it.
  std::function<Status(const mail::Envelope&)> guard;
  std::function<void(std::uint64_t handed)> progress;  // after every batch
};

// One message that the report names.
struct BypassLine {
  std::string item;
  std::string parcel;  // "" for one that waited in incoming/
  std::string sender;
  std::vector<std::string> recipients;
  std::string why;
};

struct BypassReport {
  std::uint64_t messages = 0;    // the MTA has them (--dry-run: would get them)
  std::uint64_t recipients = 0;  // of these
  // Handed over before, in a parcel that nobody acknowledged or in an interrupted attempt: their
  // readers may get them twice.
  std::vector<BypassLine> maybe_arrived;
  std::vector<BypassLine> left;   // wait on, and why
  std::vector<std::string> busy;  // parcels that another process works on
  Status stopped;                 // why it ended early
};

class Bypass {
 public:
  // All must outlive it.
  Bypass(const config::Config& config, const spool::Spool& spool, HostMta& mta,
         NoticeStore& notices, const Clock& clock, BypassOptions options);
  // What was done before trouble stands in the report; a Status only when nothing was begun.
  Result<BypassReport> run();

 private:
  // One message as it is handed over.
  struct Handing {
    spool::ParcelDir& dir;
    os::File& notes;
    BypassLine line;
    mail::Envelope envelope;            // recipients not yet taken
    std::string doubt;                  // why it may have arrived before
    std::vector<DsnRecipient> relayed;  // taken, and the MTA cannot report what they asked for
  };

  Status recover();
  Status parcels();
  Status parcel(spool::Stage stage, const std::string& id);
  Status queue();
  Status batch(const std::vector<std::string>& ids);
  Status claim(const std::vector<std::string>& ids, std::optional<spool::ParcelDir>& dir);
  // `parcel`: "" for items of the queue. `doubt`: why all of them may have arrived.
  Status hand_over(spool::ParcelDir& dir, const std::string& parcel, const std::string& doubt);
  Status hand_item(spool::ParcelDir& dir, os::File& notes, const std::string& id,
                   const std::string& parcel, const std::string& doubt);
  Status send(Handing& handing, const spool::ItemReader& item);
  bool take_results(Handing& handing, const smtp::Delivery& delivery);
  Status report_relayed(const Handing& handing, const spool::ItemReader& item);
  Status keep_rest(Handing& handing, const spool::ItemReader& item);
  Status settle(Handing& handing, const spool::ItemReader& item, std::size_t before);
  Status list(const std::string& path, const BypassLine& line, const std::string& doubt);
  std::string doubt_of(const std::string& id, const std::string& of_parcel) const;

  const config::Config& config_;
  const spool::Spool& spool_;
  HostMta& mta_;
  NoticeStore& notices_;
  const Clock& clock_;
  BypassOptions options_;
  BypassReport report_;
  std::set<std::string> interrupted_;  // items that recovery found half handed over
};

}  // namespace bsmtp::mda

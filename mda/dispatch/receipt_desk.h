// ReceiptDesk: the receiver's half of receipts. Notes accepted parcels and the questions that
// bsmtp-in kept (inbound/asked) in the ledger, as answers due to their peers, and writes answers
// that are due as signed receipts into notices/. Those of one peer are merged: a receipt is
// written when its oldest answer is due or kGathered wait; at most one a minute and peer, or one in
// five seconds while kGathered wait each time.
// Guarantee: what is answered "accepted" is in the ledger before; what is answered otherwise has a
// tombstone before, and is never delivered. An answer leaves the ledger after its notice is
// durable: a crash in between writes the same notice again, or one more receipt, which is harmless.
// May not: answer anything that bsmtp-in has not verified. Threads: run() in one at a time.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/config.h"
#include "common/ledger/journal.h"
#include "common/spool/receipt_record.h"
#include "common/spool/spool.h"
#include "mda/notice/store.h"

namespace bsmtp::mda {

class ReceiptDesk {
 public:
  static constexpr std::uint64_t kGathered = 8;
  static constexpr std::chrono::seconds kBetweenReceipts{60};
  // With `max-unacked` parcels under way at most, a busy peer would wait most of each minute.
  static constexpr std::chrono::seconds kBetweenFullReceipts{5};

  // `once`: look at everything at each run(), because there may be no later one. `only_peer`: ""
  // for all.
  ReceiptDesk(std::shared_ptr<const config::Config> config, const spool::Spool& spool,
              NoticeStore& notices, const Clock& clock, bool once, std::string only_peer);

  // Does all that is due. Returns when to come again, nullopt when nothing waits. A failure does
  // not keep other peers, or other questions, from being served; the first one is returned.
  Result<std::optional<TimePoint>> run(ledger::Journal& journal);

 private:
  bool serves(const std::string& peer) const;
  void note(const std::string& about, const Status& status);
  void come_again(TimePoint when);
  Status note_parcels(ledger::Journal& journal);
  Status note_parcel(ledger::Journal& journal, const std::string& name);
  Status take_questions(ledger::Journal& journal);
  Status take_question(ledger::Journal& journal, const std::string& name);
  Status set_aside(const std::string& name, const Status& why);
  Status write_due(ledger::Journal& journal);
  Status write_for(ledger::Journal& journal, const ledger::ReceiptsWaiting& waiting);
  Status write_receipt(ledger::Journal& journal, const config::Peer& peer, TimePoint last_written,
                       const std::vector<ledger::ReceiptDue>& due);

  std::shared_ptr<const config::Config> config_;
  const spool::Spool& spool_;
  NoticeStore& notices_;
  const Clock& clock_;
  const bool once_;
  const std::string only_peer_;
  std::set<std::string> noted_;  // names in accepted/ that need no second look
  TimePoint looked_{};           // at accepted/
  // Of one run().
  Status first_;
  std::optional<TimePoint> next_;
};

}  // namespace bsmtp::mda

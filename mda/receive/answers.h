// What bsmtp-in leaves for the dispatcher about receipts (spool/receipt_record.h): a peer's
// receipt, and the question of a peer about a parcel that did not become an accepted one.
// Guarantee: durable when these functions return ok. A record has a name made from what it is
// about, so that a mail replayed any number of times leaves one file.
// May not: write anything about mail whose signature, peer and host were not verified.
// Threads: independent calls.
#pragma once

#include <string>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/config.h"
#include "common/parcel/opener.h"
#include "common/parcel/receipt.h"
#include "common/spool/receipt_record.h"
#include "common/spool/spool.h"

namespace bsmtp::mda {

// Whether this parcel of the peer is to be answered: nobody may, by his own configuration or for
// want of a signing key, or nobody wants it, is kNone.
parcel::Receipt receipt_wanted(const config::Config& config, const config::Peer& peer,
                               const parcel::Manifest& manifest);

struct Question {
  std::string peer;
  const parcel::Manifest* manifest = nullptr;  // verified, from the peer and to this host
  std::string digest;
  spool::ParcelFate fate = spool::ParcelFate::kAccepted;
  std::string code = "2.0.0";
  std::string reason;
  std::string queue_id;
  TimePoint now;
};
Status keep_question(const spool::Spool& spool, const Question& question);

// Returns the id of the record.
Result<std::string> keep_receipt(const spool::Spool& spool, const parcel::OpenedReceipt& receipt,
                                 const std::string& queue_id, TimePoint now);

}  // namespace bsmtp::mda

// See ctl_status.h: what needs attention.
#include "common/base/text.h"
#include "common/base/units.h"
#include "mda/ctl/ctl_output.h"
#include "mda/ctl/ctl_status.h"

namespace bsmtp::mda::ctl {
namespace {

void find_parcel_problems(const PeerStatus& peer, std::chrono::seconds patience, TimePoint now,
                          std::vector<std::string>& problems) {
  const auto count = [&](const char* stage) { return peer.stages.at(stage); };
  if (peer.full) {
    problems.push_back("peer " + peer.name + ": its queue is full since " + time_text(*peer.full) +
                       " (max-queued, max-queued-bytes); bsmtp-out "
                       "leaves new mail with the MTA");
  }
  if (count("held") != 0) {
    problems.push_back(str_cat({"peer ", peer.name, ": ", std::to_string(count("held")),
                                " damaged messages or parcels set aside in held/; look at them and "
                                "the disk, tell whom the log says was not told, remove them"}));
  }
  if (count("failed") != 0) {
    problems.push_back(str_cat({"peer ", peer.name, ": ", std::to_string(count("failed")),
                                " failed parcels; see `bsmtpctl parcel show ID`"}));
  }
  if (peer.oldest_ready && now - *peer.oldest_ready > patience) {
    problems.push_back("peer " + peer.name + ": a parcel is ready for " +
                       age_text(*peer.oldest_ready, now) +
                       " and not handed over; see `bsmtpctl parcel list` and the log");
  }
  for (const std::string& id : peer.damaged) {
    problems.push_back("peer " + peer.name + ": parcel " + id +
                       " in ready/ has no readable state; restore the file");
  }
}

void find_inbound_problems(const config::Config& config, TimePoint now, Overview& status) {
  if (status.oldest_accepted && now - *status.oldest_accepted > config.retry_maximum) {
    status.problems.push_back("accepted mail waits for delivery since " +
                              time_text(*status.oldest_accepted) +
                              "; see `bsmtpctl parcel list` and the log");
  }
  if (status.oldest_deferred &&
      now - *status.oldest_deferred > config.delivery_expire + config.retry_maximum) {
    status.problems.push_back("mail accepted on " + time_text(*status.oldest_deferred) +
                              " is past delivery-expire and cannot be settled; see `bsmtpctl "
                              "parcel list` and the alarms in the log");
  }
  status.problems.insert(status.problems.end(), status.damaged.begin(), status.damaged.end());
}

void find_receipt_problems(const PeerStatus& peer, std::chrono::seconds resend_after, TimePoint now,
                           std::vector<std::string>& problems) {
  if (peer.undecided != 0) {
    problems.push_back(str_cat({"peer ", peer.name, ": ", std::to_string(peer.undecided),
                                " parcels have expired and no receipt ever came; `bsmtpctl "
                                "parcel list`, then parcel resend, release or fail"}));
  } else if (peer.oldest_handed && now - *peer.oldest_handed > 2 * resend_after) {
    problems.push_back(
        str_cat({"peer ", peer.name, ": no receipt for ", std::to_string(peer.unacknowledged),
                 " parcels since ", age_text(*peer.oldest_handed, now),
                 "; ask its admin, see `bsmtpctl parcel list`"}));
  }
}

void find_due_problems(const PeerStatus& peer, std::chrono::seconds patience, TimePoint now,
                       std::vector<std::string>& problems) {
  if (peer.oldest_due && now - *peer.oldest_due > patience) {
    problems.push_back(str_cat({"peer ", peer.name, ": ", std::to_string(peer.receipts_due),
                                " answers to it are due since ", time_text(*peer.oldest_due),
                                " and no receipt was written; see the alarms in the log"}));
  }
}

}  // namespace

void find_problems(const config::Config& config, TimePoint now, Overview& status) {
  auto& problems = status.problems;
  if (!status.heartbeat) {
    problems.emplace_back("no dispatcher has ever run on this spool; start bsmtp-dispatch");
  } else if (now - *status.heartbeat > 4 * config.heartbeat + std::chrono::seconds(60)) {
    problems.push_back("the dispatcher's last sign of life is " + age_text(*status.heartbeat, now) +
                       " old; look for bsmtp-dispatch in the "
                       "service manager and the mail log");
  }
  if (status.clock_doubted) {
    problems.emplace_back(
        "the dispatcher doubts the clock and stands still; set it right, or `bsmtpctl clock "
        "accept`");
  }
  for (const PeerStatus& peer : status.peers) {
    const config::Peer* known = config.find_peer(peer.name);
    const auto patience =
        (known == nullptr ? std::chrono::seconds(0) : known->max_age) + config.retry_maximum;
    if (peer.oldest && now - *peer.oldest > patience) {
      problems.push_back("peer " + peer.name + ": the oldest message has waited " +
                         age_text(*peer.oldest, now) + "; see `bsmtpctl parcel list`");
    }
    find_receipt_problems(peer, config.resend_after, now, problems);
    find_due_problems(peer, config.retry_maximum, now, problems);
    find_parcel_problems(peer, config.retry_maximum, now, problems);
  }
  if (!status.ledger.is_ok()) {
    problems.push_back(status.ledger.text());
  }
  find_inbound_problems(config, now, status);
  if (status.inbound.at("refused") != 0) {
    status.problems.push_back(str_cat(
        {std::to_string(status.inbound.at("refused")),
         " reports were refused by the host MTA for good, so that nobody was told; they lie "
         "in ",
         config.spool_directory,
         "/notices/refused: the log's alarms say why; tell their readers, remove them"}));
  }
  if (status.free_percent < config.free_percent_quarantine) {
    problems.push_back("only " + std::to_string(status.free_percent) +
                       " % of the spool's file system is free; make room");
  }
}

}  // namespace bsmtp::mda::ctl

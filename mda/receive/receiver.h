// Receiver: what bsmtp-in does with one mail for this gateway's parcel address.
// raw mail -> inbound/tmp/<id>.raw (CRLF) -> parcel::open (verify, inflate, parse the whole
// batch) -> one file per message + meta in inbound/tmp/<dir> -> authorise each message -> fsync
// -> one rename to inbound/accepted/<peer>.<parcel-id>. Nothing unverified is acted upon.
// Guarantee: an ok Status means the mail is durably accepted, is there already, or was decided
// not to be ours (quarantine, dropped, return), or is a receipt; a temporary one that nothing
// visible happened. Permanent only for a parcel over max-parcel-bytes and for a recipient that is
// not ours. It may not sign, resubmit, send or open the ledger. Threads: one receive() at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/config/config.h"
#include "common/mail/received.h"
#include "common/os/file_ops.h"
#include "common/spool/quarantine.h"
#include "common/spool/spool.h"
#include "mda/receive/answers.h"

namespace bsmtp::mda {

struct ReceiveRequest {
  std::string recipient;  // <user>@<host> or <user>+<token>@<host>
  std::string sender;     // reverse-path, may be empty; logged and kept, never trusted
  std::string queue_id;   // the MTA's, for the log
  std::string client;     // address of the MTA's client, for the log and quarantine
  mail::ReceivedTls tls;  // how the parcel came, for the log; receive() reads it from Received
  // --peer: given only by a transport that the MTA restricts to that peer's host. It is what
  // makes `require = transport` acceptable.
  std::string peer;
};

enum class ReceiveOutcome {
  kAccepted,
  kDuplicate,    // the same parcel waits or was taken already
  kQuarantined,  // parcel-shaped, not trusted
  kShed,         // parcel-shaped, not trusted, disk too full to keep it
  kDropped,      // no parcel shape
  kReturn,       // mail to a return address, kept in inbound/returns
  kReceipt,      // of a peer for our parcels, kept in inbound/receipts
  kAnswered,     // expired; the peer wants to know, which is kept in inbound/asked
};
const char* to_string(ReceiveOutcome outcome);

struct ReceiveReport {
  ReceiveOutcome outcome = ReceiveOutcome::kAccepted;
  std::string id;    // parcel id, quarantine id or return id
  std::string peer;  // of an accepted parcel
  std::string code;  // why not trusted, e.g. "5.7.1"
  std::string reason;
  std::uint64_t messages = 0;
  std::uint64_t refused = 0;  // recipients that per-message authorisation refused
};

// Ok for the parcel address and for return addresses. Temporary 4.3.5 for others: the MTA's
// routing is wrong, not the mail.
Status check_recipient(const config::Config& config, std::string_view recipient);

class Receiver {
 public:
  // `before_commit` is asked after the last fsync and before the rename that makes anything
  // visible; its failure (the MTA died while it was copying) undoes everything and is returned.
  Receiver(std::shared_ptr<const config::Config> config, os::FileOps& ops, const Clock& clock,
           std::function<Status()> before_commit = {});

  // Reads `input` to its end unless it fails. LF line ends are converted to CRLF.
  Result<ReceiveReport> receive(const ReceiveRequest& request, Source& input);

  // A quarantined mail once more, with the keys and rules of now. The entry stays as it is; the
  // caller drops it when the outcome is kAccepted or kDuplicate.
  Result<ReceiveReport> receive_again(const spool::QuarantineEntry& entry, const std::string& file);

 private:
  struct Raw;
  Result<Raw> store_raw(const spool::Spool& spool, Source& input);
  Result<ReceiveReport> open_parcel(const spool::Spool& spool, const ReceiveRequest& request,
                                    const std::string& file);
  Result<ReceiveReport> take_receipt(const spool::Spool& spool, const ReceiveRequest& request,
                                     parcel::OpenRequest& open);
  Result<ReceiveReport> refuse(const spool::Spool& spool, const ReceiveRequest& request,
                               const parcel::Rejected& rejected);
  // The peer asks about a parcel that is here already, or was refused for good.
  Status ask(const spool::Spool& spool, const ReceiveRequest& request, Question question);
  Result<ReceiveReport> set_aside(const spool::Spool& spool, const ReceiveRequest& request,
                                  const Raw& raw, ReceiveReport report);

  std::shared_ptr<const config::Config> config_;
  os::FileOps& ops_;
  const Clock& clock_;
  std::function<Status()> before_commit_;
};

// inbound/quarantine as the configuration limits it.
Result<spool::Quarantine> open_quarantine(os::FileOps& ops, const config::Config& config);

}  // namespace bsmtp::mda

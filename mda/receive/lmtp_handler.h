// bsmtp-in --lmtp: each transaction of the session is one mail for one address; the recipient says
// whether it is the parcel address or a return address. What becomes of it is receiver.h's.
// Nothing is judged here. Threads: one session, one thread.
#pragma once

#include <string>
#include <vector>

#include "common/lmtp/server.h"
#include "mda/receive/receiver.h"

namespace bsmtp::mda {

class ReceiveHandler final : public lmtp::Handler {
 public:
  // `peer` as --peer of the command line, may be empty. The receiver must outlive the handler.
  ReceiveHandler(Receiver& receiver, const config::Config& config, std::string peer)
      : receiver_(receiver), config_(config), peer_(std::move(peer)) {}

  Status mail(const mail::Envelope& envelope) override;
  Status rcpt(const mail::Recipient& recipient) override;
  std::vector<lmtp::Outcome> deliver(Source& text) override;
  void reset() override;

  // One recipient per transaction, no DSN (the MTA reports what it handed over), and any octets: a
  // parcel's signature decides about it, and a bounce with a stray NUL is still a bounce.
  static lmtp::Options session_options(const config::Config& config);

 private:
  Receiver& receiver_;
  const config::Config& config_;
  std::string peer_;
  ReceiveRequest request_;  // of the open transaction
};

}  // namespace bsmtp::mda

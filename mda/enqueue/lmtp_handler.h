// bsmtp-out --lmtp: what happens with the transactions of one LMTP session. Recipients of several
// peers in one transaction become one item for each peer; a recipient's final reply is that of its
// peer's item, given after the item's fsync. Parameters of RFC 3461 go into the item as they came.
// Failures as in the pipe form (enqueue.h, resolve.h), but per recipient.
// May not: read keys or rewrite rules, link crypto, open sockets. Threads: one session, one thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/config/config.h"
#include "common/lmtp/server.h"
#include "common/os/deadline.h"
#include "common/spool/item.h"
#include "common/spool/spool.h"
#include "mda/enqueue/enqueue.h"
#include "mda/enqueue/resolve.h"

namespace bsmtp::mda {

class EnqueueHandler final : public lmtp::Handler {
 public:
  // `peer_argument` as --peer, may be empty. Config and hooks' targets must outlive the handler;
  // hooks.before_rename is not used: LMTP has an end mark.
  EnqueueHandler(const config::Config& config, std::string peer_argument,
                 const EnqueueHooks& hooks);

  Status mail(const mail::Envelope& envelope) override;
  Status rcpt(const mail::Recipient& recipient) override;
  std::vector<lmtp::Outcome> deliver(Source& text) override;
  void reset() override;

 private:
  // The message on its way to one peer.
  struct Share {
    std::string peer;
    std::string id;
    mail::Envelope envelope;
    Status status;
    std::optional<os::Deadline::Scratch> scratch;
    std::optional<spool::ItemWriter> writer;
  };
  class Tee;

  Status begin(const mail::Envelope& envelope);
  Result<ResolvedRecipient> resolve(const mail::Recipient& recipient);
  Status require_ready(const std::string& peer);
  std::size_t share_of(const std::string& peer);
  Status open_item(Share& share);
  void commit(Share& share);

  const config::Config& config_;
  std::string peer_argument_;
  os::FileOps& ops_;
  const Clock& clock_;

  // Of the open transaction.
  std::optional<spool::Spool> spool_;
  std::optional<RecipientResolver> resolver_;
  mail::Envelope envelope_;
  std::map<std::string, Status> ready_;  // by peer
  std::vector<Share> shares_;
  std::vector<std::size_t> share_of_recipient_;
};

}  // namespace bsmtp::mda

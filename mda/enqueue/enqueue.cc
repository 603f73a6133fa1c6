#include "mda/enqueue/enqueue.h"

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/log/events.h"
#include "common/os/deadline.h"
#include "common/spool/heartbeat.h"
#include "common/spool/spool.h"
#include "mda/enqueue/resolve.h"

namespace bsmtp::mda {
namespace {

Status require_ready(const config::Config& config, const spool::Spool& spool,
                     const std::string& peer, TimePoint now) {
  TRY(spool.require_free(static_cast<unsigned>(config.free_percent_enqueue)));
  TRY(spool.check_way_in(peer));
  return spool::require_alive(spool, peer, now, config.accept_while_stalled);
}

Status store(const config::Config& config, const EnqueueRequest& request, Source& message,
             const EnqueueHooks& hooks) {
  TRY_ASSIGN(const ResolvedEnvelope resolved, resolve_envelope(config, request));
  os::FileOps& ops = hooks.ops != nullptr ? *hooks.ops : os::real_file_ops();
  const TimePoint now = (hooks.clock != nullptr ? *hooks.clock : system_clock()).now();
  TRY_ASSIGN(const spool::Spool spool, spool::Spool::open(ops, config.spool_directory));
  TRY(require_ready(config, spool, resolved.peer, now));

  TRY_ASSIGN(const std::string id, make_id(now));
  const auto options = item_options(config, spool.paths(), resolved.peer, id);
  const os::Deadline::Scratch scratch(options.tmp_path);
  TRY_ASSIGN(auto writer, spool::ItemWriter::create(ops, resolved.envelope, options));
  TRY_ASSIGN(const std::uint64_t octets, copy(message, writer));
  if (octets == 0) {
    return Status::temporary("4.3.0", "standard input is empty: no message came");
  }
  const auto before_rename = [&hooks]() -> Status {
    if (hooks.before_rename) {
      TRY(hooks.before_rename());
    }
    // From the rename on the item may be on its way: a deadline that fires now would answer 75
    // for a message that is taken, and it would travel twice. Two calls are left to make.
    os::Deadline::disarm();
    return Status::ok();
  };
  TRY(writer.commit(before_rename));
  log::enqueued(id, request.queue_id, resolved.peer, resolved.envelope.sender,
                resolved.envelope.recipients.front().address, resolved.envelope.recipients.size(),
                writer.text().facts().octets);
  return Status::ok();
}

}  // namespace

spool::ItemWriter::Options item_options(const config::Config& config, const spool::Paths& paths,
                                        const std::string& peer, const std::string& id) {
  spool::ItemWriter::Options options;
  options.tmp_path = str_cat({paths.tmp(peer), "/", id});
  options.final_path = paths.item(peer, id);
  options.final_dir = paths.incoming(peer);
  options.text.max_received = config.max_received;
  options.text.max_own_received = config.max_own_received;
  options.text.own_host = config.host;
  return options;
}

Status enqueue(const config::Config& config, const EnqueueRequest& request, Source& message,
               const EnqueueHooks& hooks) {
  Status status = store(config, request, message, hooks);
  if (!status.is_ok()) {
    log::enqueue_failed(request.queue_id, request.peer, status);
  }
  return status;
}

}  // namespace bsmtp::mda

// See build_job.h.
#include "mda/dispatch/build_job.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/digest/sha256.h"
#include "common/log/events.h"
#include "common/os/fd_stream.h"
#include "common/parcel/builder.h"
#include "common/spool/item.h"
#include "mda/dispatch/queue_watch.h"

namespace bsmtp::mda {
namespace {

parcel::Profile wire_profile(config::Profile profile) {
  switch (profile) {
    case config::Profile::kRfc2442:
      return parcel::Profile::kRfc2442;
    case config::Profile::kPmdfGzip:
      return parcel::Profile::kPmdfGzip;
    case config::Profile::kPmdfSigned:
      return parcel::Profile::kPmdfSigned;
    case config::Profile::kNative:
      break;
  }
  return parcel::Profile::kNative;
}

bool needs_signature(config::Profile profile) {
  return profile == config::Profile::kNative || profile == config::Profile::kPmdfSigned;
}

class Build {
 public:
  Build(BuildContext& context, const config::Peer& peer, spool::ParcelDir dir)
      : context_(context), config_(*context.config), peer_(peer), dir_(std::move(dir)) {}

  spool::ParcelDir& dir() { return dir_; }

  // Builds until no item is refused; false when none is left.
  Result<bool> build() {
    for (;;) {
      TRY_ASSIGN(items_, dir_.items());
      if (items_.empty()) {
        return false;
      }
      std::size_t bad = items_.size();
      const Status status = build_once(&bad);
      if (status.is_ok()) {
        return true;
      }
      if (!status.is_permanent()) {
        const auto no_item = find_no_item();
        if (!no_item) {
          return status;
        }
        TRY(set_aside(no_item->first, no_item->second));
        continue;
      }
      if (bad >= items_.size()) {
        return Status::temporary(
            "4.3.5", str_cat({"parcel for ", peer_.name, " cannot be built: ", status.text()}));
      }
      TRY(set_aside(items_[bad], status));
    }
  }

  // Nothing may be given up, however old, while no parcel can be signed.
  Status can_sign() { return needs_signature(peer_.profile) ? open_signer() : Status::ok(); }

  Status commit() { return dir_.commit(std::move(entity_), state_.to_fields()); }
  const ParcelState& state() const { return state_; }

 private:
  parcel::Receipt receipt() const {
    const bool wanted = peer_.wants_receipts() && peer_.profile == config::Profile::kNative;
    return wanted ? context_.receipt : parcel::Receipt::kNone;
  }

  Status build_once(std::size_t* bad) {
    const TimePoint now = context_.clock.now();
    parcel::BuildRequest request;
    request.profile = wire_profile(peer_.profile);
    request.host = config_.host;
    request.compression_level = static_cast<int>(config_.compression_level);
    std::vector<std::string> paths;
    for (const std::string& id : items_) {
      paths.push_back(dir_.item_path(id));
    }
    request.items = parcel::file_items(context_.spool.ops(), paths);
    if (peer_.profile == config::Profile::kNative) {
      parcel::Manifest manifest;
      manifest.id = dir_.id();
      manifest.from = to_lower(config_.host);
      manifest.to = to_lower(peer_.host);
      manifest.created = now;
      manifest.expires = expires();
      manifest.receipt = receipt();
      request.manifest = manifest;
      // Old peers have no agreement: internationalised mail is refused for them (RFC 2442).
      request.agreement.smtputf8 = true;
    }
    if (needs_signature(peer_.profile)) {
      TRY(open_signer());
      request.signer = &*context_.signer;
    }
    TRY_ASSIGN(entity_, dir_.create_entity());
    parcel::BuildResult result;
    auto built = parcel::build(request, context_.spool.ops(), entity_, bad);
    if (!built.is_ok()) {
      if (!built.status().is_permanent()) {
        context_.signer.reset();
      }
      return built.status();
    }
    result = std::move(built).value();
    TRY(put_back(result.items));
    state_.created = now;
    state_.expires = expires();
    state_.oldest = id_time(items_.front()).value_or(now);
    state_.messages = result.messages;
    state_.plain_octets = result.plain_bytes;
    state_.entity_octets = result.entity_bytes;
    TRY_ASSIGN(state_.entity_digest, digest_of(context_.spool.ops(), entity_, result.entity_bytes));
    state_.digest = result.digest;
    state_.receipt = static_cast<std::uint64_t>(receipt());
    state_.earlier_copy = context_.earlier_copy;
    TRY_ASSIGN(state_.token, random_hex(16));
    return Status::ok();
  }

  // One deadline for a message, here and on the other side: it runs from its arrival here.
  TimePoint expires() const {
    const TimePoint now = context_.clock.now();
    return std::min(id_time(items_.front()).value_or(now), now) + config_.parcel_lifetime;
  }

  // What one parcel cannot hold waits for the next.
  Status put_back(std::size_t taken) {
    for (; items_.size() > taken; items_.pop_back()) {
      TRY(dir_.return_item(items_.back()));
    }
    return Status::ok();
  }

  Status open_signer() {
    if (context_.signer) {
      return Status::ok();
    }
    auto signer =
        crypto::Signer::open({config_.sign_home(), config_.sign_key, config_.sign_passphrase_file});
    if (!signer.is_ok()) {
      return signer.status();
    }
    context_.signer.emplace(std::move(signer).value());
    return Status::ok();
  }

  // What stands in the place of an item but can never be read as one (a directory, a link, a file
  // that root copied there) would stop its peer for ever.
  std::optional<std::pair<std::string, Status>> find_no_item() const {
    for (const std::string& id : items_) {
      const auto item = spool::ItemReader::open(context_.spool.ops(), dir_.item_path(id));
      if (item.status().is_permanent()) {
        return std::pair(id, item.status());
      }
      if (item.status().error_number() == EACCES && is_strangers(dir_.item_path(id))) {
        return std::pair(
            id, Status::permanent("5.3.0", str_cat({item.status().text(),
                                                    "; it belongs to a user who is not of the "
                                                    "tunnel: chown it to the owner of the spool "
                                                    "and move it back to incoming/",
                                                    id})));
      }
    }
    return std::nullopt;
  }

  // Put there by hand: neither the agents nor a dispatcher wrote it. (What one of them wrote and we
  // may not read is a matter of our own user, and no reason to set all mail aside.)
  bool is_strangers(const std::string& path) const {
    os::FileOps& ops = context_.spool.ops();
    const auto item = ops.stat(path);
    const auto spool = ops.stat(context_.spool.root());
    return item.is_ok() && spool.is_ok() && item->owner != spool->owner &&
           item->owner != ::geteuid();
  }

  // Tells, then moves: repeated after a crash the notice is the same one.
  Status set_aside(const std::string& id, const Status& why) {
    log::item_held(id, peer_.name, why);
    const auto item = spool::ItemReader::open(context_.spool.ops(), dir_.item_path(id));
    const TimePoint now = context_.clock.now();
    if (item.is_ok()) {
      const NoticeSubject subject{config_,    context_.notices,          id, id,
                                  peer_.name, id_time(id).value_or(now), now};
      const bool unknown = context_.earlier_copy;
      std::vector<DsnRecipient> recipients;
      for (const mail::Recipient& recipient : item->envelope().recipients) {
        recipients.push_back({recipient, unknown ? "4.4.0" : why.code(), "", why.text(), ""});
      }
      if (unknown) {
        log::ambiguous(id, "it cannot be sent again, and an earlier copy may have arrived");
      }
      TRY(write_dsn(subject, unknown ? NoticeKind::kUnknown : NoticeKind::kFailure, *item,
                    item->text_size(), recipients));
    } else {
      TRY(tell_of_unreadable(context_.notices, peer_.name, str_cat({"message ", id}), why, now));
    }
    return dir_.set_item_aside(id);
  }

  BuildContext& context_;
  const config::Config& config_;
  const config::Peer& peer_;
  spool::ParcelDir dir_;
  std::vector<std::string> items_;
  os::File entity_;
  ParcelState state_;
};

Result<spool::ParcelDir> claim_items(BuildContext& context, const config::Peer& peer,
                                     const std::string& id, const std::vector<std::string>& items) {
  auto lock = context.spool.lock_peer(peer.name);
  if (!lock.is_ok()) {
    return lock.status();
  }
  auto dir = spool::ParcelDir::create(context.spool, *lock, id);
  if (!dir.is_ok()) {
    return dir.status();
  }
  for (const std::string& item : items) {
    const auto taken = dir->take_item(item);
    if (!taken.is_ok()) {
      (void)dir->abandon();
      return taken.status();
    }
  }
  return dir;
}

}  // namespace

Result<std::string> digest_of(os::FileOps& ops, const os::File& file, std::uint64_t octets) {
  os::RangeSource source(ops, file, 0, octets);
  digest::Sha256Sink digest(nullptr);
  TRY(copy(source, digest).status());
  return digest.hex();
}

Result<bool> build_parcel(BuildContext& context, const config::Peer& peer, const std::string& id,
                          const std::vector<std::string>& items, const std::string& why) {
  auto dir = claim_items(context, peer, id, items);
  if (!dir.is_ok()) {
    return dir.status();
  }
  return build_claimed(context, peer, std::move(dir).value(), why);
}

Result<bool> build_claimed(BuildContext& context, const config::Peer& peer, spool::ParcelDir dir,
                           const std::string& why) {
  const std::string id = dir.id();
  Build build(context, peer, std::move(dir));
  SubmitContext for_expiry{context.config, context.spool, context.notices, context.clock};
  Status ready = build.can_sign();
  if (ready.is_ok()) {
    // Too old for any parcel: nobody would take it.
    ready = expire_items(for_expiry, build.dir(), context.config->parcel_lifetime,
                         context.earlier_copy);
  }
  const Result<bool> built = ready.is_ok() ? build.build() : Result<bool>(ready);
  Status status = built.status();
  if (status.is_ok() && built.value()) {
    status = build.commit();
    if (status.is_ok()) {
      const ParcelState& state = build.state();
      log::parcel_built(id, peer.name, static_cast<std::size_t>(state.messages), state.plain_octets,
                        state.entity_octets, why);
      return true;
    }
  }
  if (build.dir().stage() != spool::Stage::kBuilding) {
    // It is complete and in ready/, only that directory could not be synced. The submission syncs
    // it before it sends anything.
    return status;
  }
  // Should this fail too, recovery brings the items back later.
  const Status undone = build.dir().abandon();
  if (!undone.is_ok()) {
    log::trouble(id, undone);
  }
  if (!status.is_ok()) {
    return status;
  }
  return false;
}

}  // namespace bsmtp::mda

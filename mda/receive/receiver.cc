#include "mda/receive/receiver.h"

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/digest/sha256.h"
#include "common/log/events.h"
#include "common/mail/address.h"
#include "common/mail/header.h"
#include "common/mail/line.h"
#include "common/os/deadline.h"
#include "common/os/fd_stream.h"
#include "common/os/sandbox.h"
#include "common/parcel/opener.h"
#include "common/parcel/structure.h"
#include "common/rewrite/export_map.h"
#include "mda/receive/acceptance.h"
#include "mda/receive/policy.h"
#include "mda/receive/returns.h"

namespace bsmtp::mda {
namespace {

// Passes at most `limit` octets on; more is permanent 5.3.4.
class LimitSink final : public Sink {
 public:
  LimitSink(Sink& next, std::uint64_t limit) : next_(next), left_(limit), limit_(limit) {}
  Status write(std::string_view data) override {
    if (data.size() > left_) {
      return Status::permanent(
          "5.3.4", str_cat({"parcel is larger than max-parcel-bytes = ", std::to_string(limit_)}));
    }
    left_ -= data.size();
    return next_.write(data);
  }

 private:
  Sink& next_;
  std::uint64_t left_;
  std::uint64_t limit_;
};

enum class AddressKind { kParcel, kReturn, kOther };

// Only the local part counts: the MTA routes by full address, on sendmail through a helper
// domain (bsmtp@bsin.host), so the domain here is its business.
AddressKind kind_of(const config::Config& config, std::string_view recipient) {
  const std::string_view written = mail::split_address(recipient).local;
  const std::string local = mail::dequote_local(written).value_or(std::string(written));
  if (iequals(local, config.user)) {
    return AddressKind::kParcel;
  }
  return istarts_with(local, config.user + "+") ? AddressKind::kReturn : AddressKind::kOther;
}

// Logs what became of a trusted parcel and fills in the report.
ReceiveReport finish_report(CommitOutcome outcome, const parcel::Opened& opened,
                            const ReceiveRequest& request, ReceiveReport report,
                            std::uint64_t refused) {
  report.id = opened.id;
  report.peer = opened.peer;
  report.messages = opened.messages;
  report.refused = refused;
  switch (outcome) {
    case CommitOutcome::kAccepted:
      log::parcel_accepted(opened.id, opened.peer, request.queue_id, request.client,
                           opened.fingerprint, opened.messages, opened.plain_bytes,
                           request.tls.version, request.tls.verify);
      report.outcome = ReceiveOutcome::kAccepted;
      break;
    case CommitOutcome::kDuplicate:
      log::parcel_duplicate(opened.id, opened.peer, request.queue_id);
      report.outcome = ReceiveOutcome::kDuplicate;
      break;
    case CommitOutcome::kConflict:
      log::alarm(opened.id, "peer " + opened.peer +
                                " sent two different parcels under one id; the second is in "
                                "quarantine: ask its admin whether its spool was restored or its "
                                "key is in other hands");
      report.outcome = ReceiveOutcome::kQuarantined;
      report.code = "5.7.1";
      report.reason = "id-conflict: another parcel of this peer with the id " + opened.id +
                      " and other content waits already";
      break;
  }
  return report;
}

// Once in the life of a process, which for the pipe form is one mail.
void note_sandbox(const config::Config& config) {
  static bool noted = false;
  if (noted || config.sandbox != "auto") {
    return;
  }
  noted = true;
  if (const os::SandboxSupport support = os::sandbox_support(); !support.complete()) {
    log::sandbox_incomplete(support.missing());
  }
}

}  // namespace

Status check_recipient(const config::Config& config, std::string_view recipient) {
  if (kind_of(config, recipient) != AddressKind::kOther) {
    return Status::ok();
  }
  return Status::temporary(
      "4.3.5",
      str_cat({"recipient <", printable(recipient, 320), "> is not the parcel address ",
               config.parcel_address(), " nor a return address; mend the MTA's transport map"}));
}

const char* to_string(ReceiveOutcome outcome) {
  switch (outcome) {
    case ReceiveOutcome::kAccepted:
      return "accepted";
    case ReceiveOutcome::kDuplicate:
      return "duplicate";
    case ReceiveOutcome::kQuarantined:
      return "quarantined";
    case ReceiveOutcome::kShed:
      return "shed";
    case ReceiveOutcome::kDropped:
      return "dropped";
    case ReceiveOutcome::kReturn:
      return "return";
    case ReceiveOutcome::kReceipt:
      return "receipt";
    case ReceiveOutcome::kAnswered:
      return "answered";
  }
  return "?";
}

// The mail as received, in inbound/tmp; removed unless someone moved it away.
struct Receiver::Raw {
  Raw(os::FileOps& file_ops, std::string file)
      : ops(&file_ops), path(std::move(file)), scratch(path) {}
  Raw(Raw&& other) noexcept
      : ops(other.ops),
        path(std::exchange(other.path, "")),
        scratch(std::move(other.scratch)),
        sha256(std::move(other.sha256)),
        received(std::move(other.received)),
        size(other.size) {}
  Raw& operator=(Raw&&) = delete;
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;
  ~Raw() {
    if (!path.empty()) {
      (void)os::remove_if_exists(*ops, path);
    }
  }

  os::FileOps* ops;
  std::string path;
  os::Deadline::Scratch scratch;
  std::string sha256;
  std::string received;  // value of the topmost Received field, the host MTA's
  std::uint64_t size = 0;
};

namespace {

// Passes all on and looks at the header.
class HeaderTee final : public Sink {
 public:
  explicit HeaderTee(Sink& next) : next_(next), header_(options()) {}
  Status write(std::string_view data) override {
    if (!header_.done()) {
      TRY(header_.write(data));
    }
    return next_.write(data);
  }
  Status finish() override { return next_.finish(); }
  std::string received() const {
    return header_.fields().empty() ? std::string() : header_.fields()[0].value;
  }

 private:
  static mail::HeaderScanner::Options options() {
    mail::HeaderScanner::Options options;
    options.strict = false;
    options.keep = {"received"};
    return options;
  }

  Sink& next_;
  mail::HeaderScanner header_;
};

}  // namespace

Receiver::Receiver(std::shared_ptr<const config::Config> config, os::FileOps& ops,
                   const Clock& clock, std::function<Status()> before_commit)
    : config_(std::move(config)),
      ops_(ops),
      clock_(clock),
      before_commit_(std::move(before_commit)) {}

Result<Receiver::Raw> Receiver::store_raw(const spool::Spool& spool, Source& input) {
  TRY_ASSIGN(const std::string id, make_id(clock_.now()));
  const std::string path = str_cat({spool.paths().inbound_tmp(), "/", id, ".raw"});
  TRY_ASSIGN(os::File file, ops_.open(path, os::kCreateNew, spool::kFileMode));
  Raw raw(ops_, path);
  os::FileSink sink(ops_, file);
  digest::Sha256Sink digest(&sink);
  LimitSink limit(digest, config_->max_parcel_bytes);
  HeaderTee header(limit);
  mail::CrlfNormaliser crlf(header);
  TRY(copy(input, crlf).status());
  TRY(crlf.finish());
  TRY(sink.finish());
  TRY(ops_.close(file));
  raw.sha256 = digest.hex();
  raw.received = header.received();
  raw.size = sink.count();
  return raw;
}

Result<ReceiveReport> Receiver::open_parcel(const spool::Spool& spool,
                                            const ReceiveRequest& request,
                                            const std::string& file) {
  TRY_ASSIGN(os::File raw, ops_.open(file, os::kReadOnly, 0));
  ReceiveReport report;
  // Ordinary mail is found out without loading the pins: that starts gpg, spam is not worth it.
  const auto shape = parcel::read_structure(ops_, raw, parcel_limits(*config_));
  if (shape.is_ok() && shape->kind == parcel::Structure::Kind::kNotAParcel) {
    report.outcome = ReceiveOutcome::kDropped;
    report.code = reject_code(parcel::Reject::kNotAParcel);
    report.reason = str_cat({parcel::reject_name(parcel::Reject::kNotAParcel), ": ", shape->why});
    return report;
  }
  note_sandbox(*config_);
  TRY_ASSIGN(crypto::Verifier verifier, open_verifier(*config_));
  parcel::OpenRequest open = open_request(ops_, *config_, verifier, clock_);
  open.file = &raw;
  open.transport_peer = request.peer;
  if (shape.is_ok() && shape->kind == parcel::Structure::Kind::kReceipt) {
    return take_receipt(spool, request, open);
  }
  TRY_ASSIGN(Acceptance acceptance, Acceptance::begin(spool, clock_.now()));
  TRY_ASSIGN(const parcel::OpenResult result, parcel::open(open, acceptance.writer()));
  if (const auto* rejected = std::get_if<parcel::Rejected>(&result)) {
    return refuse(spool, request, *rejected);
  }
  const auto& opened = std::get<parcel::Opened>(result);
  const config::Peer* peer = config_->find_peer(opened.peer);
  if (peer == nullptr) {
    return Status::temporary("4.3.5", "peer " + opened.peer + " vanished from the configuration");
  }
  Acceptance::Commit commit;
  commit.config = config_.get();
  commit.peer = peer;
  commit.opened = &opened;
  commit.queue_id = request.queue_id;
  commit.now = clock_.now();
  // Without an exported map this host diverts nothing by map, so nothing can go back by it;
  // `bsmtpctl config check` says so when the map is missing.
  const auto map = rewrite::ExportedMap::open(config_->export_map);
  if (map.is_ok()) {
    commit.route = [&map](std::string_view domain) { return map->find(domain).value_or(""); };
  }
  commit.before_rename = before_commit_;
  TRY_ASSIGN(const CommitOutcome outcome, acceptance.commit(commit));
  if (outcome == CommitOutcome::kDuplicate && opened.manifest) {
    Question question;
    question.peer = opened.peer;
    question.manifest = &*opened.manifest;
    question.digest = opened.digest;
    TRY(ask(spool, request, std::move(question)));
  }
  return finish_report(outcome, opened, request, std::move(report), acceptance.refused());
}

Result<ReceiveReport> Receiver::set_aside(const spool::Spool& spool, const ReceiveRequest& request,
                                          const Raw& raw, ReceiveReport report) {
  TRY_ASSIGN(const spool::Quarantine quarantine, open_quarantine(ops_, *config_));
  if (report.outcome == ReceiveOutcome::kDropped) {
    (void)quarantine.count(spool::QuarantineCounter::kShapeless);
    log::parcel_dropped(request.queue_id, request.client, report.reason);
    return report;
  }
  const Status room =
      spool.require_free_now(static_cast<unsigned>(config_->free_percent_quarantine));
  if (room.error_number() != 0) {
    return room;  // how much is free is not known, so nothing is shed
  }
  if (!room.is_ok()) {
    (void)quarantine.count(spool::QuarantineCounter::kShed);
    report.outcome = ReceiveOutcome::kShed;
    log::parcel_dropped(request.queue_id, request.client,
                        str_cat({report.reason, "; not kept: ", room.text()}));
    return report;
  }
  if (before_commit_) {
    TRY(before_commit_());
  }
  spool::QuarantineEntry entry;
  entry.code = report.code;
  entry.reason = report.reason;
  entry.sender = request.sender;
  entry.recipient = request.recipient;
  entry.client = request.client;
  entry.queue_id = request.queue_id;
  entry.peer = report.peer;
  entry.sha256 = raw.sha256;
  TRY_ASSIGN(report.id, quarantine.put(raw.path, entry, clock_.now()));
  log::parcel_quarantined(report.id, request.queue_id, request.client, report.reason,
                          request.tls.version, request.tls.verify);
  return report;
}

Result<ReceiveReport> Receiver::receive(const ReceiveRequest& request, Source& input) {
  TRY_ASSIGN(const spool::Spool spool, spool::Spool::open(ops_, config_->spool_directory));
  TRY(spool.require_free(static_cast<unsigned>(config_->free_percent_dispatch)));
  TRY(spool.check_directories({}));
  ReceiveRequest named = request;
  if (!request.peer.empty()) {
    const config::Peer* peer = config_->peer_for_argument(request.peer);
    if (peer == nullptr) {
      return Status::temporary("4.3.5", str_cat({"--peer ", printable(request.peer, 60),
                                                 " names no peer of the configuration; mend the "
                                                 "MTA's transport"}));
    }
    named.peer = peer->name;
  }
  TRY(check_recipient(*config_, request.recipient));
  ReceiveReport report;
  if (kind_of(*config_, request.recipient) == AddressKind::kReturn) {
    TRY_ASSIGN(report.id, store_return(spool, request.sender, request.recipient, input,
                                       clock_.now(), before_commit_));
    report.outcome = ReceiveOutcome::kReturn;
    log::return_stored(report.id, request.queue_id, request.recipient);
    return report;
  }
  TRY_ASSIGN(const Raw raw, store_raw(spool, input));
  if (named.queue_id.empty()) {  // LMTP does not carry it
    named.queue_id = mail::received_id(raw.received);
  }
  named.tls = mail::received_tls(raw.received, config_->host);
  TRY_ASSIGN(report, open_parcel(spool, named, raw.path));
  if (report.outcome == ReceiveOutcome::kDropped ||
      report.outcome == ReceiveOutcome::kQuarantined) {
    TRY_ASSIGN(report, set_aside(spool, named, raw, report));
  }
  return report;
}

Result<ReceiveReport> Receiver::receive_again(const spool::QuarantineEntry& entry,
                                              const std::string& file) {
  TRY_ASSIGN(const spool::Spool spool, spool::Spool::open(ops_, config_->spool_directory));
  TRY(spool.require_free(static_cast<unsigned>(config_->free_percent_dispatch)));
  ReceiveRequest request;
  request.recipient = entry.recipient;
  request.sender = entry.sender;
  request.client = entry.client;
  request.queue_id = entry.queue_id;
  TRY_ASSIGN(ReceiveReport report, open_parcel(spool, request, file));
  if (report.id.empty()) {
    report.id = entry.id;
  }
  return report;
}

}  // namespace bsmtp::mda

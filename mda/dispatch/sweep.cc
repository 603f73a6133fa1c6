// See sweep.h.
#include "mda/dispatch/sweep.h"

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/log/events.h"
#include "mda/dispatch/outbound.h"

namespace bsmtp::mda {
namespace {

constexpr std::uint64_t kRowsAtOnce = 10000;
constexpr std::size_t kWithheldLines = 200;
constexpr const char* kWithheldLetter =
    "Mail of this peer failed, and its senders got no report. Each line says why:\n"
    "dsn-for     does not name the sender's domain (log: dsn-withheld)\n"
    "dsn-limit   was reached in that hour (log: dsn-withheld)\n"
    "unreadable  it was damaged on this host's disk, so that nobody knows whom to\n"
    "            tell; it lies in held/ of the peer (log: alarm, held)\n"
    "At most one such letter is sent an hour. The log has all of them.\n\n";

std::string first_lines(const std::string& text) {
  std::string out;
  std::size_t count = 0;
  for (const std::string_view line : split(text, '\n')) {
    if (!line.empty() && ++count <= kWithheldLines) {
      out += str_cat({line, "\n"});
    }
  }
  return count <= kWithheldLines
             ? out
             : str_cat({out, "and ", std::to_string(count - kWithheldLines), " more\n"});
}

class Sweeper {
 public:
  Sweeper(SubmitContext& context, ledger::Journal* journal, const spool::Quarantine& quarantine,
          SweepReport& report)
      : context_(context),
        config_(*context.config),
        journal_(journal),
        quarantine_(quarantine),
        now_(context.clock.now()),
        report_(report) {}

  void peer(const std::string& name) {
    note(recover_peer(context_.spool, name));
    const auto files = context_.spool.sweep_tmp(name, now_, config_.tmp_age);
    note(files.status());
    report_.files += files.is_ok() ? files.value() : 0;
    old_parcels(name, spool::Stage::kSent);
    old_parcels(name, spool::Stage::kFailed);
  }

  // Files and directories of killed agents in a shared tmp directory.
  void tmp(const std::string& directory) { old_files(directory, config_.tmp_age); }

  // Reports that the host MTA refused.
  void refused() {
    const std::string directory = context_.spool.paths().notices_refused();
    const auto there = os::exists(context_.spool.ops(), directory);
    note(there.status());
    if (there.is_ok() && *there) {
      old_files(directory, config_.keep_sent);
    }
  }

  void old_files(const std::string& directory, std::chrono::seconds age) {
    os::FileOps& ops = context_.spool.ops();
    const auto names = ops.list(directory);
    if (!names.is_ok()) {
      note(names.status());
      return;
    }
    for (const std::string& name : names.value()) {
      const std::string path = str_cat({directory, "/", name});
      const auto info = ops.stat(path);
      if (!info.is_ok() || info->modified + age > now_) {
        continue;
      }
      note(info->is_directory ? os::remove_tree(ops, path) : os::remove_if_exists(ops, path));
      ++report_.files;
    }
  }

  void quarantine() {
    const auto swept = quarantine_.sweep(now_);
    note(swept.status());
    report_.quarantined = swept.is_ok() ? swept.value() : 0;
    const auto digest = quarantine_.pending_digest(now_, config_.quarantine_digest);
    if (!digest.is_ok() || !digest->has_value()) {
      note(digest.status());
      return;
    }
    PostmasterLetter letter;
    letter.host = config_.host;
    letter.postmaster = postmaster_address(config_);
    letter.subject = "Quarantined parcels";
    letter.body = (*digest)->text;
    letter.now = now_;
    letter.notice_id = (*digest)->id;
    const Status written =
        context_.notices.put(letter.notice_id, letter_envelope(letter), format_letter(letter),
                             "quarantine-digest", "quarantine");
    note(written);
    if (written.is_ok()) {
      note(quarantine_.mark_reported(**digest));
    }
  }

  // Failures whose senders were not told, once an hour.
  void withheld(const std::string& peer) {
    const auto lines = context_.notices.limit().to_tell(peer);
    if (!lines.is_ok() || !lines->has_value()) {
      note(lines.status());
      return;
    }
    PostmasterLetter letter;
    letter.host = config_.host;
    letter.postmaster = postmaster_address(config_);
    letter.subject = str_cat({"Failed mail of peer ", peer, " whose senders were not told"});
    letter.body = str_cat({kWithheldLetter, first_lines(**lines)});
    letter.now = now_;
    letter.notice_id = notice_id({"withheld", peer, **lines});
    const Status written = context_.notices.put(letter.notice_id, letter_envelope(letter),
                                                format_letter(letter), "withheld", peer);
    note(written);
    if (written.is_ok()) {
      note(context_.notices.limit().told(peer));
    }
  }

  void ledger() {
    if (journal_ == nullptr) {
      return;
    }
    std::uint64_t rows = 0;
    note(journal_->run([&](ledger::Ledger& ledger) {
      TRY_ASSIGN(rows, ledger.expire(now_, kRowsAtOnce));
      return Status::ok();
    }));
    report_.rows = rows;
  }

  Status result() const { return first_; }

 private:
  void note(const Status& status) {
    if (!status.is_ok()) {
      log::trouble("sweep", status);
      first_ = first_.is_ok() ? status : first_;
    }
  }

  void old_parcels(const std::string& peer, spool::Stage stage) {
    const auto ids = context_.spool.list_parcels(peer, stage);
    if (!ids.is_ok()) {
      note(ids.status());
      return;
    }
    for (const std::string& id : ids.value()) {
      const auto fields = spool::ParcelDir::peek_state(context_.spool, peer, stage, id);
      const config::Peer* known = config_.find_peer(peer);
      if (stage == spool::Stage::kSent && fields.is_ok() && known != nullptr &&
          (fields->has("splitting") || fields->has("refused") ||
           awaits_receipt(*known, ParcelState::from(*fields)))) {
        continue;  // ended by its receipt, or by what follows when none comes
      }
      // Without a readable state the id's own time is the only one there is.
      const TimePoint finished = fields.is_ok() && fields->get_time("finished")
                                     ? *fields->get_time("finished")
                                     : id_time(id).value_or(now_) + config_.parcel_lifetime;
      if (finished + config_.keep_sent > now_) {
        continue;
      }
      auto parcel = spool::ParcelDir::claim(context_.spool, peer, stage, id);
      if (!parcel.is_ok() || !parcel->has_value()) {
        note(parcel.status());
        continue;
      }
      note((*parcel)->remove());
      ++report_.parcels;
    }
  }

  SubmitContext& context_;
  const config::Config& config_;
  ledger::Journal* journal_;
  const spool::Quarantine& quarantine_;
  TimePoint now_;
  SweepReport& report_;
  Status first_;
};

}  // namespace

Status sweep(SubmitContext& context, ledger::Journal* journal, const spool::Quarantine& quarantine,
             const std::vector<std::string>& peers, SweepReport& report) {
  // It removes what is old: nowhere else than in the spool.
  TRY(context.spool.check_directories(peers));
  Sweeper sweeper(context, journal, quarantine, report);
  for (const std::string& peer : peers) {
    sweeper.peer(peer);
    sweeper.withheld(peer);
  }
  sweeper.tmp(context.spool.paths().inbound_tmp());
  sweeper.tmp(context.spool.paths().notices_tmp());
  sweeper.refused();
  sweeper.quarantine();
  sweeper.ledger();
  return sweeper.result();
}

}  // namespace bsmtp::mda

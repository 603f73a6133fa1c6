// bsmtpctl quarantine ...
#include <optional>

#include "common/base/text.h"
#include "common/ledger/ledger.h"
#include "common/os/file_ops.h"
#include "common/parcel/inspect.h"
#include "common/spool/paths.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_inspection.h"
#include "mda/ctl/ctl_output.h"
#include "mda/receive/policy.h"
#include "mda/receive/receiver.h"

namespace bsmtp::mda::ctl {
namespace {

void entry_json(Json& json, const spool::QuarantineEntry& entry) {
  json.field("id", entry.id)
      .field("code", entry.code)
      .field("reason", entry.reason)
      .field("sender", entry.sender)
      .field("recipient", entry.recipient)
      .field("client", entry.client)
      .field("queue_id", entry.queue_id)
      .field("peer", entry.peer)
      .field("sha256", entry.sha256)
      .count("size", entry.size)
      .count("copies", entry.copies)
      .field("first", time_text(entry.first))
      .field("last", time_text(entry.last));
}

struct Found {
  spool::Quarantine quarantine;
  spool::QuarantineEntry entry;
};

Result<Found> find(const Context& context, const std::string& word) {
  TRY_ASSIGN(auto quarantine, open_quarantine(os::real_file_ops(), *context.config));
  TRY_ASSIGN(const std::string id, quarantine.resolve(word));
  TRY_ASSIGN(auto entry, quarantine.find(id));
  return Found{std::move(quarantine), std::move(entry)};
}

// Whether the peer was told that this parcel is not delivered. Without a ledger, or one that this
// user may not read, nobody here knows.
std::optional<spool::ParcelAnswer> tombstone_of(const Context& context,
                                                const ReceiveReport& report) {
  auto ledger = ledger::Ledger::look_at(spool::Paths(context.config->spool_directory).ledger());
  if (!ledger.is_ok()) {
    return std::nullopt;
  }
  const auto found = ledger->find_tombstone(report.peer, report.id);
  return found.is_ok() ? *found : std::nullopt;
}

// The parcel is good, and all the same bsmtp-dispatch will drop it; the entry stays as it is.
int say_buried(Context& context, const std::string& id, const ReceiveReport& report,
               const spool::ParcelAnswer& answer) {
  const std::string told = str_cat({spool::fate_name(answer.fate), " ", answer.code});
  if (context.json) {
    context.out << Json()
                       .object()
                       .field("id", id)
                       .field("outcome", "tombstoned")
                       .field("parcel", report.id)
                       .field("peer", report.peer)
                       .field("reason", told)
                       .count("messages", report.messages)
                       .count("refused", report.refused)
                       .end()
                       .text();
  } else {
    context.out << "not delivered: parcel " << report.id << " can be trusted now, but peer "
                << report.peer << " was told that it is not delivered (" << printable(told)
                << "), and has told its senders; bsmtp-dispatch drops it. Ask that peer's admin to "
                   "have the mail sent again; the entry stays, `bsmtpctl quarantine drop "
                << id << "` removes it\n";
  }
  return kExitProblem;
}

}  // namespace

Result<int> quarantine_list(Context& context, const Arguments& /*arguments*/) {
  TRY_ASSIGN(const auto quarantine, open_quarantine(os::real_file_ops(), *context.config));
  TRY_ASSIGN(const auto entries, quarantine.list());
  Table table({"ID", "LAST SEEN", "COPIES", "SIZE", "CODE", "REASON", "SENDER"});
  Json json;
  json.array();
  for (const auto& entry : entries) {
    table.add({entry.id, time_text(entry.last), std::to_string(entry.copies),
               bytes_text(entry.size), entry.code, printable(entry.reason, 60),
               "<" + printable(entry.sender, 60) + ">"});
    json.object();
    entry_json(json, entry);
    json.end();
  }
  if (context.json) {
    context.out << json.end().text();
  } else if (table.empty()) {
    context.out << "the quarantine is empty\n";
  } else {
    table.print(context.out);
  }
  return kExitOk;
}

Result<int> quarantine_show(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const Found found, find(context, arguments.word(0)));
  const spool::QuarantineEntry& entry = found.entry;
  os::FileOps& ops = os::real_file_ops();
  const std::string path = found.quarantine.parcel_file(entry.id);
  TRY_ASSIGN(const os::File file, ops.open(path, os::kReadOnly, 0));
  TRY_ASSIGN(const auto inspection, parcel::inspect(ops, file, parcel_limits(*context.config),
                                                    parcel_sandbox(*context.config)));
  if (context.json) {
    Json json;
    json.object();
    entry_json(json, entry);
    json.field("file", path).key("inspection");
    inspection_json(json, inspection);
    context.out << json.end().text();
    return kExitOk;
  }
  context.out << "id         " << entry.id << "\n"
              << "why        " << entry.code << " " << printable(entry.reason) << "\n"
              << "arrived    " << time_text(entry.first) << ", last " << time_text(entry.last)
              << ", copies " << entry.copies << "\n"
              << "sender     <" << printable(entry.sender) << ">\n"
              << "recipient  <" << printable(entry.recipient) << ">\n"
              << "client     " << printable(entry.client) << "\n"
              << "queue id   " << printable(entry.queue_id) << "\n"
              << "key of     " << (entry.peer.empty() ? "nobody we know" : entry.peer) << "\n"
              << "sha256     " << entry.sha256 << "\n"
              << "file       " << path << "\n\n";
  print_inspection(context.out, inspection);
  return kExitOk;
}

Result<int> quarantine_release(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const Found found, find(context, arguments.word(0)));
  Receiver receiver(context.config, os::real_file_ops(), context.clock);
  TRY_ASSIGN(const ReceiveReport report,
             receiver.receive_again(found.entry, found.quarantine.parcel_file(found.entry.id)));
  const bool taken =
      report.outcome == ReceiveOutcome::kAccepted || report.outcome == ReceiveOutcome::kDuplicate ||
      report.outcome == ReceiveOutcome::kReceipt || report.outcome == ReceiveOutcome::kAnswered;
  const auto buried = report.outcome == ReceiveOutcome::kAccepted
                          ? tombstone_of(context, report)
                          : std::optional<spool::ParcelAnswer>();
  if (buried) {
    return say_buried(context, found.entry.id, report, *buried);
  }
  if (taken) {
    TRY(found.quarantine.drop(found.entry.id));
  }
  if (context.json) {
    context.out << Json()
                       .object()
                       .field("id", found.entry.id)
                       .field("outcome", taken ? to_string(report.outcome) : "refused")
                       .field("parcel", taken ? report.id : "")
                       .field("peer", report.peer)
                       .field("reason", report.reason)
                       .count("messages", report.messages)
                       .count("refused", report.refused)
                       .end()
                       .text();
  } else if (taken) {
    context.out << "released: parcel " << report.id << " of peer " << report.peer << ", "
                << report.messages << " messages, " << to_string(report.outcome) << "\n";
  } else {
    context.out << "still not trusted, it stays: " << report.code << " " << printable(report.reason)
                << "\n";
  }
  return taken ? kExitOk : kExitProblem;
}

Result<int> quarantine_drop(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const auto quarantine, open_quarantine(os::real_file_ops(), *context.config));
  std::vector<std::string> ids;
  for (const std::string& word : arguments.words()) {  // all must exist before one goes
    TRY_ASSIGN(std::string id, quarantine.resolve(word));
    ids.push_back(std::move(id));
  }
  Json json;
  json.array();
  for (const std::string& id : ids) {
    TRY(quarantine.drop(id));
    json.string(id);
    if (!context.json) {
      context.out << "dropped " << id << "\n";
    }
  }
  if (context.json) {
    context.out << json.end().text();
  }
  return kExitOk;
}

}  // namespace bsmtp::mda::ctl

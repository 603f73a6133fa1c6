// bsmtpctl spool create and queue ...: messages that wait for a parcel, read without locking.
#include <unistd.h>

#include <cerrno>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/version.h"
#include "common/mail/line.h"
#include "common/os/file_ops.h"
#include "common/spool/item.h"
#include "common/spool/spool.h"
#include "mda/agent/agent.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_lookup.h"
#include "mda/ctl/ctl_output.h"
#include "mda/ctl/ctl_process.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::size_t kMaxShownLine = 1U << 20U;

struct WaitingItem {
  std::string peer;
  std::string id;
  std::string path;
};

Result<WaitingItem> find_item(const spool::Spool& spool, const std::string& word) {
  std::vector<WaitingItem> found;
  TRY_ASSIGN(const auto peers, spool.peers());
  for (const std::string& peer : peers) {
    TRY_ASSIGN(const auto ids, spool.list_incoming(peer));
    for (const std::string& id : ids) {
      if (begins_with(id, word)) {
        found.push_back({peer, id, spool.paths().item(peer, id)});
      }
    }
  }
  if (found.empty()) {
    return Status::permanent("5.1.1", str_cat({"no waiting message ", printable(word, 60),
                                               "; it may be in a parcel: `bsmtpctl parcel list`"}));
  }
  if (found.size() > 1) {
    return ambiguous_id(word);
  }
  return found.front();
}

Status print_text(Context& context, const spool::ItemReader& item) {
  const auto text = item.plain_text();
  mail::LineReader lines(*text, kMaxShownLine);
  std::string_view line;
  for (;;) {
    TRY_ASSIGN(const bool more, lines.next(line));
    if (!more) {
      return Status::ok();
    }
    context.out << printable(line, kMaxShownLine) << "\n";
  }
}

}  // namespace

Result<int> spool_create(Context& context, const Arguments& /*arguments*/) {
  std::vector<std::string> peers;
  for (const config::Peer& peer : context.config->peers) {
    peers.push_back(peer.name);
  }
  const std::string& root = context.config->spool_directory;
  TRY(spool::Spool::create_layout(os::real_file_ops(), root, peers));
  if (context.json) {
    context.out << Json().object().field("spool", root).count("peers", peers.size()).end().text();
  } else {
    context.out << "spool " << root << " is complete, " << peers.size() << " peers\n";
  }
  return kExitOk;
}

Result<int> queue_list(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const spool::Spool spool, open_spool(context));
  TRY_ASSIGN(const auto peers, chosen_peers(context, arguments, spool));
  const TimePoint now = context.clock.now();
  Table table({"PEER", "ID", "AGE", "SIZE", "SENDER", "RECIPIENTS"});
  Json json;
  json.array();
  for (const std::string& peer : peers) {
    TRY_ASSIGN(const auto ids, spool.list_incoming(peer));
    for (const std::string& id : ids) {
      const auto item = spool::ItemReader::open(spool.ops(), spool.paths().item(peer, id));
      if (!item.is_ok()) {
        if (item.status().error_number() != ENOENT) {
          context.err << "bsmtpctl: " << item.status().text() << "\n";
        }
        continue;  // claimed into a parcel meanwhile
      }
      const mail::Envelope& envelope = item->envelope();
      std::string first = envelope.recipients.empty() ? "" : envelope.recipients.front().address;
      if (envelope.recipients.size() > 1) {
        first += " and " + std::to_string(envelope.recipients.size() - 1) + " more";
      }
      table.add({peer, id, age_text(id_time(id).value_or(now), now), bytes_text(item->item_size()),
                 "<" + printable(envelope.sender, 60) + ">", printable(first, 80)});
      json.object()
          .field("peer", peer)
          .field("id", id)
          .field("arrived", time_text(id_time(id).value_or(now)))
          .count("octets", item->item_size());
      envelope_json(json, envelope);
      json.end();
    }
  }
  if (context.json) {
    context.out << json.end().text();
  } else if (table.empty()) {
    context.out << "no message waits\n";
  } else {
    table.print(context.out);
  }
  return kExitOk;
}

Result<int> queue_show(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const spool::Spool spool, open_spool(context));
  TRY_ASSIGN(const WaitingItem found, find_item(spool, arguments.word(0)));
  TRY_ASSIGN(const auto item, spool::ItemReader::open(spool.ops(), found.path));
  if (context.json) {
    Json json;
    json.object().field("peer", found.peer).field("id", found.id).field("file", found.path);
    json.count("octets", item.item_size());
    envelope_json(json, item.envelope());
    if (arguments.has("text")) {
      StringSink text(64U << 20U);
      TRY(copy(*item.plain_text(), text).status());
      json.field("text", text.str());
    }
    context.out << json.end().text();
    return kExitOk;
  }
  context.out << "id         " << found.id << "\npeer       " << found.peer << "\narrived    "
              << time_text(id_time(found.id).value_or(TimePoint{})) << "\nsize       "
              << item.item_size() << " octets\nfile       " << found.path << "\nsender     <"
              << printable(item.envelope().sender, 320) << ">\n";
  for (const auto& recipient : item.envelope().recipients) {
    context.out << "recipient  <" << printable(recipient.address, 320) << ">"
                << (recipient.notify.empty() ? "" : " NOTIFY=" + printable(recipient.notify, 60))
                << "\n";
  }
  if (arguments.has("text")) {
    context.out << "\n";
    TRY(print_text(context, item));
  }
  return kExitOk;
}

Result<int> queue_flush(Context& context, const Arguments& arguments) {
  // Where bsmtp-dispatch is installed; beside ourselves in a build tree.
  std::string program = std::string(kAgentDirectory) + "/bsmtp-dispatch";
  if (::access(program.c_str(), X_OK) != 0) {
    std::string self(4096, '\0');
    const ssize_t n = ::readlink("/proc/self/exe", self.data(), self.size());
    self.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    program = self.substr(0, self.rfind('/')) + "/bsmtp-dispatch";
  }
  std::vector<std::string> argv = {program, "--flush", "--once"};
  if (!context.config_file.empty()) {
    argv.insert(argv.end(), {"--config", context.config_file});
  }
  if (arguments.has("peer")) {
    const config::Peer* peer = context.config->peer_for_argument(arguments.value("peer"));
    if (peer == nullptr) {
      return Status::permanent("5.1.1", "no peer " + printable(arguments.value("peer"), 60));
    }
    argv.insert(argv.end(), {"--peer", peer->name});
  }
  context.out.flush();
  TRY(become_dispatch_user(context.config->spool_directory, context.config->sign_home()));
  TRY_ASSIGN(const ProcessOutput output, run_program(argv, context.json));
  if (context.json) {
    context.out << Json()
                       .object()
                       .flag("flushed", output.exit_code == 0)
                       .count("exit_code", static_cast<std::uint64_t>(output.exit_code))
                       .end()
                       .text();
  }
  if (output.exit_code != 0) {
    return Status::temporary("4.3.0",
                             str_cat({program, " ended with ", std::to_string(output.exit_code),
                                      "; its messages are in the mail log"}));
  }
  return kExitOk;
}

}  // namespace bsmtp::mda::ctl

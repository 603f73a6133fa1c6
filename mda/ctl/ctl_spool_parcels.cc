// bsmtpctl parcel list|show: parcels of the spool in every stage, read without locking.
#include <algorithm>
#include <iterator>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/os/file_ops.h"
#include "common/spool/accepted_parcel.h"
#include "common/spool/item.h"
#include "common/spool/parcel_dir.h"
#include "common/spool/spool.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_lookup.h"
#include "mda/ctl/ctl_output.h"

namespace bsmtp::mda::ctl {
namespace {

struct ParcelRow {
  std::string where;  // stage, "accepted" or "deferred"
  std::string peer;
  std::string id;
  std::string path;
};

Result<std::vector<ParcelRow>> all_parcels(const spool::Spool& spool,
                                           const std::vector<std::string>& peers) {
  std::vector<ParcelRow> rows;
  for (const std::string& peer : peers) {
    for (const spool::Stage stage : spool::kStages) {
      TRY_ASSIGN(const auto ids, spool.list_parcels(peer, stage));
      for (const std::string& id : ids) {
        rows.push_back({std::string(spool::stage_name(stage)), peer, id,
                        spool.paths().parcel(peer, stage, id)});
      }
    }
  }
  const std::vector<std::pair<std::string, std::string>> inbound = {
      {"accepted", spool.paths().accepted()}, {"deferred", spool.paths().deferred()}};
  for (const auto& [where, directory] : inbound) {
    TRY_ASSIGN(auto names, spool.ops().list(directory));
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      const auto parsed = spool::parse_accepted_directory_name(name);
      if (parsed && std::find(peers.begin(), peers.end(), parsed->peer) != peers.end()) {
        rows.push_back({where, parsed->peer, parsed->parcel_id, str_cat({directory, "/", name})});
      }
    }
  }
  return rows;
}

bool is_inbound(const ParcelRow& row) {
  return row.where == "accepted" || row.where == "deferred";
}

// Number of messages (inbound: with work left) and octets of the entity or, inbound, of all
// messages; zeros when it vanished meanwhile.
struct ParcelSize {
  std::uint64_t messages = 0;
  std::uint64_t octets = 0;
};
ParcelSize size_of(os::FileOps& ops, const ParcelRow& row) {
  ParcelSize size;
  if (is_inbound(row)) {
    if (const auto parcel = spool::AcceptedParcel::load(ops, row.path); parcel.is_ok()) {
      size = {parcel->open_messages().size(), parcel->messages_size()};
    }
    return size;
  }
  const auto names = ops.list(row.path + "/items");
  size.messages = names.is_ok() ? names->size() : 0;
  if (const auto info = ops.stat(row.path + "/entity"); info.is_ok()) {
    size.octets = info->size;
  }
  return size;
}

// "" also for parcels that nobody acknowledges.
struct Receipt {
  std::string word;
  std::string handed;
  std::uint64_t resends = 0;
};
Receipt receipt_of(const spool::Spool& spool, const ParcelRow& row) {
  Receipt receipt;
  const auto text = os::read_file(spool.ops(), row.path + "/state", spool::kMaxFieldsFile);
  const auto state = text.is_ok() ? spool::Fields::parse(*text, row.path) : text.status();
  if (state.is_ok()) {
    receipt.word = receipt_word(*state);
    receipt.resends = state->get_number("resends");
    if (const auto handed = state->get_time("handed")) {
      receipt.handed = time_text(*handed);
    }
  }
  return receipt;
}

Status show_outbound(Context& context, const spool::Spool& spool, const ParcelRow& row,
                     Json& json) {
  const auto stage =
      std::find_if(spool::kStages.begin(), spool::kStages.end(),
                   [&](spool::Stage s) { return spool::stage_name(s) == row.where; });
  const auto state = spool::ParcelDir::peek_state(spool, row.peer, *stage, row.id);
  json.key("state").object();
  if (state.is_ok()) {
    for (const auto& [key, value] : state->all()) {
      // The return token is what makes a forged bounce impossible; it stays in the spool.
      if (key != "token") {
        json.field(key, value);
        if (!context.json) {
          context.out << "  " << key << ": " << printable(value) << "\n";
        }
      }
    }
  }
  json.end().key("messages").array();
  TRY_ASSIGN(const auto ids, spool::list_ids(spool.ops(), row.path + "/items"));
  for (const std::string& id : ids) {
    const auto item = spool::ItemReader::open(spool.ops(), str_cat({row.path, "/items/", id}));
    if (!item.is_ok()) {
      context.err << "bsmtpctl: " << item.status().text() << "\n";
      continue;
    }
    json.object().field("item", id).count("octets", item->item_size());
    envelope_json(json, item->envelope());
    json.end();
    if (!context.json) {
      context.out << "  " << id << "  <" << printable(item->envelope().sender, 320) << "> -> "
                  << item->envelope().recipients.size() << " recipients, " << item->item_size()
                  << " octets\n";
    }
  }
  json.end();
  return Status::ok();
}

Status show_inbound(Context& context, const spool::Spool& spool, const ParcelRow& row, Json& json) {
  TRY_ASSIGN(const auto parcel, spool::AcceptedParcel::load(spool.ops(), row.path));
  const spool::AcceptedMeta& meta = parcel.meta();
  json.field("digest", meta.digest)
      .field("fingerprint", meta.fingerprint)
      .field("accepted", time_text(meta.accepted))
      .field("queue_id", meta.queue_id)
      .key("messages")
      .array();
  if (!context.json) {
    context.out << "  accepted   " << time_text(meta.accepted) << ", MTA queue id "
                << printable(meta.queue_id) << "\n  signed by  " << meta.fingerprint
                << "\n  digest     " << meta.digest << "\n";
  }
  for (std::size_t i = 0; i < meta.messages.size(); ++i) {
    const auto& message = meta.messages[i];
    const std::string name = spool::accepted_message_name(i + 1);
    json.object()
        .field("name", name)
        .count("octets", message.text_bytes)
        .field("text_digest", message.text_digest)
        .count("refused", message.refused.size());
    const auto& open = parcel.open_messages();
    const bool finished = !std::binary_search(open.begin(), open.end(), i + 1);
    json.flag("finished", finished);
    const auto item = parcel.open_message(i + 1);
    if (item.is_ok()) {
      envelope_json(json, item->envelope());
    } else {
      json.field("damaged", item.status().text());
    }
    json.end();
    if (!context.json) {
      context.out << "  " << name << "  <"
                  << (item.is_ok() ? printable(item->envelope().sender, 320) : "?") << "> "
                  << message.text_bytes << " octets" << (finished ? ", finished" : "")
                  << (item.is_ok() ? "" : ", damaged: " + printable(item.status().text()))
                  << (message.refused.empty() ? "" : ", refused by policy") << "\n";
      for (const auto& refusal : message.refused) {
        context.out << "    " << refusal.code << " " << printable(refusal.text) << "\n";
      }
    }
  }
  json.end();
  return Status::ok();
}

}  // namespace

Result<int> parcel_list(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const spool::Spool spool, open_spool(context));
  TRY_ASSIGN(const auto peers, chosen_peers(context, arguments, spool));
  TRY_ASSIGN(const auto rows, all_parcels(spool, peers));
  const TimePoint now = context.clock.now();
  Table table({"STAGE", "PEER", "PARCEL", "AGE", "MESSAGES", "SIZE", "RECEIPT"});
  Json json;
  json.array();
  for (const ParcelRow& row : rows) {
    const ParcelSize size = size_of(spool.ops(), row);
    const TimePoint made = id_time(row.id).value_or(now);
    const Receipt receipt = is_inbound(row) ? Receipt() : receipt_of(spool, row);
    table.add({row.where, row.peer, row.id, age_text(made, now), std::to_string(size.messages),
               bytes_text(size.octets),
               receipt.resends == 0 ? receipt.word
                                    : str_cat({receipt.word, ", sent again ",
                                               std::to_string(receipt.resends), "x"})});
    json.object()
        .field("stage", row.where)
        .field("peer", row.peer)
        .field("id", row.id)
        .field("created", time_text(made))
        .count("messages", size.messages)
        .count("octets", size.octets)
        .field("receipt", receipt.word)
        .field("handed", receipt.handed)
        .count("resends", receipt.resends)
        .end();
  }
  if (context.json) {
    context.out << json.end().text();
  } else if (table.empty()) {
    context.out << "no parcels\n";
  } else {
    table.print(context.out);
  }
  return kExitOk;
}

Result<int> parcel_show(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const spool::Spool spool, open_spool(context));
  TRY_ASSIGN(const auto peers, spool.peers());
  TRY_ASSIGN(const auto rows, all_parcels(spool, peers));
  const std::string& word = arguments.word(0);
  std::vector<ParcelRow> found;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(found),
               [&](const ParcelRow& row) { return begins_with(row.id, word); });
  if (found.empty()) {
    return Status::permanent("5.1.1", "no parcel " + printable(word, 60) +
                                          " in the spool; `bsmtpctl parcel list` shows all");
  }
  if (found.size() > 1) {
    return ambiguous_id(word);
  }
  const ParcelRow& row = found.front();
  Json json;
  json.object()
      .field("id", row.id)
      .field("stage", row.where)
      .field("peer", row.peer)
      .field("directory", row.path);
  if (!context.json) {
    context.out << "parcel " << row.id << "\n  stage      " << row.where << "\n  peer       "
                << row.peer << "\n  directory  " << row.path << "\n";
  }
  TRY(is_inbound(row) ? show_inbound(context, spool, row, json)
                      : show_outbound(context, spool, row, json));
  if (context.json) {
    context.out << json.end().text();
  }
  return kExitOk;
}

}  // namespace bsmtp::mda::ctl

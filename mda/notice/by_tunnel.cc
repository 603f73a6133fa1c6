// See by_tunnel.h.
#include "mda/notice/by_tunnel.h"

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/rewrite/export_map.h"

namespace bsmtp::mda {

Result<std::string> send_by_tunnel(const config::Config& config, const spool::Spool& spool,
                                   const spool::ItemReader& notice, TimePoint now) {
  const mail::Envelope& envelope = notice.envelope();
  if (envelope.recipients.size() != 1) {
    return std::string();
  }
  const std::string& address = envelope.recipients.front().address;
  const auto map = rewrite::ExportedMap::open(config.export_map);
  if (!map.is_ok()) {
    return map.status();
  }
  const auto name = map->find(address.substr(address.rfind('@') + 1));
  const config::Peer* const peer = name ? config.find_peer(*name) : nullptr;
  if (peer == nullptr || peer->state != config::PeerState::kOn) {
    return std::string();
  }
  std::string id;
  TRY_ASSIGN(id, make_id(now));
  spool::ItemWriter::Options options;
  options.tmp_path = str_cat({spool.paths().tmp(peer->name), "/", id});
  options.final_path = spool.paths().item(peer->name, id);
  options.final_dir = spool.paths().incoming(peer->name);
  options.text.max_received = 1000;  // a returned message has Received lines of its own
  auto writer = spool::ItemWriter::create(spool.ops(), envelope, std::move(options));
  if (!writer.is_ok()) {
    return writer.status();
  }
  const auto text = notice.plain_text();
  TRY(copy(*text, *writer).status());
  TRY(writer->commit());
  return str_cat({"queued as ", id, " for ", peer->name});
}

}  // namespace bsmtp::mda

// bsmtpctl peer ... and the one place that writes below peers.d.
#include <algorithm>
#include <array>
#include <filesystem>

#include "common/base/text.h"
#include "common/os/fd_stream.h"
#include "common/os/file_ops.h"
#include "common/spool/spool.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_identity.h"
#include "mda/ctl/ctl_output.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::size_t kMaxPeerFile = 1U << 20U;

std::string_view state_word(config::PeerState state) {
  constexpr std::array<std::string_view, 4> kWords = {"off", "receive", "on", "stopping"};
  return kWords.at(static_cast<std::size_t>(state));
}

Status put_back(os::FileOps& ops, const std::string& directory, const std::string& name,
                bool existed, const std::string& old) {
  if (existed) {
    return os::write_file_atomically(ops, directory, directory, name, old, 0644);
  }
  return os::remove_if_exists(ops, directory + "/" + name);
}

// A value that would end its line or begin a comment cannot be written.
Status check_value(const PeerLine& line) {
  const bool bad = std::any_of(line.value.begin(), line.value.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == '#' || c == 0x7f;
  });
  if (bad || trim(line.value).empty()) {
    return Status::permanent("5.5.4", str_cat({line.key, ": '", printable(line.value, 60),
                                               "' cannot be written to a configuration file"}));
  }
  return Status::ok();
}

}  // namespace

Status write_peer_lines(const Context& context, const std::string& peer,
                        const std::vector<PeerLine>& lines) {
  const PublicFiles readable_by_all;
  os::FileOps& ops = os::real_file_ops();
  const std::string main_file = context.config->files.front();
  const std::filesystem::path parent = std::filesystem::path(main_file).parent_path();
  const std::string directory = (parent / "peers.d").string();
  TRY(os::ensure_directory(ops, directory, 0755));
  const std::string name = peer + ".conf";
  const std::string file = directory + "/" + name;
  TRY_ASSIGN(const bool existed, os::exists(ops, file));
  std::string old;
  if (existed) {
    TRY_ASSIGN(old, os::read_file(ops, file, kMaxPeerFile));
  }
  std::string text = existed ? old : "# Peer " + peer + "; written by bsmtpctl.\n";
  if (!text.empty() && text.back() != '\n') {
    text += "\n";
  }
  text += "[peer." + peer + "]\n";
  for (const PeerLine& line : lines) {
    TRY(check_value(line));
    text += str_cat({line.key, " = ", line.value, "\n"});
  }
  TRY(os::write_file_atomically(ops, directory, directory, name, text, 0644));
  if (const auto loaded = config::load(context.config_file); !loaded.is_ok()) {
    TRY(put_back(ops, directory, name, existed, old));
    return Status::permanent(
        "5.5.4", "nothing changed, the configuration would not load: " + loaded.status().text());
  }
  return Status::ok();
}

Result<std::string> read_user_file(const std::string& path, std::size_t limit) {
  if (path != "-") {
    TRY_ASSIGN(os::File file, os::real_file_ops().open(path, O_RDONLY | O_NOCTTY, 0));
    os::FileSource source(os::real_file_ops(), file);
    StringSink sink(limit);
    TRY(copy(source, sink).status());
    return sink.take();
  }
  os::FdSource source(0, "standard input");
  StringSink sink(limit);
  TRY(copy(source, sink).status());
  return sink.take();
}

Result<int> peer_list(Context& context, const Arguments& /*arguments*/) {
  Table table({"PEER", "STATE", "PARCEL ADDRESS", "TAG", "KEYS", "MAY DELIVER TO"});
  Json json;
  json.array();
  for (const config::Peer& peer : context.config->peers) {
    const std::string keys =
        peer.openpgp_keys.empty()
            ? (peer.require == config::Require::kTransport ? "transport" : "none")
            : std::to_string(peer.openpgp_keys.size());
    const std::string domains = join(peer.recipient_domains, " ");
    table.add({peer.name, std::string(state_word(peer.state)), peer.parcel_address(), peer.tag,
               keys, domains});
    json.object()
        .field("peer", peer.name)
        .field("state", state_word(peer.state))
        .field("parcel_address", peer.parcel_address())
        .field("tag", peer.tag)
        .field("recipient_domains", domains)
        .key("openpgp_keys")
        .array();
    for (const std::string& key : peer.openpgp_keys) {
      json.string(key);
    }
    json.end().end();
  }
  if (context.json) {
    context.out << json.end().text();
  } else if (table.empty()) {
    context.out << "no peers; add one with `bsmtpctl peer add`\n";
  } else {
    table.print(context.out);
  }
  return kExitOk;
}

Result<int> peer_add(Context& context, const Arguments& arguments) {
  const std::string name = arguments.word(0);
  if (context.config->find_peer(name) != nullptr) {
    return Status::permanent("5.5.4", "peer " + name + " is configured already; edit its file");
  }
  const bool good_name = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
  if (!good_name) {
    return Status::permanent("5.5.4", str_cat({"'", printable(name, 60),
                                               "' is no peer name: lower-case letters, digits "
                                               "and hyphens, at most 32"}));
  }
  const std::string root = context.config->spool_directory;
  TRY(refuse_among_others(*context.config, root));
  std::vector<PeerLine> lines = {{"host", arguments.value("host")}};
  for (const char* key : {"user", "profile", "sender-domains", "recipient-domains"}) {
    if (arguments.has(key)) {
      lines.push_back({key, arguments.value(key)});
    }
  }
  TRY(write_peer_lines(context, name, lines));
  const Status made = step_as_owner_of(
      root, [&] { return spool::Spool::create_layout(os::real_file_ops(), root, {name}); });
  TRY(made);
  if (context.json) {
    context.out << Json().object().field("peer", name).flag("added", true).end().text();
  } else {
    context.out << "Added peer " << name << ". Next: `bsmtpctl key import FILE --peer " << name
                << "`, a rewrite rule with the tag BSOUT-" << to_upper(name)
                << ", `bsmtpctl config check`.\n";
  }
  return kExitOk;
}

}  // namespace bsmtp::mda::ctl

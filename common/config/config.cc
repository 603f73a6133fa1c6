#include "common/config/config.h"

#include <sys/stat.h>

#include <algorithm>
#include <boost/program_options/errors.hpp>
#include <boost/program_options/parsers.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "common/base/text.h"
#include "common/base/version.h"
#include "common/config/schema.h"

namespace bsmtp::config {
namespace {

namespace po = boost::program_options;

constexpr std::size_t kMaxFile = 4U << 20U;
constexpr std::string_view kPeerPrefix = "peer.";

Status bad(std::string text) {
  return Status::temporary("4.3.5", std::move(text));
}

std::string at(const std::string& name, std::size_t line) {
  return name + ":" + std::to_string(line);
}

// Boost's parser gives values without line numbers. This finds the line of each value by the same
// surface rules (# starts a comment, [section], key = value), and the first line that is none of
// those.
struct Lines {
  std::vector<std::size_t> of_value;
  std::size_t bad_line = 0;
  std::string bad_text;
};

Lines find_lines(std::string_view text) {
  Lines out;
  std::size_t number = 0;
  for (auto line : split(text, '\n')) {
    ++number;
    line = trim(line.substr(0, line.find('#')));
    if (line.empty() || (line.front() == '[' && line.back() == ']')) {
      continue;
    }
    if (line.find('=') == std::string_view::npos || line.front() == '=') {
      if (out.bad_line == 0) {
        out.bad_line = number;
        out.bad_text = line;
      }
      continue;
    }
    out.of_value.push_back(number);
  }
  return out;
}

template <typename T>
const Key<T>* find_key(std::span<const Key<T>> keys, std::string_view name) {
  const auto it =
      std::find_if(keys.begin(), keys.end(), [&](const Key<T>& k) { return k.name == name; });
  return it == keys.end() ? nullptr : &*it;
}

template <typename T>
std::string nearest(std::span<const Key<T>> keys, std::string_view name) {
  std::string best;
  std::size_t distance = 4;
  for (const auto& k : keys) {
    const std::size_t d = edit_distance(k.name, name);
    if (d < distance) {
      distance = d;
      best = k.name;
    }
  }
  return best.empty() ? "; `bsmtpctl config describe` lists all keys"
                      : "; did you mean '" + best + "'?";
}

bool is_peer_name(std::string_view name) {
  return !name.empty() && name.size() <= 32 && name.front() != '-' && name.back() != '-' &&
         name != "never" && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

class Loader {
 public:
  Status add(std::string_view text, const std::string& name, bool peers_only);
  Result<Config> finish();

 private:
  Status add_value(const std::string& key, std::string_view value, const std::string& where,
                   bool peers_only);
  Status add_peer_value(std::string_view rest, std::string_view value, const std::string& where);
  template <typename T>
  Status set(const Key<T>& key, T& object, const std::string& full, std::string_view value,
             const std::string& where);

  Config config_;
  std::set<std::string> seen_;
};

template <typename T>
Status Loader::set(const Key<T>& key, T& object, const std::string& full, std::string_view value,
                   const std::string& where) {
  const bool repeatable = key.kind == Kind::kList || key.kind == Kind::kFingerprints;
  if (!seen_.insert(full).second && !repeatable) {
    return bad(str_cat({where, ": '", full, "' was set before; remove one of the two lines"}));
  }
  return set_value(key, object, value).with_context(str_cat({where, ": ", full}));
}

Status Loader::add_peer_value(std::string_view rest, std::string_view value,
                              const std::string& where) {
  const auto dot = rest.find('.');
  const std::string name(rest.substr(0, dot));
  const std::string key_name(dot == std::string_view::npos ? "" : rest.substr(dot + 1));
  if (!is_peer_name(name)) {
    return bad(str_cat({where, ": '", printable(name, 40),
                        "' is not a peer's name: 1 to 32 lower-case letters, digits or hyphens, "
                        "and not 'never'"}));
  }
  const auto* key = find_key(peer_keys(), key_name);
  if (key == nullptr) {
    return bad(str_cat({where, ": unknown key '", printable(key_name, 60), "' of peer ", name,
                        nearest(peer_keys(), key_name)}));
  }
  auto it = std::find_if(config_.peers.begin(), config_.peers.end(),
                         [&](const Peer& p) { return p.name == name; });
  if (it == config_.peers.end()) {
    Peer peer;
    peer.name = name;
    config_.peers.push_back(std::move(peer));
    it = config_.peers.end() - 1;
  }
  return set(*key, *it, str_cat({kPeerPrefix, name, ".", key_name}), value, where);
}

Status Loader::add_value(const std::string& key, std::string_view value, const std::string& where,
                         bool peers_only) {
  if (key.starts_with(kPeerPrefix)) {
    return add_peer_value(std::string_view(key).substr(kPeerPrefix.size()), value, where);
  }
  const auto* global = find_key(global_keys(), key);
  if (global == nullptr) {
    return bad(
        str_cat({where, ": unknown key '", printable(key, 60), "'", nearest(global_keys(), key)}));
  }
  if (peers_only) {
    return bad(str_cat({where, ": '", key,
                        "' belongs into bsmtp.conf; files below peers.d hold [peer.NAME] sections "
                        "only"}));
  }
  return set(*global, config_, key, value, where);
}

Status Loader::add(std::string_view text, const std::string& name, bool peers_only) {
  config_.files.push_back(name);
  if (text.find('\0') != std::string_view::npos) {
    return bad(name + ": contains a NUL octet; this is not a configuration file");
  }
  const Lines lines = find_lines(text);
  if (lines.bad_line != 0) {
    return bad(str_cat({at(name, lines.bad_line), ": '", printable(lines.bad_text, 60),
                        "' is neither 'key = value' nor '[peer.NAME]'"}));
  }
  try {
    std::istringstream in{std::string(text)};
    const auto parsed = po::parse_config_file(in, po::options_description(), true);
    if (parsed.options.size() != lines.of_value.size()) {
      return bad(name + ": cannot tell sections from values; check brackets and '=' signs");
    }
    for (std::size_t i = 0; i < parsed.options.size(); ++i) {
      const auto& option = parsed.options[i];
      const std::string value = option.value.empty() ? "" : option.value.front();
      TRY(add_value(option.string_key, trim(value), at(name, lines.of_value[i]), peers_only));
    }
  } catch (const po::error& e) {
    return bad(str_cat({name, ": ", printable(e.what(), 200)}));
  }
  return Status::ok();
}

// Two peers may share nothing that tells them apart.
Status check_distinct(const std::vector<Peer>& peers) {
  std::set<std::string> tags;
  std::set<std::string> channels;
  std::set<std::string> addresses;
  std::set<std::string> keys;
  for (const auto& p : peers) {
    if (!tags.insert(to_lower(p.tag)).second) {
      return bad(str_cat({"peer ", p.name, ": another peer has the tag ", p.tag, " too"}));
    }
    if (!channels.insert(to_lower(p.channel)).second) {
      return bad(str_cat({"peer ", p.name, ": another peer has the channel ", p.channel, " too"}));
    }
    if (!addresses.insert(to_lower(p.parcel_address())).second) {
      return bad(str_cat(
          {"peer ", p.name, ": another peer has the parcel address ", p.parcel_address(), " too"}));
    }
    for (const auto& k : p.openpgp_keys) {
      if (!keys.insert(k).second) {
        return bad(str_cat({"peer ", p.name, ": the key ", k,
                            " stands under another peer too; a key must name one peer"}));
      }
    }
  }
  return Status::ok();
}

Status complete_peer(const Config& config, Peer& p) {
  const std::string who = "peer " + p.name + ": ";
  if (p.host.empty()) {
    return bad(who + "no host; add 'host = gateway.example.com' to its section");
  }
  if (p.recipient_domains.empty()) {
    return bad(who +
               "no recipient-domains; say where this peer's mail may go, for example "
               "'recipient-domains = domain.com .domain.com'");
  }
  if (iequals(p.parcel_address(), config.parcel_address())) {
    return bad(who + "its parcel address is this gateway's own");
  }
  if (p.annotate && p.require != Require::kTransport) {
    return bad(who + "annotate goes only with require = transport; it changes messages");
  }
  if (p.wants_receipts() && p.profile != Profile::kNative) {
    return bad(who + "receipts = yes goes only with profile = native; older gateways know none");
  }
  if (p.receipts.empty()) {
    p.receipts = p.profile == Profile::kNative ? "yes" : "no";
  }
  if (p.tag.empty()) {
    p.tag = "BSOUT-" + to_upper(p.name);
  }
  if (p.channel.empty()) {
    p.channel = "bsout_" + p.name;
  }
  return Status::ok();
}

// A client without the host's trust that says the host's own name is refused at many sites.
std::string default_helo(const Config& config) {
  if (config.resubmit.starts_with("smtp://127.")) {
    return "[127.0.0.1]";
  }
  return config.resubmit.starts_with("smtp://[::1]") ? "[IPv6:::1]" : config.host;
}

Result<Config> Loader::finish() {
  if (config_.host.empty()) {
    return bad(config_.files.front() + ": no host; add 'host = ' with this gateway's name");
  }
  if (config_.own_domains.empty()) {
    config_.own_domains.push_back(config_.host);
  }
  if (config_.resubmit_helo.empty()) {
    config_.resubmit_helo = default_helo(config_);
  }
  for (auto& p : config_.peers) {
    TRY(complete_peer(config_, p));
  }
  TRY(check_distinct(config_.peers));
  if (config_.retry_maximum < config_.retry_initial) {
    return bad("retry-maximum is shorter than retry-initial");
  }
  static constexpr std::string_view kLevels[] = {"debug", "info", "warn", "error"};
  if (std::find(std::begin(kLevels), std::end(kLevels), config_.log_level) == std::end(kLevels)) {
    return bad(str_cat({"log-level: '", printable(config_.log_level, 40),
                        "' is not one of: debug, info, warn, error"}));
  }
  if (config_.sandbox != "auto" && config_.sandbox != "on" && config_.sandbox != "off") {
    return bad(
        str_cat({"sandbox: '", printable(config_.sandbox, 40), "' is not one of: auto, on, off"}));
  }
  return std::move(config_);
}

Result<std::string> read_file(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) {
    const int e = errno;
    return bad(str_cat({"cannot read ", path, ": ", std::generic_category().message(e),
                        e == ENOENT ? "; create it (bsmtpctl config describe prints a sample)"
                                    : "; check its owner and mode"}));
  }
  if (!S_ISREG(st.st_mode) || static_cast<std::size_t>(st.st_size) > kMaxFile) {
    return bad(path + " is not a file of at most 4 MiB");
  }
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in) {
    return bad("cannot read " + path + "; check its owner and mode");
  }
  return text;
}

Result<std::vector<std::string>> peer_files(const std::string& directory) {
  std::vector<std::string> out;
  std::error_code ec;
  if (!std::filesystem::exists(directory, ec)) {
    if (ec) {
      return bad(str_cat({"cannot read ", directory, ": ", ec.message()}));
    }
    return out;
  }
  std::filesystem::directory_iterator it(directory, ec);
  for (; !ec && it != std::filesystem::directory_iterator(); it.increment(ec)) {
    const auto& p = it->path();
    if (p.extension() == ".conf" && !p.filename().string().starts_with('.')) {
      out.push_back(p.string());
    }
  }
  if (ec) {
    return bad(str_cat({"cannot read ", directory, ": ", ec.message()}));
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

const Peer* Config::find_peer(std::string_view name) const {
  const auto it = std::find_if(peers.begin(), peers.end(),
                               [&](const Peer& p) { return iequals(p.name, name); });
  return it == peers.end() ? nullptr : &*it;
}

const Peer* Config::peer_for_argument(std::string_view text) const {
  constexpr std::string_view kSuffix = ".bsmtp.invalid";
  if (text.ends_with('.')) {  // a host of sendmail's may have its final dot
    text.remove_suffix(1);
  }
  if (iends_with(text, kSuffix)) {
    text.remove_suffix(kSuffix.size());
    if (istarts_with(text, "never.")) {
      text.remove_prefix(6);
    }
  }
  return find_peer(text);
}

const Peer* Config::peer_for_tag(std::string_view tag) const {
  const auto it =
      std::find_if(peers.begin(), peers.end(), [&](const Peer& p) { return iequals(p.tag, tag); });
  return it == peers.end() ? nullptr : &*it;
}

Result<Config> parse(std::string_view text, const std::string& name) {
  Loader loader;
  TRY(loader.add(text, name, false));
  return loader.finish();
}

Result<Config> load(const std::string& file) {
  const std::string path =
      file.empty() ? std::string(kDefaultConfigDirectory) + "/bsmtp.conf" : file;
  Loader loader;
  TRY_ASSIGN(const std::string text, read_file(path));
  TRY(loader.add(text, path, false));
  const auto directory = std::filesystem::path(path).parent_path() / "peers.d";
  TRY_ASSIGN(const auto more, peer_files(directory.string()));
  for (const auto& p : more) {
    TRY_ASSIGN(const std::string peer_text, read_file(p));
    TRY(loader.add(peer_text, p, true));
  }
  return loader.finish();
}

}  // namespace bsmtp::config

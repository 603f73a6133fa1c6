// The text forms of values: how a key's text is read and checked, and how `bsmtpctl config
// describe|show` writes it. See schema.h; the table itself stands in schema.cc.
#include <algorithm>
#include <array>

#include "common/base/text.h"
#include "common/base/units.h"
#include "common/config/schema.h"

namespace bsmtp::config {
namespace {

constexpr std::array<std::string_view, 4> kStates{"off", "receive", "on", "stopping"};
constexpr std::array<std::string_view, 4> kProfiles{"rfc2442", "pmdf-gzip", "pmdf-signed",
                                                    "native"};
constexpr std::array<std::string_view, 2> kRequires{"signature", "transport"};

Status bad(std::string text) {
  return Status::temporary("4.3.5", std::move(text));
}

template <typename Enum, std::size_t N>
Status set_choice(const std::array<std::string_view, N>& words, std::string_view text, Enum& out) {
  for (std::size_t i = 0; i < N; ++i) {
    if (iequals(words.at(i), text)) {
      out = static_cast<Enum>(i);
      return Status::ok();
    }
  }
  std::vector<std::string> all(words.begin(), words.end());
  return bad(str_cat({"'", printable(text, 60), "' is not one of: ", join(all, ", ")}));
}

Status in_range(std::uint64_t value, std::uint64_t lo, std::uint64_t hi, std::string_view text,
                Kind kind) {
  if (value >= lo && value <= hi) {
    return Status::ok();
  }
  const auto shown = [&](std::uint64_t v) {
    return kind == Kind::kDuration ? format_duration(seconds(static_cast<std::int64_t>(v)))
           : kind == Kind::kSize   ? format_size(v)
                                   : std::to_string(v);
  };
  return bad(str_cat({"'", printable(text, 60), "' is out of range: at least ", shown(lo),
                      hi == UINT64_MAX ? std::string() : ", at most " + shown(hi)}));
}

Status check_text(Kind kind, std::string_view text, std::uint64_t maximum) {
  if (text.empty()) {
    return bad("the value is empty; remove the line to get the default");
  }
  const bool inner_blank = text.find_first_of(" \t") != std::string_view::npos;
  const bool is_control = std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
  if (inner_blank || is_control) {
    return bad(str_cat({"'", printable(text, 60), "' contains a blank or control character"}));
  }
  if (kind == Kind::kPath && !text.starts_with('/')) {
    return bad(str_cat({"'", printable(text, 60), "' is not an absolute path"}));
  }
  if (kind == Kind::kPath && text.size() > maximum) {
    return bad(
        str_cat({"the path '", printable(text, 120), "' is longer than ", std::to_string(maximum),
                 " octets: GnuPG's sockets below it would not work; choose a shorter one"}));
  }
  if (kind == Kind::kDomain && (text.size() > 253 || text.find('.') == std::string_view::npos ||
                                text.find_first_of("@%!<>\"/\\") != std::string_view::npos ||
                                text.starts_with('.') || text.ends_with('.'))) {
    return bad(str_cat({"'", printable(text, 60),
                        "' is not a fully qualified host name, such as hub.domain.com"}));
  }
  if (kind == Kind::kUrl && !text.starts_with("smtp://")) {
    return bad(str_cat({"'", printable(text, 60), "' is not of the form smtp://HOST:PORT"}));
  }
  return Status::ok();
}

Status add_fingerprint(std::string_view text, std::vector<std::string>& out) {
  std::string hex;
  for (char c : text) {
    if (c != ' ' && c != '\t') {
      hex += ascii_upper(c);
    }
  }
  const bool all_hex = std::all_of(hex.begin(), hex.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
  });
  if (hex.size() != 40 || !all_hex) {
    return bad(str_cat({"'", printable(text, 80),
                        "' is not a fingerprint of 40 hexadecimal digits; "
                        "`bsmtpctl key fingerprint` prints it"}));
  }
  if (std::find(out.begin(), out.end(), hex) == out.end()) {
    out.push_back(std::move(hex));
  }
  return Status::ok();
}

Status set_number(Kind kind, std::uint64_t lo, std::uint64_t hi, std::string_view text,
                  std::uint64_t& out) {
  std::uint64_t value = 0;
  if (kind == Kind::kSize) {
    TRY_ASSIGN(value, parse_size(text));
  } else if (kind == Kind::kOctal) {
    for (char c : text) {
      if (c < '0' || c > '7' || value > 0777) {
        return bad(str_cat({"'", printable(text, 60), "' is not an octal mode such as 0660"}));
      }
      value = value * 8 + static_cast<std::uint64_t>(c - '0');
    }
  } else {
    const auto n = parse_u64(text);
    if (!n) {
      return bad(str_cat({"'", printable(text, 60), "' is not a whole number"}));
    }
    value = *n;
  }
  TRY(in_range(value, lo, hi, text, kind));
  out = value;
  return Status::ok();
}

Status set_flag(std::string_view text, bool& out) {
  for (std::string_view yes : {"yes", "on", "true", "1"}) {
    if (iequals(text, yes)) {
      out = true;
      return Status::ok();
    }
  }
  for (std::string_view no : {"no", "off", "false", "0"}) {
    if (iequals(text, no)) {
      out = false;
      return Status::ok();
    }
  }
  return bad(str_cat({"'", printable(text, 60), "' is not yes or no"}));
}

template <typename T>
struct Setter {
  const Key<T>& key;
  T& object;
  std::string_view text;

  Status operator()(std::string T::*m) const {
    if (key.kind == Kind::kFlag) {  // one whose default depends on other keys
      bool flag = false;
      TRY(set_flag(text, flag));
      object.*m = flag ? "yes" : "no";
      return Status::ok();
    }
    TRY(check_text(key.kind, text, key.maximum));
    object.*m = text;
    return Status::ok();
  }
  Status operator()(std::uint64_t T::*m) const {
    return set_number(key.kind, key.minimum, key.maximum, text, object.*m);
  }
  Status operator()(seconds T::*m) const {
    TRY_ASSIGN(const seconds value, parse_duration(text));
    TRY(in_range(static_cast<std::uint64_t>(value.count()), key.minimum, key.maximum, text,
                 key.kind));
    object.*m = value;
    return Status::ok();
  }
  Status operator()(bool T::*m) const { return set_flag(text, object.*m); }
  Status operator()(std::vector<std::string> T::*m) const {
    if (key.kind == Kind::kFingerprints) {
      return add_fingerprint(text, object.*m);
    }
    for (auto word : split_blank(text)) {
      (object.*m).emplace_back(word);
    }
    return Status::ok();
  }
  Status operator()(PeerState T::*m) const { return set_choice(kStates, text, object.*m); }
  Status operator()(Profile T::*m) const { return set_choice(kProfiles, text, object.*m); }
  Status operator()(Require T::*m) const { return set_choice(kRequires, text, object.*m); }
};

template <typename T>
struct Getter {
  const Key<T>& key;
  const T& object;

  std::string operator()(std::string T::*m) const { return object.*m; }
  std::string operator()(std::uint64_t T::*m) const {
    const std::uint64_t v = object.*m;
    if (key.kind == Kind::kOctal) {
      std::string out;
      for (std::uint64_t rest = v; rest != 0; rest /= 8) {
        out.insert(out.begin(), static_cast<char>('0' + rest % 8));
      }
      return "0" + out;
    }
    return key.kind == Kind::kSize ? format_size(v) : std::to_string(v);
  }
  std::string operator()(seconds T::*m) const { return format_duration(object.*m); }
  std::string operator()(bool T::*m) const { return object.*m ? "yes" : "no"; }
  std::string operator()(std::vector<std::string> T::*m) const { return join(object.*m, " "); }
  std::string operator()(PeerState T::*m) const {
    return std::string(kStates.at(static_cast<std::size_t>(object.*m)));
  }
  std::string operator()(Profile T::*m) const {
    return std::string(kProfiles.at(static_cast<std::size_t>(object.*m)));
  }
  std::string operator()(Require T::*m) const {
    return std::string(kRequires.at(static_cast<std::size_t>(object.*m)));
  }
};

template <typename T>
void describe_key(const Key<T>& key, const T& defaults, std::string& out) {
  out += "# ";
  out += key.help;
  if (key.kind == Kind::kChoice) {
    if constexpr (std::is_same_v<T, Peer>) {
      std::vector<std::string> words;
      for (auto w : choices(key.member)) {
        words.emplace_back(w);
      }
      out += " (" + join(words, " | ") + ")";
    }
  } else {
    out += str_cat({" (", kind_name(key.kind), ")"});
  }
  const std::string value = get_value(key, defaults);
  out += str_cat({"\n", key.required ? "" : "#", key.name, " = ",
                  value.empty() && key.required ? "..." : value, "\n"});
}

template <typename T>
void show_keys(std::span<const Key<T>> keys, const T& object, std::string& out) {
  for (const auto& key : keys) {
    const std::string value = get_value(key, object);
    if (value.empty()) {
      continue;
    }
    if (key.kind == Kind::kFingerprints) {
      for (auto word : split_blank(value)) {
        out += str_cat({key.name, " = ", word, "\n"});
      }
    } else {
      out += str_cat({key.name, " = ", value, "\n"});
    }
  }
}

template <typename T>
std::string json_keys(std::span<const Key<T>> keys, const T& object) {
  std::string out;
  for (const auto& key : keys) {
    if (!out.empty()) {
      out += ", ";
    }
    out += json_quote(key.name) + ": " + json_quote(get_value(key, object));
  }
  return out;
}

}  // namespace

std::vector<std::string_view> choices(const Member<Peer>& member) {
  if (std::holds_alternative<PeerState Peer::*>(member)) {
    return {kStates.begin(), kStates.end()};
  }
  if (std::holds_alternative<Profile Peer::*>(member)) {
    return {kProfiles.begin(), kProfiles.end()};
  }
  if (std::holds_alternative<Require Peer::*>(member)) {
    return {kRequires.begin(), kRequires.end()};
  }
  return {};
}

Status set_value(const Key<Config>& key, Config& config, std::string_view text) {
  return std::visit(Setter<Config>{key, config, text}, key.member);
}
Status set_value(const Key<Peer>& key, Peer& peer, std::string_view text) {
  return std::visit(Setter<Peer>{key, peer, text}, key.member);
}
std::string get_value(const Key<Config>& key, const Config& config) {
  return std::visit(Getter<Config>{key, config}, key.member);
}
std::string get_value(const Key<Peer>& key, const Peer& peer) {
  return std::visit(Getter<Peer>{key, peer}, key.member);
}

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kText:
      return "word";
    case Kind::kPath:
      return "absolute path";
    case Kind::kDomain:
      return "host name";
    case Kind::kAddress:
      return "address";
    case Kind::kUrl:
      return "smtp://HOST:PORT";
    case Kind::kSize:
      return "octets, suffix K, M, G";
    case Kind::kDuration:
      return "duration, suffix s, m, h, d, w";
    case Kind::kCount:
      return "number";
    case Kind::kOctal:
      return "octal mode";
    case Kind::kFlag:
      return "yes or no";
    case Kind::kChoice:
      return "choice";
    case Kind::kList:
      return "list, blank-separated; may be repeated";
    case Kind::kFingerprints:
      return "fingerprint; may be repeated";
  }
  return "";
}

std::string describe() {
  std::string out =
      "# bsmtp.conf: every key of the bsmtp-tunnel suite with its default. A # starts a comment\n"
      "# anywhere in a line. Further peers may stand in peers.d/*.conf beside this file.\n\n";
  const Config defaults;
  for (const auto& key : global_keys()) {
    describe_key(key, defaults, out);
  }
  out += "\n# One section for each peer; the name is lower-case letters, digits and hyphens.\n";
  out += "[peer.remote1]\n";
  const Peer peer;
  for (const auto& key : peer_keys()) {
    describe_key(key, peer, out);
  }
  return out;
}

std::string show(const Config& config) {
  std::string out;
  show_keys(global_keys(), config, out);
  for (const auto& peer : config.peers) {
    out += str_cat({"\n[peer.", peer.name, "]\n"});
    show_keys(peer_keys(), peer, out);
  }
  return out;
}

std::string show_json(const Config& config) {
  std::string out = "{" + json_keys(global_keys(), config) + ", \"peers\": [";
  for (std::size_t i = 0; i < config.peers.size(); ++i) {
    out += str_cat({i == 0 ? "" : ", ", "{\"name\": ", json_quote(config.peers[i].name), ", ",
                    json_keys(peer_keys(), config.peers[i]), "}"});
  }
  return out + "]}\n";
}

}  // namespace bsmtp::config

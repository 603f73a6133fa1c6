// The one table of configuration keys: name, kind, default, range, meaning. The loader, `bsmtpctl
// config describe|show`, the sample file and the man-page check all read it, so that no key can
// exist in one of them only. Rows point at the member of Config or Peer that holds the value.
// May not: read files. Threads: constant data.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/config/config.h"

namespace bsmtp::config {

enum class Kind {
  kText,
  kPath,
  kDomain,
  kAddress,
  kUrl,
  kSize,
  kDuration,
  kCount,
  kOctal,
  kFlag,
  kChoice,
  kList,         // blank-separated words; the key may be repeated
  kFingerprints  // 40 hex digits, blanks allowed inside; the key may be repeated
};

template <typename T>
using Member =
    std::variant<std::string T::*, std::uint64_t T::*, seconds T::*, bool T::*,
                 std::vector<std::string> T::*, PeerState T::*, Profile T::*, Require T::*>;

template <typename T>
struct Key {
  std::string_view name;
  Kind kind;
  Member<T> member;
  std::string_view help;  // one or two sentences
  std::uint64_t minimum = 0;
  std::uint64_t maximum = UINT64_MAX;  // seconds for durations, octets for sizes
  bool required = false;
};

std::span<const Key<Config>> global_keys();
std::span<const Key<Peer>> peer_keys();

// The words of a choice, in the order of the enumerators.
std::vector<std::string_view> choices(const Member<Peer>& member);

// Sets the member from `text`; temporary 4.3.5 without file and line on a bad value.
Status set_value(const Key<Config>& key, Config& config, std::string_view text);
Status set_value(const Key<Peer>& key, Peer& peer, std::string_view text);
// The value as the file would write it; lists are blank-separated.
std::string get_value(const Key<Config>& key, const Config& config);
std::string get_value(const Key<Peer>& key, const Peer& peer);
std::string_view kind_name(Kind kind);

// A commented sample of every key with its default: docs/bsmtp.conf.example.
std::string describe();
// Every value in force, as a file that loads to the same Config.
std::string show(const Config& config);
// The same as one JSON object.
std::string show_json(const Config& config);

}  // namespace bsmtp::config

#include "common/rewrite/scan.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/rewrite/tables.h"

namespace bsmtp::rewrite {
namespace {

// PMDF's internal reprocessing channels, for $1M and $1N.
constexpr std::array<std::string_view, 4> kInternalChannels = {"reprocess", "process", "conversion",
                                                               "defragment"};

bool contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

std::optional<FirstHost> first_host(std::string_view address) {
  FirstHost out;
  if (address.starts_with('@')) {
    const std::size_t end = address.find_first_of(",:");
    if (end == std::string_view::npos) {
      return std::nullopt;
    }
    out.position = Position::kRoute;
    out.host = std::string(mail::strip_trailing_dot(address.substr(1, end - 1)));
    out.user = std::string(address.substr(end + 1));
    return out;
  }
  const auto parts = mail::split_address(address);
  if (parts.has_at) {
    out.host = std::string(mail::strip_trailing_dot(parts.domain));
    out.user = std::string(parts.local);
    return out;
  }
  if (address.starts_with('"')) {
    return std::nullopt;
  }
  if (const std::size_t at = address.rfind('%'); at != std::string_view::npos) {
    out.position = Position::kPercent;
    out.host = std::string(mail::strip_trailing_dot(address.substr(at + 1)));
    out.user = std::string(address.substr(0, at));
    return out;
  }
  if (const std::size_t at = address.find('!'); at != std::string_view::npos) {
    out.position = Position::kBang;
    out.host = std::string(mail::strip_trailing_dot(address.substr(0, at)));
    out.user = std::string(address.substr(at + 1));
    return out;
  }
  return std::nullopt;
}

bool place_allows(const Template& t, const Query& query, Position position, std::string& why) {
  if (t.envelope_only && !query.envelope) {
    why = "$E wants an envelope address";
  } else if (t.header_only && query.envelope) {
    why = "$B wants a header address";
  } else if (t.forward_only && !query.forward) {
    why = "$F wants a forward-pointing address";
  } else if (t.backward_only && query.forward) {
    why = "$R wants a backward-pointing address";
  } else if (t.positions != 0 && (t.positions & static_cast<unsigned>(position)) == 0) {
    why = "$S $A $P $X do not allow a host at this place of the address";
  }
  return why.empty();
}

bool channels_allow(const Template& t, const Query& query, const std::string& source,
                    std::string& why) {
  const bool internal = std::find(kInternalChannels.begin(), kInternalChannels.end(), source) !=
                        kInternalChannels.end();
  if (!t.source_is.empty() && !contains(t.source_is, source)) {
    why = "$M does not name channel " + source;
  } else if (contains(t.source_not, source)) {
    why = "$N names channel " + source;
  } else if (t.internal_only && !internal) {
    why = "$1M wants an internal channel";
  } else if (t.internal_never && internal) {
    why = "$1N refuses an internal channel";
  } else if (!(query.envelope && query.forward)) {
    // The destination of an envelope recipient is what is being decided: $Q $C do not count.
    const std::string target = to_lower(query.destination_channel);
    if (!t.target_is.empty() && !contains(t.target_is, target)) {
      why = "$Q does not name destination channel " + target;
    } else if (contains(t.target_not, target)) {
      why = "$C names destination channel " + target;
    }
  }
  return why.empty();
}

bool is_exempt(const RuleSet& rules, std::string_view local, std::string_view domain) {
  const Tables& t = rules.tables();
  const std::string host = to_lower(mail::strip_trailing_dot(domain));
  if (!t.gateways.contains(host)) {
    return false;
  }
  const std::string name = to_lower(mail::dequote_local(local).value_or(std::string(local)));
  if (name == "postmaster" || name == "abuse") {
    return true;
  }
  return t.exempt.contains(name.substr(0, name.find('+')) + "@" + host);
}

}  // namespace bsmtp::rewrite

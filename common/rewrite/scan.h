// The steps of a classification that need no state: which host of an address is first, and
// whether a rule's controls allow it. Internal to common/rewrite. Threads: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/rewrite/engine.h"
#include "common/rewrite/template.h"

namespace bsmtp::rewrite {

// The first host of an address and what is left of it (rules extracting the first host:
// leftmost source route, right of @, right of the last %, left of the first !).
struct FirstHost {
  Position position = Position::kAt;
  std::string host;  // without a trailing dot
  std::string user;  // wire form; behind a source route the whole remaining address
};

// nullopt: there is no host in the address.
std::optional<FirstHost> first_host(std::string_view address);

// $E $B $F $R $S $A $P $X; `why` says which control fails.
bool place_allows(const Template& t, const Query& query, Position position, std::string& why);
// $M $N $1M $1N $Q $C; `source` is the source channel in lower case.
bool channels_allow(const Template& t, const Query& query, const std::string& source,
                    std::string& why);

}  // namespace bsmtp::rewrite

// The text of the exported map. Internal to common/rewrite: export_map.cc writes it,
// exported_map.cc searches it.
//   #bsmtp-map 1 index=NNNNNNNNNNNN lines=NNNNNNNNNNNN     first line, decimal, fixed width
//   # comments, what was left out
//   key<TAB>transport:nexthop                              the Postfix table, sorted, or
//   key<TAB>pseudo-domain|direct                           the sendmail table, sorted
//   #=key peer                                             from octet `index`: sorted by key,
//   #=key -                                                "-" = left to the MTA
//   #end
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/rewrite/export_map.h"

namespace bsmtp::rewrite {

inline constexpr std::string_view kMapMagic = "#bsmtp-map 1 index=";
inline constexpr std::string_view kMapLines = " lines=";
inline constexpr std::size_t kMapDigits = 12;
inline constexpr std::string_view kMapIndexMark = "#=";
inline constexpr std::string_view kMapEnd = "#end\n";

// What stands behind the colon for a peer.
std::string nexthop(const ExportOptions& options, std::string_view peer);
std::string format_map(const Export& map, const ExportOptions& options);

}  // namespace bsmtp::rewrite

// TagList: the syntax that manifest and receipts share, DKIM's tag-list (RFC 6376 3.2):
//   v=1; id=..; from=hub.domain.com; t=20261122T011000Z
// The first tag is v=1; one that occurs twice is refused, an unknown one ignored unless crit=
// names it. Failure: permanent 5.6.0 naming the field and the tag. Threads: a value.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace bsmtp::parcel {

class TagList {
 public:
  // `value`: of the field, folded or not. `known`: the tags a reader of `field` understands.
  static Result<TagList> parse(std::string_view field, std::string_view value,
                               std::span<const std::string_view> known);

  bool has(std::string_view name) const;
  // A missing tag is an error.
  Result<std::string> text(std::string_view name) const;
  Result<TimePoint> time(std::string_view name) const;
  Result<std::string> host(std::string_view name) const;  // lower case, A-labels, a dot inside
  Status bad(std::string_view what) const;

 private:
  explicit TagList(std::string_view field) : field_(field) {}
  Status split_tags(std::string_view value);
  Status check_critical(std::span<const std::string_view> known) const;

  std::string field_;
  std::vector<std::pair<std::string, std::string>> tags_;
};

}  // namespace bsmtp::parcel

// Fields: the "key: value" text of state, meta and heartbeat files. First line "version: 1";
// keys are [a-z0-9.-]+ and unique, values are one line, octets as given (no CR, LF, NUL).
// Unknown keys are kept, so that a newer program's notes survive an older one's rewrite; an
// unknown version is refused. Threads: a value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"

namespace bsmtp::spool {

inline constexpr std::size_t kMaxFieldsFile = 1U << 20U;

class Fields {
 public:
  // `name` (the file) is used in messages; malformed text is temporary 4.3.0.
  static Result<Fields> parse(std::string_view text, std::string_view name);
  std::string format() const;  // with the version line

  bool has(std::string_view key) const { return find(key) != nullptr; }
  // "" / fallback / nullopt when absent or not of that form.
  std::string get(std::string_view key) const;
  std::uint64_t get_number(std::string_view key, std::uint64_t fallback = 0) const;
  std::optional<TimePoint> get_time(std::string_view key) const;  // 20261122T011000Z

  // Control characters in a value become '?' (remote replies are stored too).
  void set(std::string_view key, std::string_view value);
  void set_number(std::string_view key, std::uint64_t value);
  void set_time(std::string_view key, TimePoint value);
  void erase(std::string_view key);

  // In the order of the file.
  const std::vector<std::pair<std::string, std::string>>& all() const { return fields_; }

 private:
  const std::string* find(std::string_view key) const;

  std::vector<std::pair<std::string, std::string>> fields_;
};

}  // namespace bsmtp::spool

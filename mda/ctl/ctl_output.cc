#include "mda/ctl/ctl_output.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "common/base/text.h"

namespace bsmtp::mda::ctl {

void Table::print(std::ostream& out) const {
  std::vector<std::size_t> widths;
  std::vector<std::vector<std::string>> cells;
  for (const auto& row : rows_) {
    auto& line = cells.emplace_back();
    for (std::size_t i = 0; i < row.size(); ++i) {
      line.push_back(printable(row[i], 200));
      if (i >= widths.size()) {
        widths.push_back(0);
      }
      widths[i] = std::max(widths[i], line.back().size());
    }
  }
  for (const auto& row : cells) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) {
        line.append(widths[i] - row[i].size() + 2, ' ');
      }
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << "\n";
  }
}

void Json::comma() {
  if (need_comma_) {
    text_ += ",";
  }
  need_comma_ = true;
}

Json& Json::open(char begin, char end) {
  comma();
  text_ += begin;
  closers_ += end;
  need_comma_ = false;
  return *this;
}

Json& Json::end() {
  text_ += closers_.back();
  closers_.pop_back();
  need_comma_ = true;
  return *this;
}

Json& Json::key(std::string_view name) {
  comma();
  text_ += json_quote(name);
  text_ += ":";
  need_comma_ = false;
  return *this;
}

Json& Json::string(std::string_view value) {
  comma();
  text_ += json_quote(value);
  return *this;
}

Json& Json::number(std::uint64_t value) {
  comma();
  text_ += std::to_string(value);
  return *this;
}

Json& Json::boolean(bool value) {
  comma();
  text_ += value ? "true" : "false";
  return *this;
}

Json& Json::null() {
  comma();
  text_ += "null";
  return *this;
}

std::string age_text(TimePoint then, TimePoint now) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - then).count();
  if (seconds < 60) {
    return std::to_string(std::max<std::int64_t>(seconds, 0)) + "s";
  }
  if (seconds < 3600) {
    return std::to_string(seconds / 60) + "m";
  }
  if (seconds < 2L * 86400) {
    return std::to_string(seconds / 3600) + "h";
  }
  return std::to_string(seconds / 86400) + "d";
}

std::string time_text(TimePoint when) {
  const auto seconds = std::chrono::system_clock::to_time_t(when);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 40> buffer{};
  const std::size_t length =
      std::strftime(buffer.data(), buffer.size(), "%Y-%m-%d %H:%M:%SZ", &parts);
  return {buffer.data(), length};
}

std::string bytes_text(std::uint64_t octets) {
  constexpr std::array<const char*, 5> kUnits = {"", "K", "M", "G", "T"};
  auto value = static_cast<double>(octets);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < kUnits.size()) {
    value /= 1024.0;
    ++unit;
  }
  std::array<char, 32> buffer{};
  const int length =
      std::snprintf(buffer.data(), buffer.size(), unit == 0 || value >= 100.0 ? "%.0f%s" : "%.1f%s",
                    value, kUnits.at(unit));
  return {buffer.data(), static_cast<std::size_t>(length)};
}

}  // namespace bsmtp::mda::ctl

// Ways to cut an input into pieces: a streaming filter must do the same for all of them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bsmtp::test {

using Chunks = std::vector<std::string_view>;

inline Chunks cut_every(std::string_view data, std::size_t n) {
  Chunks out;
  for (std::size_t i = 0; i < data.size(); i += n) {
    out.push_back(data.substr(i, n));
  }
  return out;
}

// Calls `visit` with the whole, with pieces of 1, 2, 3, 5 and 64 octets, and, for inputs of up
// to 600 octets, with every cut in two.
inline void for_each_cutting(std::string_view data,
                             const std::function<void(const Chunks&)>& visit) {
  visit({data});
  for (const std::size_t n : {1U, 2U, 3U, 5U, 64U}) {
    visit(cut_every(data, n));
  }
  if (data.size() > 600) return;
  for (std::size_t i = 0; i <= data.size(); ++i) {
    visit({data.substr(0, i), data.substr(i)});
  }
}

// All texts over `alphabet` of the given length, in order.
inline std::vector<std::string> all_words(std::string_view alphabet, std::size_t length) {
  std::vector<std::string> out = {""};
  for (std::size_t i = 0; i < length; ++i) {
    std::vector<std::string> next;
    for (const std::string& word : out) {
      for (const char c : alphabet) {
        next.push_back(word + c);
      }
    }
    out = std::move(next);
  }
  return out;
}

}  // namespace bsmtp::test

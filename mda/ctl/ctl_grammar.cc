// The grammar strings of the command table: parsed here, once per call.
#include <algorithm>

#include "common/base/text.h"
#include "mda/ctl/ctl_commands.h"

namespace bsmtp::mda::ctl {
namespace {

// "[--name VALUE]" and "[NAME]" are one piece, else pieces are words; "--name VALUE" is joined.
std::vector<std::string> pieces_of(std::string_view text) {
  std::vector<std::string> pieces;
  std::string bracket;
  for (const std::string_view word : split_blank(text)) {
    if (!bracket.empty()) {
      bracket += str_cat({" ", word});
    } else if (word.front() == '[') {
      bracket = word;
    } else if (!pieces.empty() && pieces.back().rfind("--", 0) == 0 &&
               pieces.back().find(' ') == std::string::npos) {
      pieces.back() += str_cat({" ", word});
    } else {
      pieces.emplace_back(word);
    }
    if (!bracket.empty() && (bracket.back() == ']' || iends_with(bracket, "]..."))) {
      pieces.push_back(bracket);
      bracket.clear();
    }
  }
  return pieces;
}

}  // namespace

std::string Arguments::value(std::string_view option, std::string_view fallback) const {
  const auto found = options_.find(option);
  return found == options_.end() ? std::string(fallback) : found->second.back();
}

std::vector<std::string> Arguments::values(std::string_view option) const {
  const auto found = options_.find(option);
  return found == options_.end() ? std::vector<std::string>{} : found->second;
}

Grammar::Grammar(std::string_view text) {
  options_["json"] = Option{};
  for (std::string piece : pieces_of(text)) {
    bool needed = true;
    bool repeats = false;
    if (iends_with(piece, "...")) {
      repeats = true;
      piece.resize(piece.size() - 3);
    }
    if (piece.front() == '[') {
      needed = false;
      piece = piece.substr(1, piece.size() - 2);
    }
    if (piece.rfind("--", 0) == 0) {
      const std::size_t blank = piece.find(' ');
      Option option;
      option.needed = needed;
      option.value_name = blank == std::string::npos ? "" : piece.substr(blank + 1);
      options_[piece.substr(2, blank == std::string::npos ? blank : blank - 2)] = option;
    } else {
      words_.push_back({piece, needed, repeats});
    }
  }
}

Status Grammar::take_option(const std::vector<std::string>& words, std::size_t& i,
                            Arguments& result) const {
  const std::string& word = words[i];
  const std::size_t equals = word.find('=');
  const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
  const auto option = options_.find(name);
  if (option == options_.end()) {
    return Status::permanent("5.5.4", str_cat({"unknown option --", printable(name, 60)}));
  }
  const bool takes_value = !option->second.value_name.empty();
  std::string value;
  if (equals != std::string::npos) {
    if (!takes_value) {
      return Status::permanent("5.5.4", str_cat({"--", name, " takes no value"}));
    }
    value = word.substr(equals + 1);
  } else if (takes_value) {
    if (++i == words.size()) {
      return Status::permanent(
          "5.5.4", str_cat({"--", name, " needs a value: ", option->second.value_name}));
    }
    value = words[i];
  }
  result.options_[name].push_back(value);
  return Status::ok();
}

Status Grammar::check_complete(const Arguments& result) const {
  std::size_t given = 0;
  for (const Word& word : words_) {
    if (given < result.words_.size()) {
      given = word.repeats ? result.words_.size() : given + 1;
    } else if (word.needed) {
      return Status::permanent("5.5.4", str_cat({word.name, " is missing"}));
    }
  }
  if (given < result.words_.size()) {
    return Status::permanent("5.5.4",
                             str_cat({"unexpected word: ", printable(result.words_[given], 60)}));
  }
  for (const auto& [name, option] : options_) {
    if (option.needed && !result.has(name)) {
      return Status::permanent("5.5.4",
                               str_cat({"--", name, " ", option.value_name, " is missing"}));
    }
  }
  return Status::ok();
}

Result<Arguments> Grammar::parse(const std::vector<std::string>& words) const {
  Arguments result;
  bool only_words = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (!only_words && words[i] == "--") {
      only_words = true;
    } else if (!only_words && words[i].rfind("--", 0) == 0) {
      TRY(take_option(words, i, result));
    } else {
      result.words_.push_back(words[i]);
    }
  }
  TRY(check_complete(result));
  return result;
}

std::vector<std::string> Grammar::options() const {
  std::vector<std::string> all;
  for (const auto& [name, option] : options_) {
    all.push_back("--" + name +
                  (option.value_name.empty() ? std::string() : " " + option.value_name));
  }
  return all;
}

const Command* find_command(const std::vector<std::string>& words) {
  const Command* best = nullptr;
  for (const Command& command : commands()) {
    const auto parts = split_blank(command.name);
    if (words.size() >= parts.size() && std::equal(parts.begin(), parts.end(), words.begin()) &&
        (best == nullptr || command.name.size() > best->name.size())) {
      best = &command;
    }
  }
  return best;
}

}  // namespace bsmtp::mda::ctl

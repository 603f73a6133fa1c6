// See accepted.h. One table of keys for reading; the writer emits them in the same order.
#include "common/spool/accepted.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"

namespace bsmtp::spool {
namespace {

constexpr std::uint64_t kMaxMessages = 999999;
// Far above any parcel, far below where sums of such lengths could overflow.
constexpr std::uint64_t kMaxItemBytes = std::uint64_t{1} << 42U;
constexpr std::string_view kMetaVersion = "2";
constexpr std::string_view kOtherRelease = "4.3.5";

bool is_clean(std::string_view value) {
  return std::none_of(value.begin(), value.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

bool is_sha256_hex(std::string_view value) {
  return value.size() == 64 && std::all_of(value.begin(), value.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool is_peer_name(std::string_view value) {
  return !value.empty() && value.size() <= 32 &&
         std::all_of(value.begin(), value.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

Status malformed(const std::string& file, std::string_view what, std::string_view code = "4.3.0") {
  return Status::temporary(
      code, str_cat({file, ": ", printable(what, 200),
                     "; the parcel stays undelivered: repair the file or quarantine it"}));
}

// The first blank-delimited word; `rest` keeps what follows one blank.
std::string_view next_word(std::string_view& rest) {
  const std::size_t end = rest.find(' ');
  const std::string_view word = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return word;
}

class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) {}

  Status line(std::string_view key, std::string_view value) {
    if (key == "message") {
      return message(value);
    }
    if (key == "refused") {
      return refused(value);
    }
    if (key == "created" || key == "expires" || key == "accepted") {
      return time(key, value);
    }
    const std::array<std::pair<std::string_view, std::string*>, 7> texts = {
        {{"peer", &meta_.peer},
         {"parcel", &meta_.parcel_id},
         {"digest", &meta_.digest},
         {"fingerprint", &meta_.fingerprint},
         {"peer-host", &meta_.peer_host},
         {"queue-id", &meta_.queue_id},
         {"annotate", &meta_.annotate}}};
    for (const auto& [name, target] : texts) {
      if (name == key) {
        *target = value;
        return Status::ok();
      }
    }
    if (key == "receipt") {
      if (value != "1" && value != "2") {
        return malformed(file_, "bad receipt");
      }
      meta_.receipt = value == "1" ? 1 : 2;
      return Status::ok();
    }
    if (key == "count") {
      const auto count = parse_u64(value);
      if (!count || *count > kMaxMessages) {
        return malformed(file_, "bad count");
      }
      count_ = count;
      return Status::ok();
    }
    return malformed(file_, str_cat({"unknown key ", key}), kOtherRelease);
  }

  Result<AcceptedMeta> take() {
    if (!is_peer_name(meta_.peer) || !is_id(meta_.parcel_id) || !is_sha256_hex(meta_.digest)) {
      return malformed(file_, "peer, parcel or digest missing or malformed");
    }
    if (!have_accepted_ || !count_ || *count_ != meta_.messages.size()) {
      return malformed(file_, "accepted time missing, or count is not the number of messages");
    }
    return std::move(meta_);
  }

 private:
  Status message(std::string_view value) {
    const std::string_view name = next_word(value);
    const std::string_view digest = next_word(value);
    const auto text_bytes = parse_u64(next_word(value));
    const auto item_bytes = parse_u64(next_word(value));
    if (name != accepted_message_name(meta_.messages.size() + 1) || !is_sha256_hex(digest) ||
        !text_bytes || !item_bytes || *item_bytes > kMaxItemBytes ||
        !(value.empty() || is_sha256_hex(value))) {
      return malformed(file_, str_cat({"bad message line ", name}));
    }
    meta_.messages.push_back(
        {std::string(digest), *text_bytes, *item_bytes, {}, std::string(value)});
    return Status::ok();
  }

  Status refused(std::string_view value) {
    const std::string_view name = next_word(value);
    const auto recipient = parse_u64(next_word(value));
    const std::string_view code = next_word(value);
    if (meta_.messages.empty() || name != accepted_message_name(meta_.messages.size()) ||
        !recipient || !code.starts_with("5.")) {
      return malformed(file_, str_cat({"bad refused line ", name}));
    }
    meta_.messages.back().refused.push_back({*recipient, std::string(code), std::string(value)});
    return Status::ok();
  }

  Status time(std::string_view key, std::string_view value) {
    const auto when = parse_iso(value);
    if (!when.is_ok()) {
      return malformed(file_, str_cat({"bad time in ", key}));
    }
    if (key == "created") {
      meta_.created = *when;
    } else if (key == "expires") {
      meta_.expires = *when;
    } else {
      meta_.accepted = *when;
      have_accepted_ = true;
    }
    return Status::ok();
  }

  const std::string& file_;
  AcceptedMeta meta_;
  std::optional<std::uint64_t> count_;
  bool have_accepted_ = false;
};

class Writer {
 public:
  void line(std::string_view key, std::string_view value) {
    clean_ = clean_ && is_clean(value);
    text_ += str_cat({key, ": ", value, "\n"});
  }
  void optional_line(std::string_view key, std::string_view value) {
    if (!value.empty()) {
      line(key, value);
    }
  }
  Result<std::string> take() {
    if (!clean_) {
      return Status::temporary("4.3.5", "accepted meta: a value holds a control character");
    }
    return std::move(text_);
  }

 private:
  std::string text_;
  bool clean_ = true;
};

}  // namespace

std::string accepted_message_name(std::uint64_t index) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "%06llu", static_cast<unsigned long long>(index));
  return text.data();
}

std::string accepted_directory_name(std::string_view peer, std::string_view parcel_id) {
  return str_cat({peer, ".", parcel_id});
}

std::optional<AcceptedName> parse_accepted_directory_name(std::string_view name) {
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos || !is_peer_name(name.substr(0, dot)) ||
      !is_id(name.substr(dot + 1))) {
    return std::nullopt;
  }
  return AcceptedName{std::string(name.substr(0, dot)), std::string(name.substr(dot + 1))};
}

Result<std::string> format_accepted_meta(const AcceptedMeta& meta) {
  Writer out;
  out.line("version", kMetaVersion);
  out.line("peer", meta.peer);
  out.line("parcel", meta.parcel_id);
  out.line("digest", meta.digest);
  out.optional_line("fingerprint", meta.fingerprint);
  if (meta.created) {
    out.line("created", format_iso(*meta.created));
  }
  if (meta.expires) {
    out.line("expires", format_iso(*meta.expires));
  }
  out.line("accepted", format_iso(meta.accepted));
  out.optional_line("peer-host", meta.peer_host);
  out.optional_line("queue-id", meta.queue_id);
  out.optional_line("annotate", meta.annotate);
  if (meta.receipt != 0) {
    out.line("receipt", std::to_string(meta.receipt));
  }
  out.line("count", std::to_string(meta.messages.size()));
  std::uint64_t index = 0;
  for (const AcceptedMessage& message : meta.messages) {
    const std::string name = accepted_message_name(++index);
    out.line("message",
             str_cat({name, " ", message.text_digest, " ", std::to_string(message.text_bytes), " ",
                      std::to_string(message.item_bytes), message.head_digest.empty() ? "" : " ",
                      message.head_digest}));
    for (const AcceptedRefusal& refusal : message.refused) {
      out.line("refused", str_cat({name, " ", std::to_string(refusal.recipient), " ", refusal.code,
                                   " ", refusal.text}));
    }
  }
  return out.take();
}

Result<AcceptedMeta> parse_accepted_meta(std::string_view text, const std::string& file) {
  Reader reader(file);
  bool first = true;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (end == std::string_view::npos) {
      return malformed(file, "last line is not complete");
    }
    text.remove_prefix(end + 1);
    const std::size_t colon = line.find(": ");
    if (colon == std::string_view::npos || !is_clean(line)) {
      return malformed(file, "a line is not \"key: value\"");
    }
    const std::string_view key = line.substr(0, colon);
    const std::string_view value = line.substr(colon + 2);
    if (first) {
      if (key != "version" || value != kMetaVersion) {
        return malformed(file,
                         str_cat({"version is not ", kMetaVersion, ": written by another release"}),
                         kOtherRelease);
      }
      first = false;
      continue;
    }
    TRY(reader.line(key, value));
  }
  return reader.take();
}

}  // namespace bsmtp::spool

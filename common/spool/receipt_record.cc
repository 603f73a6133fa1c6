// See receipt_record.h. Writers check by reading back: one rule, in the parser.
#include "common/spool/receipt_record.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/spool/fields.h"

namespace bsmtp::spool {
namespace {

constexpr std::size_t kMaxName = 253;  // a host name; peer names and queue ids are shorter
constexpr std::size_t kMaxRandom = 64;
constexpr std::array<std::string_view, 3> kFates = {"accepted", "rejected", "expired"};

bool is_lower_hex(std::string_view value, std::size_t least, std::size_t most) {
  return value.size() >= least && value.size() <= most &&
         std::all_of(value.begin(), value.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_peer_word(std::string_view value) {
  return !value.empty() && value.size() <= 32 &&
         std::all_of(value.begin(), value.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

bool is_printable_ascii(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c < 0x7F; });
}

bool is_word(std::string_view value, std::size_t most) {
  return value.size() <= most && is_printable_ascii(value) &&
         value.find(' ') == std::string_view::npos;
}

// class "." subject "." detail with 1 to 3 digits each (RFC 3463 2), of the class the fate has.
bool is_code_for(std::string_view code, ParcelFate fate) {
  const auto parts = split(code, '.');
  return parts.size() == 3 && parts[0] == (fate == ParcelFate::kAccepted ? "2" : "5") &&
         std::all_of(parts.begin(), parts.end(), [](std::string_view part) {
           return !part.empty() && part.size() <= 3 &&
                  std::all_of(part.begin(), part.end(),
                              [](char c) { return c >= '0' && c <= '9'; });
         });
}

Status damaged(const std::string& file, std::string_view what) {
  return Status::temporary("4.3.0", str_cat({file, ": ", what}));
}

Status check_answer(const ParcelAnswer& answer, const std::string& file) {
  const std::string_view fault = answer_fault(answer);
  return fault.empty() ? Status::ok() : damaged(file, fault);
}

Result<TimePoint> needed_time(const Fields& fields, std::string_view key, const std::string& file) {
  const auto when = fields.get_time(key);
  return when ? Result<TimePoint>(*when) : damaged(file, str_cat({key, " is missing or no time"}));
}

std::string_view next_blank_word(std::string_view& rest) {
  const std::size_t end = rest.find(' ');
  const std::string_view word = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return word;
}

// "<id> <digest> <state> <code> <text>"; the text may be missing.
Result<ParcelAnswer> parse_answer_line(std::string_view line, const std::string& file) {
  ParcelAnswer answer;
  answer.parcel_id = next_blank_word(line);
  answer.digest = next_blank_word(line);
  const auto fate = fate_from(next_blank_word(line));
  answer.code = next_blank_word(line);
  answer.text = line;
  if (!fate) {
    return damaged(file, "a parcel's state is unknown");
  }
  answer.fate = *fate;
  TRY(check_answer(answer, file));
  return answer;
}

Status check_name(const Fields& fields, std::string_view key, const std::string& file) {
  const std::string value = fields.get(key);
  return !value.empty() && is_word(value, kMaxName)
             ? Status::ok()
             : damaged(file, str_cat({key, " is missing or malformed"}));
}

Status check_origin(const Fields& fields, const std::string& file) {
  if (!is_peer_word(fields.get("peer"))) {
    return damaged(file, "peer is missing or malformed");
  }
  return is_word(fields.get("queue-id"), kMaxName) ? Status::ok()
                                                   : damaged(file, "queue-id is malformed");
}

// What the parser refuses must never get to disk.
template <typename Record>
Result<std::string> checked(const Fields& fields, std::string_view what,
                            Result<Record> (*parse)(std::string_view, const std::string&)) {
  std::string text = fields.format();
  const auto read = parse(text, std::string(what));
  return read.is_ok() ? Result<std::string>(std::move(text))
                      : Status::temporary("4.3.5", read.status().text());
}

}  // namespace

std::string_view fate_name(ParcelFate fate) {
  return kFates.at(static_cast<std::size_t>(fate));
}

std::optional<ParcelFate> fate_from(std::string_view name) {
  const auto* const it = std::find(kFates.begin(), kFates.end(), name);
  return it == kFates.end() ? std::nullopt
                            : std::optional(static_cast<ParcelFate>(it - kFates.begin()));
}

std::string answer_text(std::string_view words) {
  std::string text;
  for (const std::string_view word : split_blank(words)) {
    text += str_cat({text.empty() ? "" : " ", word});
    if (text.size() >= kMaxAnswerText) {
      text.resize(kMaxAnswerText);
      break;
    }
  }
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < 0x20 || c >= 0x7F; }, '?');
  return text;
}

std::string_view answer_fault(const ParcelAnswer& answer) {
  if (!is_id(answer.parcel_id) || !is_lower_hex(answer.digest, 64, 64)) {
    return "parcel id or digest is malformed";
  }
  if (!is_code_for(answer.code, answer.fate)) {
    return "status code is malformed or contradicts the parcel's state";
  }
  return answer.text.size() <= kMaxAnswerText && is_printable_ascii(answer.text)
             ? ""
             : "text is too long or not printable ASCII";
}

Result<std::string> format_receipt_record(const ReceiptRecord& record) {
  Fields fields;
  fields.set("peer", record.peer);
  fields.set("key", record.fingerprint);
  fields.set("from", record.from);
  fields.set("to", record.to);
  fields.set_time("time", record.time);
  fields.set_time("received", record.received);
  fields.set("queue-id", record.queue_id);
  std::size_t number = 0;
  for (const ParcelAnswer& answer : record.parcels) {
    fields.set(str_cat({"parcel.", std::to_string(++number)}),
               str_cat({answer.parcel_id, " ", answer.digest, " ", fate_name(answer.fate), " ",
                        answer.code, " ", answer.text}));
  }
  return checked(fields, "receipt record", parse_receipt_record);
}

Result<ReceiptRecord> parse_receipt_record(std::string_view text, const std::string& file) {
  TRY_ASSIGN(const Fields fields, Fields::parse(text, file));
  TRY(check_origin(fields, file));
  for (const std::string_view key : {"key", "from", "to"}) {
    TRY(check_name(fields, key, file));
  }
  ReceiptRecord record;
  record.peer = fields.get("peer");
  record.fingerprint = fields.get("key");
  record.from = fields.get("from");
  record.to = fields.get("to");
  TRY_ASSIGN(record.time, needed_time(fields, "time", file));
  TRY_ASSIGN(record.received, needed_time(fields, "received", file));
  record.queue_id = fields.get("queue-id");
  std::set<std::string> ids;
  for (const auto& [key, value] : fields.all()) {
    if (!key.starts_with("parcel.")) {
      continue;
    }
    if (key != str_cat({"parcel.", std::to_string(record.parcels.size() + 1)}) ||
        record.parcels.size() == kMaxReceiptParcels) {
      return damaged(file, "parcels are too many or not in order");
    }
    TRY_ASSIGN(ParcelAnswer answer, parse_answer_line(value, file));
    if (!ids.insert(answer.parcel_id).second) {
      return damaged(file, "a parcel stands twice");
    }
    record.parcels.push_back(std::move(answer));
  }
  return record.parcels.empty() ? damaged(file, "names no parcel")
                                : Result<ReceiptRecord>(std::move(record));
}

Result<std::string> format_asked_record(const AskedRecord& record) {
  Fields fields;
  fields.set("peer", record.peer);
  fields.set("parcel", record.answer.parcel_id);
  fields.set("digest", record.answer.digest);
  fields.set("state", fate_name(record.answer.fate));
  fields.set("code", record.answer.code);
  fields.set("reason", record.answer.text);
  fields.set_number("wanted", record.at_once ? 2 : 1);
  fields.set_time("expires", record.expires);
  fields.set_time("received", record.received);
  fields.set("queue-id", record.queue_id);
  return checked(fields, "asked record", parse_asked_record);
}

Result<AskedRecord> parse_asked_record(std::string_view text, const std::string& file) {
  TRY_ASSIGN(const Fields fields, Fields::parse(text, file));
  TRY(check_origin(fields, file));
  AskedRecord record;
  record.peer = fields.get("peer");
  record.answer.parcel_id = fields.get("parcel");
  record.answer.digest = fields.get("digest");
  const auto fate = fate_from(fields.get("state"));
  if (!fate) {
    return damaged(file, "state is missing or unknown");
  }
  record.answer.fate = *fate;
  record.answer.code = fields.get("code");
  record.answer.text = fields.get("reason");
  TRY(check_answer(record.answer, file));
  const std::uint64_t wanted = fields.get_number("wanted");
  if (wanted != 1 && wanted != 2) {
    return damaged(file, "wanted is neither 1 nor 2");
  }
  record.at_once = wanted == 2;
  TRY_ASSIGN(record.expires, needed_time(fields, "expires", file));
  TRY_ASSIGN(record.received, needed_time(fields, "received", file));
  record.queue_id = fields.get("queue-id");
  return record;
}

std::string asked_record_name(std::string_view peer, std::string_view parcel_id,
                              std::string_view random) {
  return str_cat({peer, ".", parcel_id, ".", random});
}

std::optional<AskedName> parse_asked_record_name(std::string_view name) {
  const auto parts = split(name, '.');
  if (parts.size() != 3 || !is_peer_word(parts[0]) || !is_id(parts[1]) ||
      !is_lower_hex(parts[2], 1, kMaxRandom)) {
    return std::nullopt;
  }
  return AskedName{std::string(parts[0]), std::string(parts[1])};
}

}  // namespace bsmtp::spool

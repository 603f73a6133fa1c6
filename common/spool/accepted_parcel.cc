#include "common/spool/accepted_parcel.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "common/base/text.h"
#include "common/base/units.h"
#include "common/os/fd_stream.h"
#include "common/spool/fields.h"

namespace bsmtp::spool {
namespace {

constexpr std::size_t kMaxMeta = 256U << 20U;  // 10^6 messages with refusals
// Longer lists are left out: then all messages count as open, and the ledger knows better.
constexpr std::size_t kMaxOpenList = kMaxFieldsFile / 2;

std::string state_file(const std::string& directory) {
  return str_cat({directory, "/", kDeferralName});
}

Result<Fields> read_fields(os::FileOps& ops, const std::string& directory) {
  const std::string file = state_file(directory);
  TRY_ASSIGN(const std::string text, os::read_file(ops, file, kMaxFieldsFile));
  return Fields::parse(text, file);
}

Deferral deferral_of(const Fields& fields) {
  return {fields.get_number("attempts"), fields.get_time("next").value_or(TimePoint()),
          fields.get_number("damaged")};
}

// "1-3,7": at least one, ascending, none twice, none above `count`.
std::optional<std::vector<std::uint64_t>> parse_ranges(std::string_view text, std::uint64_t count) {
  std::vector<std::uint64_t> out;
  for (const std::string_view range : split(text, ',')) {
    const std::size_t dash = range.find('-');
    const auto first = parse_u64(range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_u64(range.substr(dash + 1));
    if (!first || !last || *first <= (out.empty() ? 0 : out.back()) || *last < *first ||
        *last > count) {
      return std::nullopt;
    }
    for (std::uint64_t n = *first; n <= *last; ++n) {
      out.push_back(n);
    }
  }
  return out;
}

std::string format_ranges(const std::vector<std::uint64_t>& numbers) {
  std::string out;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) {
      ++last;
    }
    out += str_cat({out.empty() ? "" : ",", std::to_string(numbers[i])});
    if (last > i) {
      out += str_cat({"-", std::to_string(numbers[last])});
    }
    i = last + 1;
  }
  return out;
}

}  // namespace

Result<Deferral> read_deferral(os::FileOps& ops, const std::string& directory) {
  TRY_ASSIGN(const Fields fields, read_fields(ops, directory));
  return deferral_of(fields);
}

std::string format_deferral(const Deferral& deferral, const std::vector<std::uint64_t>& open) {
  Fields fields;
  fields.set_number("attempts", deferral.attempts);
  fields.set_time("next", deferral.next);
  if (deferral.damaged != 0) {
    fields.set_number("damaged", deferral.damaged);
  }
  const std::string list = format_ranges(open);
  if (list.size() <= kMaxOpenList) {
    fields.set("open", list);
  }
  return fields.format();
}

Result<AcceptedParcel> AcceptedParcel::load(os::FileOps& ops, const std::string& directory) {
  AcceptedParcel parcel(ops);
  const std::string meta_file = str_cat({directory, "/", kAcceptedMetaName});
  TRY_ASSIGN(const std::string text, os::read_file(ops, meta_file, kMaxMeta));
  TRY_ASSIGN(parcel.meta_, parse_accepted_meta(text, meta_file));
  parcel.offsets_.reserve(parcel.meta_.messages.size() + 1);
  parcel.offsets_.push_back(0);
  for (const AcceptedMessage& message : parcel.meta_.messages) {
    parcel.offsets_.push_back(parcel.offsets_.back() + message.item_bytes);
  }
  const std::string file = str_cat({directory, "/", kAcceptedMessagesName});
  TRY_ASSIGN(os::File opened, ops.open(file, os::kReadOnly, 0));
  parcel.file_ = std::make_shared<const os::File>(std::move(opened));
  parcel.open_.resize(parcel.meta_.messages.size());
  std::iota(parcel.open_.begin(), parcel.open_.end(), std::uint64_t{1});
  // Without a readable state all is tried again, now: what was done is in the ledger.
  if (const auto fields = read_fields(ops, directory); fields.is_ok()) {
    parcel.deferral_ = deferral_of(*fields);
    if (fields->has("open")) {
      parcel.open_ = parse_ranges(fields->get("open"), parcel.open_.size()).value_or(parcel.open_);
    }
  }
  return parcel;
}

Result<ItemReader> AcceptedParcel::open_message(std::uint64_t index) const {
  const std::uint64_t begin = offsets_.at(index - 1);
  return ItemReader::open(*ops_, file_, {begin, offsets_.at(index) - begin}, {});
}

std::unique_ptr<Source> AcceptedParcel::octets(std::uint64_t index, std::uint64_t length) const {
  const std::uint64_t begin = offsets_.at(index - 1);
  return std::make_unique<os::RangeSource>(*ops_, *file_, begin,
                                           std::min(length, offsets_.at(index) - begin));
}

std::unique_ptr<Source> AcceptedParcel::all_messages() const {
  return std::make_unique<os::RangeSource>(*ops_, *file_, 0, messages_size());
}

void AcceptedParcel::set_deferral(const Deferral& deferral, std::vector<std::uint64_t> open) {
  deferral_ = deferral;
  open_ = std::move(open);
}

}  // namespace bsmtp::spool

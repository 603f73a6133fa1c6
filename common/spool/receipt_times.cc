#include "common/spool/receipt_times.h"

#include <algorithm>
#include <cerrno>

#include "common/base/text.h"
#include "common/spool/fields.h"

namespace bsmtp::spool {

Result<std::optional<ReceiptTimes>> read_receipt_times(const Spool& spool, std::string_view peer) {
  const std::string path = str_cat({spool.paths().peer(peer), "/", kReceiptTimesName});
  const auto text = os::read_file(spool.ops(), path, kMaxFieldsFile);
  if (!text.is_ok()) {
    if (text.status().error_number() == ENOENT) {
      return std::optional<ReceiptTimes>();
    }
    return text.status();
  }
  ReceiptTimes times;
  if (const auto fields = Fields::parse(*text, path); fields.is_ok()) {
    times.first = fields->get_time("first").value_or(TimePoint());
    times.last = fields->get_time("last").value_or(times.first);
  }
  return std::optional<ReceiptTimes>(times);
}

Status note_receipt(const Spool& spool, const std::string& peer, TimePoint now) {
  TRY_ASSIGN(const auto known, read_receipt_times(spool, peer));
  Fields fields;
  fields.set_time("first", known && known->first != TimePoint() ? known->first : now);
  fields.set_time("last", known ? std::max(known->last, now) : now);
  return os::write_file_atomically(spool.ops(), spool.paths().peer(peer), spool.paths().tmp(peer),
                                   std::string(kReceiptTimesName), fields.format(), kFileMode);
}

}  // namespace bsmtp::spool

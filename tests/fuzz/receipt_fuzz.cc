// libs: common/parcel common/spool common/base
// What parses as a receipt can be written, and reads the same again; its answers can be kept.
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/parcel/receipt.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto receipt = bsmtp::parcel::parse_receipt(input);
  if (!receipt.is_ok()) {
    BSMTP_CHECK(receipt.status().is_permanent());
    return 0;
  }
  if (!receipt->has_value()) {
    return 0;
  }
  const bsmtp::parcel::ReceiptFacts& facts = **receipt;
  BSMTP_CHECK(!facts.answers.empty() && facts.answers.size() <= bsmtp::spool::kMaxReceiptParcels);
  const auto text = bsmtp::parcel::format_receipt(facts, "bsmtp@" + facts.from, "=_r1");
  BSMTP_CHECK(text.is_ok());
  const auto again = bsmtp::parcel::parse_receipt(*text);
  BSMTP_CHECK(again.is_ok() && again->has_value());
  const bsmtp::parcel::ReceiptFacts& read = **again;
  BSMTP_CHECK(read.from == facts.from && read.to == facts.to && read.time == facts.time &&
              read.answers.size() == facts.answers.size());
  bsmtp::spool::ReceiptRecord record{"p",        "F",        facts.from, facts.to,
                                     facts.time, facts.time, "",         facts.answers};
  BSMTP_CHECK(bsmtp::spool::format_receipt_record(record).is_ok());
  for (std::size_t i = 0; i < read.answers.size(); ++i) {
    const auto& a = read.answers[i];
    const auto& b = facts.answers[i];
    BSMTP_CHECK(a.parcel_id == b.parcel_id && a.digest == b.digest && a.fate == b.fate &&
                a.code == b.code);
    BSMTP_CHECK(a.fate == bsmtp::spool::ParcelFate::kAccepted || a.text == b.text);
  }
  return 0;
}

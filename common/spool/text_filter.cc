#include "common/spool/text_filter.h"

#include "common/base/text.h"

namespace bsmtp::spool {
namespace {

mail::HeaderScanner::Options scan_options() {
  mail::HeaderScanner::Options options;
  options.limits.fields = 2000;
  options.strict = false;  // a header is not ours to judge: only hops are counted
  options.keep = {"received"};
  return options;
}

Status loop(std::string_view what) {
  return Status::permanent("5.4.6", str_cat({"mail loop: ", what}));
}

// Folding, and the blanks around it, may differ from how the line was written.
std::string with_single_blanks(std::string_view value) {
  std::string out;
  for (const auto word : split_blank(value)) {
    out += str_cat({" ", word});
  }
  return out;
}

}  // namespace

TextFilter::TextFilter(Sink& next, Options options)
    : stuffer_(next), header_(scan_options()), options_(std::move(options)) {}

Status TextFilter::write(std::string_view data) {
  TRY(stuffer_.write(data));
  if (checked_) {
    return Status::ok();
  }
  TRY(header_.write(data));
  return header_.done() ? check_hops() : Status::ok();
}

Status TextFilter::finish() {
  if (!checked_) {
    TRY(header_.finish());
    TRY(check_hops());
  }
  return stuffer_.finish();
}

std::string TextFilter::queue_id() const {
  return header_.fields().empty() ? std::string() : mail::received_id(header_.fields()[0].value);
}

Status TextFilter::check_hops() {
  checked_ = true;
  if (header_.received() > options_.max_received) {
    return loop(std::to_string(header_.received()) + " Received fields");
  }
  if (options_.own_host.empty()) {
    return Status::ok();
  }
  const std::string mark = to_lower(str_cat({" by ", options_.own_host, " (with bsmtp "}));
  std::uint64_t own = 0;
  for (const auto& field : header_.fields()) {
    own += to_lower(with_single_blanks(field.value)).find(mark) != std::string::npos ? 1U : 0U;
  }
  if (own >= options_.max_own_received) {
    return loop("came through this gateway's tunnel " + std::to_string(own) + " times");
  }
  return Status::ok();
}

}  // namespace bsmtp::spool

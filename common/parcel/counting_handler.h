// Counts what a batch holds on its way to the handler, and keeps the handler's own failures apart
// from the batch's faults: whatever it fails with is temporary, because it is our side that could
// not go on. Threads: one object, one thread.
#pragma once

#include "common/bsmtp/parser.h"
#include "common/parcel/payload.h"

namespace bsmtp::parcel {

class CountingHandler final : public batch::Handler {
 public:
  explicit CountingHandler(batch::Handler& next) : next_(next) {}

  Status begin_message(const mail::Envelope& envelope, std::size_t index) override {
    facts_.recipients += envelope.recipients.size();
    return keep(next_.begin_message(envelope, index));
  }
  Status text(std::string_view stuffed) override { return keep(next_.text(stuffed)); }
  Status end_message(const mail::TextFacts& facts) override {
    ++facts_.messages;
    return keep(next_.end_message(facts));
  }
  const Status& failure() const { return failure_; }
  PayloadFacts facts() const { return facts_; }

 private:
  Status keep(Status status) {
    if (!status.is_ok()) {
      failure_ = status.is_temporary() ? status : Status::temporary("4.3.0", status.text());
      return failure_;
    }
    return status;
  }

  batch::Handler& next_;
  PayloadFacts facts_;
  Status failure_;
};

}  // namespace bsmtp::parcel

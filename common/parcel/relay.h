// Relay: the events of a batch as records on a pipe, from the child that parses it to the parent
// that acts. The reader takes nothing on trust: order, sizes, counts, every address and every line
// end are checked again as if a stranger had written the records, for a parser that was taken over
// is one.
//   record = type (1 octet) length (4 octets, little-endian) payload
//   stream = *H h *( S *R D *T E ) ( F / P / X )
// H: value of a manifest field; h: the header is complete. S, R: "MAIL FROM:<..>", "RCPT TO:<..>";
// D: DATA; T: stuffed text; E: its end. F: octets of the batch (8 octets), all went well; P: "code
// text", the parcel is refused; X: likewise, trouble of ours.
// Threads: one object, one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/bsmtp/parser.h"
#include "common/parcel/format.h"

namespace bsmtp::parcel {

// The child's side. Records are collected; finish with one of the last three functions.
class RelayWriter final : public batch::Handler {
 public:
  explicit RelayWriter(Sink& out) : out_(out) {}
  Status header(const std::vector<std::string>& manifests);
  Status begin_message(const mail::Envelope& envelope, std::size_t index) override;
  Status text(std::string_view stuffed) override;
  Status end_message(const mail::TextFacts& facts) override;
  Status end(std::uint64_t batch_octets);
  Status end(const Status& failure);

 private:
  Status record(char type, std::string_view payload);
  BufferedSink out_;
};

// How reading ended.
struct RelayEnd {
  enum class Kind {
    kComplete,
    kRefused,     // by the child: `status`, permanent
    kTrouble,     // of the child, temporary
    kOwn,         // a callback or the handler failed, or reading did: `status`
    kCut,         // the stream ended early
    kNotBelieved  // what came is not what a sound child writes
  };
  Kind kind = Kind::kCut;
  Status status;
  std::uint64_t batch_octets = 0;
};

struct RelayLimits {
  const Limits& limits;
  batch::Agreement agreement;
};

// Reads until the stream is over. `check_manifests` is asked once, before the first message.
RelayEnd read_relay(Source& from, const RelayLimits& limits,
                    const std::function<Status(const std::vector<std::string>&)>& check_manifests,
                    batch::Handler& handler);

}  // namespace bsmtp::parcel

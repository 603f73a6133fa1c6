// libs: common/parcel common/os common/base
// Any mail, read as a parcel to the last message with the signature taken as good (so that the
// fuzzer gets behind it), and opened as from a peer that need not sign: limits hold, nothing is
// trouble of ours, and what is refused has delivered nothing that counts.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/os/file_ops.h"
#include "common/parcel/inspect.h"
#include "common/parcel/opener.h"
#include "common/parcel/text_guard.h"

namespace {

class Nobody final : public bsmtp::batch::Handler {
 public:
  bsmtp::Status begin_message(const bsmtp::mail::Envelope&, std::size_t) override {
    return bsmtp::Status::ok();
  }
  bsmtp::Status text(std::string_view) override { return bsmtp::Status::ok(); }
  bsmtp::Status end_message(const bsmtp::mail::TextFacts&) override { return bsmtp::Status::ok(); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bsmtp::os::File file(bsmtp::UniqueFd(::memfd_create("parcel", MFD_CLOEXEC)),
                                    "parcel");
  BSMTP_CHECK(::ftruncate(file.fd(), 0) == 0);
  BSMTP_CHECK(::pwrite(file.fd(), data, size, 0) == static_cast<ssize_t>(size));

  bsmtp::parcel::Limits limits;
  limits.parcel_bytes = 1U << 20U;
  limits.inflate.max_bytes = 1U << 20U;
  limits.messages = 100;
  limits.recipients = 10;
  const auto seen = bsmtp::parcel::inspect(bsmtp::os::real_file_ops(), file, limits,
                                           bsmtp::parcel::Sandbox::kOff);
  BSMTP_CHECK(seen.is_ok());
  BSMTP_CHECK(seen->messages <= limits.messages);
  const auto told = bsmtp::parcel::parse_inspection(bsmtp::parcel::format_inspection(*seen));
  BSMTP_CHECK(told.is_ok() && told->problem.empty() == seen->problem.empty());

  bsmtp::parcel::OpenRequest request;
  request.ops = &bsmtp::os::real_file_ops();
  request.file = &file;
  request.host = "athena.domain.co.uk";
  request.transport_peer = "hub";
  request.limits = limits;
  request.peers.emplace_back();
  request.peers.back().peer = "hub";
  request.peers.back().require_signature = false;
  Nobody nobody;
  const auto opened = bsmtp::parcel::open(request, nobody);
  if (!opened.is_ok()) {
    BSMTP_CHECK(opened.status().is_temporary());
    BSMTP_CHECK(!seen->signature_kind.empty());  // signed, and there is no key ring here
  }
  return 0;
}

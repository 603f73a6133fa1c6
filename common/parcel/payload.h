// Second half of opening: from the part whose sender is known to the events of its batch.
//   transfer encoding -> [gzip under caps -> inner header] -> media type, required-extensions ->
//   the caller's check of the header (manifest) -> the whole batch, exactly one.
// No layer is ever unwrapped twice. Of a big part, decoding and inflating run in a thread each
// (read_ahead.h), which call ops.read_at(); they have ended when read_payload() returns.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/bsmtp/parser.h"
#include "common/mail/mime.h"
#include "common/os/file_ops.h"
#include "common/parcel/format.h"
#include "common/parcel/opener.h"
#include "common/parcel/structure.h"

namespace bsmtp::parcel {

struct PayloadRequest {
  os::FileOps& ops;
  const os::File& file;
  Extent part;
  const mail::EntityHeader& header;  // of the part
  const Limits& limits;
  batch::Agreement agreement;
  bool require_quit = false;
  codec::InflateEngine engine = codec::InflateEngine::kZlib;
  // Asked with the header that stands right on the batch, before the batch is read.
  std::function<Status(const mail::EntityHeader&)> check_header{};
};

// Values of the manifest fields of a header.
std::vector<std::string> manifests_of(const mail::EntityHeader& header);

struct PayloadFacts {
  std::uint64_t messages = 0;
  std::uint64_t recipients = 0;
  std::uint64_t plain_bytes = 0;
};

// A permanent Status is a verdict about the parcel (see payload_reject). Whatever the handler
// fails with comes out as a temporary Status: it is our side that could not go on.
Result<PayloadFacts> read_payload(const PayloadRequest& request, batch::Handler& handler);

// Which verdict a permanent Status of this module means.
Reject payload_reject(const Status& status);

}  // namespace bsmtp::parcel

// Builds a parcel: items (complete BSMTP transactions) -> batch -> gzip -> base64 -> signature,
// streaming, into one file that holds the complete MIME entity. The entity never changes
// afterwards; each submission puts fresh outer_headers() in front of it.
// Memory does not depend on items or parcel (measured: docs/performance.md).
// No parcel leaves here that a peer's limits would refuse: nobody would hear of the loss.
// Failure: a bad item is permanent and names the item (the caller sets it aside and builds
// again); everything else is temporary. The file is then to be thrown away.
// Threads: independent calls may run at once, each with its own Signer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/stream.h"
#include "common/bsmtp/extensions.h"
#include "common/crypto/openpgp.h"
#include "common/os/file_ops.h"
#include "common/parcel/format.h"
#include "common/parcel/manifest.h"

namespace bsmtp::parcel {

struct BuildItem {
  std::string name;  // for messages: the item's id or path
  // Opened when its turn comes, closed before the next: 10,000 items need no 10,000 descriptors.
  std::function<Result<std::unique_ptr<Source>>()> open;
};
// Items that are files. `ops` must outlive them.
std::vector<BuildItem> file_items(os::FileOps& ops, const std::vector<std::string>& paths);

struct BuildRequest {
  Profile profile = Profile::kNative;
  std::vector<BuildItem> items;
  std::string host;                  // for EHLO: this gateway
  batch::Agreement agreement;        // extensions beyond RFC 2442's three; native only
  std::optional<Manifest> manifest;  // native: required; other profiles: left out
  int compression_level = 6;
  bool compress = true;              // pmdf-signed only: gzip inside the signature
  crypto::Signer* signer = nullptr;  // required by native and pmdf-signed
  // What the peer takes. Nobody asks it, so that only the defaults of this suite are known.
  Limits limits;
};

struct BuildResult {
  // How many items went in, from the first on, at least one. All of them, unless they could take
  // more than one parcel may hold: then the caller puts the rest back for the next parcel.
  std::size_t items = 0;
  std::uint64_t entity_bytes = 0;  // what was written to the file
  std::uint64_t plain_bytes = 0;   // the batch
  std::uint64_t messages = 0;      // transactions of the batch
  std::string digest;  // SHA-256 (hex) of the signed octets; of the part's octets when unsigned
};

// Writes the entity (Content-Type ... to the last CRLF) to `file`, an empty regular file open for
// writing; does not fsync (the spool commits). All items are read twice: the
// first time nothing is written, so that a bad one is known before a parcel begins. When the
// Status is permanent, `bad_item` (may be null) gets the index of the item that was refused: a
// damaged one (5.6.0, 5.6.1), one the peer cannot take (5.6.7, 5.5.4), one over request.limits
// (5.6.1 line, 5.5.3 recipients, 5.3.4 size). Items with more than 100 recipients (RFC 5321
// 4.5.3.1.8) become several transactions.
Result<BuildResult> build(const BuildRequest& request, os::FileOps& ops, os::File& file,
                          std::size_t* bad_item = nullptr);

struct OuterHeaders {
  std::string from;        // bsmtp@hub.domain.com: our parcel address
  std::string to;          // bsmtp@athena.domain.co.uk
  std::string parcel_id;   // stands in Subject and Message-ID
  std::string message_id;  // "<...>"; unique per submission
  TimePoint date;
  bool receipt = false;  // says so in Subject; Auto-Submitted: auto-replied
};
// From, To, Subject, Date, Message-ID, MIME-Version, Auto-Submitted: auto-generated (RFC 3834 5),
// pure ASCII, CRLF, without the empty line: the entity's own headers follow at once.
Result<std::string> outer_headers(const OuterHeaders& headers);

}  // namespace bsmtp::parcel

// See receipt.h: from a mail to a receipt that counts.
#include <algorithm>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/digest/sha256.h"
#include "common/os/fd_stream.h"
#include "common/parcel/receipt.h"
#include "common/parcel/structure.h"
#include "common/parcel/text_guard.h"

namespace bsmtp::parcel {
namespace {

constexpr std::size_t kMaxSigned = 1U << 20U;

ReceiptResult refused(Reject reason, std::string why, std::string peer = "") {
  Rejected rejected;
  rejected.reason = reason;
  rejected.why = std::move(why);
  rejected.peer = std::move(peer);
  return rejected;
}

Result<std::string> octets_of(const OpenRequest& request, std::uint64_t begin, std::uint64_t end,
                              std::size_t limit) {
  os::RangeSource range(*request.ops, *request.file, begin, end - begin);
  StringSink sink(limit);
  TRY(copy(range, sink).status());
  return sink.take();
}

const PeerPolicy* policy_of(const OpenRequest& request, std::string_view peer) {
  const auto it = std::find_if(request.peers.begin(), request.peers.end(),
                               [&](const PeerPolicy& policy) { return policy.peer == peer; });
  return it == request.peers.end() ? nullptr : &*it;
}

// What a verified report says, held against its key's peer.
Result<ReceiptResult> judge_report(const OpenRequest& request, const crypto::Verdict& verdict,
                                   const std::string& part) {
  const PeerPolicy* policy = policy_of(request, verdict.peer);
  if (policy == nullptr ||
      (!request.transport_peer.empty() && policy->peer != request.transport_peer)) {
    return refused(Reject::kUnknownKey, "the receipt is signed by peer " + verdict.peer +
                                            ", from which none is expected here");
  }
  auto facts = parse_receipt(part);
  if (!facts.is_ok()) {
    return facts.status().is_permanent()
               ? refused(Reject::kMalformed, facts.status().text(), policy->peer)
               : Result<ReceiptResult>(facts.status());
  }
  if (!facts->has_value()) {
    return refused(Reject::kNotAParcel, "a signed delivery report, but no receipt", policy->peer);
  }
  if (!iequals((*facts)->to, request.host)) {
    return refused(Reject::kNotForMe, "the receipt is for " + (*facts)->to + ", not for this host",
                   policy->peer);
  }
  if (!iequals((*facts)->from, policy->host)) {
    return refused(Reject::kWrongSender,
                   "the receipt says it is from " + (*facts)->from +
                       ", but its key is that of peer " + policy->peer + " at " + policy->host,
                   policy->peer);
  }
  return ReceiptResult(OpenedReceipt{policy->peer, verdict.fingerprint, digest::sha256_hex(part),
                                     std::move(**facts)});
}

Result<ReceiptResult> steps(const OpenRequest& request) {
  TRY_ASSIGN(const Structure structure,
             read_structure(*request.ops, *request.file, request.limits));
  if (structure.kind != Structure::Kind::kReceipt) {
    return refused(Reject::kNotAParcel, "no signed delivery report");
  }
  if (request.verifier == nullptr) {
    return Status::temporary("4.3.5", "a receipt came, but no key ring is configured");
  }
  TRY_ASSIGN(const std::string part,
             octets_of(request, structure.part.begin, structure.part.end, kMaxSigned));
  TRY_ASSIGN(const std::string signature,
             octets_of(request, structure.signature.begin, structure.signature.end,
                       request.limits.signature_bytes));
  // What gpg would not hash never gets there, nor to the parser.
  StringSource unguarded(part);
  TextGuard checked(unguarded, TextGuard::Form::kCrlf);
  StringSink nothing_lost(kMaxSigned);
  TRY(copy(checked, nothing_lost).status());
  StringSource source(part);
  TRY_ASSIGN(const crypto::Verdict verdict, request.verifier->verify(source, signature));
  if (!verdict.good()) {
    return refused(reject_for(verdict.fault), verdict.why);
  }
  return judge_report(request, verdict, part);
}

}  // namespace

Result<ReceiptResult> open_receipt(const OpenRequest& request) {
  BSMTP_CHECK(request.ops != nullptr && request.file != nullptr);
  auto opened = steps(request);
  if (!opened.is_ok() && opened.status().is_permanent()) {
    const bool big = opened.status().code() == "5.3.4";
    return refused(big ? Reject::kTooBig : Reject::kMalformed, opened.status().text());
  }
  return opened;
}

}  // namespace bsmtp::parcel

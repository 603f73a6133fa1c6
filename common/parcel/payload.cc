#include "common/parcel/payload.h"

#include <optional>
#include <utility>

#include "common/base/text.h"
#include "common/bsmtp/extensions.h"
#include "common/codec/gzip.h"
#include "common/os/fd_stream.h"
#include "common/parcel/counting_handler.h"
#include "common/parcel/entity_body.h"
#include "common/parcel/read_ahead.h"

namespace bsmtp::parcel {
namespace {

// From this size of a part on, unpacking in threads saves more than starting them costs.
constexpr std::uint64_t kReadAheadFrom = 256U << 10U;

Status check_label(const mail::EntityHeader& header, const batch::Agreement& agreement) {
  const mail::MediaType& type = header.content_type;
  if (!type.is("application/batch-smtp")) {
    return Status::permanent("5.6.3", "the parcel holds " +
                                          printable(type.type + "/" + type.subtype, 100) +
                                          " and no batch (application/batch-SMTP)");
  }
  if (const std::string* value = type.param("required-extensions")) {
    TRY_ASSIGN(const auto keywords, batch::parse_required_extensions(*value));
    const Status status = batch::check_required_extensions(keywords, agreement);
    if (!status.is_ok()) {
      return Status::permanent("5.6.3", status.text());
    }
  }
  return Status::ok();
}

Result<std::uint64_t> parse_batch(const PayloadRequest& request, Source& source, bool lf_lines,
                                  batch::Handler& handler) {
  batch::Parser::Options options;
  options.limits.messages = request.limits.messages;
  options.limits.recipients = request.limits.recipients;
  options.limits.text_line = request.limits.line;
  options.agreement = request.agreement;
  options.lf_if_first_line_is = lf_lines;
  options.require_quit = request.require_quit;
  batch::Parser parser(handler, options);
  TRY_ASSIGN(const std::uint64_t octets, copy(source, parser));
  TRY(parser.finish());
  return octets;
}

Result<std::uint64_t> read_layers(const PayloadRequest& request, batch::Handler& handler) {
  const Extent& part = request.part;
  os::RangeSource range(request.ops, request.file, part.body, part.end - part.body);
  TRY_ASSIGN(DecodedBody decoded, DecodedBody::make(range, request.header.transfer_encoding));
  if (!request.header.content_type.is(kCompressedType)) {
    TRY(check_label(request.header, request.agreement));
    TRY(request.check_header(request.header));
    return parse_batch(request, decoded.source(), false, handler);
  }
  const bool big = part.end - part.body >= kReadAheadFrom;
  // Inflating alone takes longer than all else together, so it has a thread without other work.
  std::optional<ReadAhead> packed;
  if (big) {
    packed.emplace(decoded.source());
  }
  codec::GunzipSource gunzip(big ? static_cast<Source&>(*packed) : decoded.source(),
                             request.limits.inflate, request.engine);
  std::optional<ReadAhead> plain;
  if (big) {
    plain.emplace(gunzip);
  }
  EntityBody inner(big ? static_cast<Source&>(*plain) : gunzip);
  TRY_ASSIGN(const mail::EntityHeader header,
             inner.read_header({request.limits.header_bytes, request.limits.header_fields}));
  TRY(check_label(header, request.agreement));
  TRY(request.check_header(header));
  TRY_ASSIGN(DecodedBody batch, DecodedBody::make(inner, header.transfer_encoding));
  return parse_batch(request, batch.source(), inner.lf_lines(), handler);
}

}  // namespace

std::vector<std::string> manifests_of(const mail::EntityHeader& header) {
  std::vector<std::string> values;
  for (const mail::HeaderField& field : header.fields) {
    if (iequals(field.name, kManifestField)) {
      values.push_back(field.value);
    }
  }
  return values;
}

Result<PayloadFacts> read_payload(const PayloadRequest& request, batch::Handler& handler) {
  CountingHandler counting(handler);
  const auto octets = read_layers(request, counting);
  if (!counting.failure().is_ok()) {
    return counting.failure();
  }
  if (!octets.is_ok()) {
    return octets.status();
  }
  PayloadFacts facts = counting.facts();
  facts.plain_bytes = *octets;
  return facts;
}

Reject payload_reject(const Status& status) {
  const std::string& code = status.code();
  if (code == "5.3.4" || code == "5.5.3") {
    return Reject::kTooBig;
  }
  if (code == "5.6.3" || code == "5.6.7" || code == "5.5.4") {
    return Reject::kUnsupported;
  }
  return Reject::kMalformed;
}

}  // namespace bsmtp::parcel

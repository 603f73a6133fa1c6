#include "common/parcel/builder.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/bsmtp/writer.h"
#include "common/codec/base64.h"
#include "common/codec/gzip.h"
#include "common/digest/sha256.h"
#include "common/mail/line.h"
#include "common/os/fd_stream.h"
#include "common/parcel/parallel_signature.h"
#include "common/parcel/signed_entity.h"
#include "common/parcel/survey.h"

namespace bsmtp::parcel {
namespace {

constexpr std::size_t kBoundaryOctets = 12;   // random: 24 hex digits
constexpr std::uint64_t kMaxPlainLine = 998;  // RFC 5322 2.1.1

constexpr std::size_t kHeaderRoom = 65536;  // headers that MTAs put on a parcel on its way

bool is_signed(Profile profile) {
  return profile == Profile::kNative || profile == Profile::kPmdfSigned;
}

bool is_pmdf(Profile profile) {
  return profile == Profile::kPmdfGzip || profile == Profile::kPmdfSigned;
}

// PMDF's conversion scripts write files: inside the gzip lines end as its hosts end them.
class LfSink final : public Sink {
 public:
  explicit LfSink(Sink& next) : next_(next) {}
  // The batch has no bare CR, so dropping every CR is exact.
  Status write(std::string_view data) override {
    while (!data.empty()) {
      const std::size_t cr = data.find('\r');
      TRY(next_.write(data.substr(0, cr)));
      data.remove_prefix(cr == std::string_view::npos ? data.size() : cr + 1);
    }
    return Status::ok();
  }

 private:
  Sink& next_;
};

// Media type of the batch. Old peers get the parameter only when it says something new.
std::string batch_type(const Survey& survey, Profile profile) {
  std::string field = str_cat({"Content-Type: ", kBatchType});
  if (profile == Profile::kNative || !survey.requirements.is_default()) {
    field += str_cat({";\r\n required-extensions=\"", survey.requirements.value(), "\""});
  }
  return field + "\r\n";
}

Result<std::string> manifest_field(const BuildRequest& request) {
  if (request.profile != Profile::kNative) {
    return std::string();
  }
  TRY_ASSIGN(const std::string value, format_manifest(*request.manifest));
  return str_cat({kManifestField, ": ", value, "\r\n"});
}

// One build: the chain of sinks from the batch to the file.
class Build {
 public:
  Build(const BuildRequest& request, os::FileOps& ops, os::File& file)
      : request_(request), out_(ops, file) {}

  Result<BuildResult> run(const Survey& survey);

 private:
  Status write_part(const Survey& survey, Sink& part);
  Status write_compressed(const Survey& survey, Sink& part);
  Status write_batch(const Survey& survey, Sink& to);
  Status write_signed(const Survey& survey);

  const BuildRequest& request_;
  os::FileSink out_;
  BuildResult result_;
};

Status Build::write_batch(const Survey& survey, Sink& to) {
  batch::Writer writer(to, {request_.host, request_.agreement, recipients_at_once(request_)});
  TRY(writer.begin());
  for (std::size_t i = 0; i < survey.items; ++i) {
    const BuildItem& item = request_.items[i];
    if (const auto info = writer.add_item(item.open); !info.is_ok()) {
      if (info.status().is_temporary()) {
        return info.status().with_context("item " + item.name);
      }
      // It was good a moment ago: whatever happened to it is no verdict about the mail.
      return Status::temporary(
          "4.3.0",
          "item " + item.name + " changed while a parcel was built: " + info.status().text());
    }
  }
  TRY(writer.finish());
  result_.messages = writer.messages();
  result_.plain_bytes = writer.octets();
  return Status::ok();
}

// gzip of the whole inner entity, header and batch, as PMDF's conversions make it.
Status Build::write_compressed(const Survey& survey, Sink& part) {
  codec::Base64Sink base64(part);
  codec::GzipSink gzip(base64, request_.compression_level);
  LfSink lf(gzip);
  Sink& plain = is_pmdf(request_.profile) ? static_cast<Sink&>(lf) : gzip;
  TRY_ASSIGN(const std::string manifest, manifest_field(request_));
  // The batch may hold longer lines than 8bit allows; inside the gzip that hurts nobody, and the
  // label "binary" then says the truth (RFC 2045 2.9).
  const std::string_view encoding = survey.longest_line > kMaxPlainLine ? "binary"
                                    : survey.has_8bit                   ? "8bit"
                                                                        : "7bit";
  TRY(plain.write(str_cat({batch_type(survey, request_.profile),
                           "Content-Transfer-Encoding: ", encoding, "\r\n", manifest, "\r\n"})));
  BufferedSink buffered(plain);
  TRY(write_batch(survey, buffered));
  TRY(buffered.finish());
  TRY(gzip.finish());
  return base64.finish();
}

Status Build::write_part(const Survey& survey, Sink& part) {
  if (compresses(request_)) {
    TRY(part.write(str_cat(
        {"Content-Type: ", kCompressedType, "\r\nContent-Transfer-Encoding: base64\r\n\r\n"})));
    return write_compressed(survey, part);
  }
  TRY(part.write(str_cat(
      {batch_type(survey, request_.profile), "Content-Transfer-Encoding: base64\r\n\r\n"})));
  codec::Base64Sink base64(part);
  BufferedSink buffered(base64);
  TRY(write_batch(survey, buffered));
  TRY(buffered.finish());
  return base64.finish();
}

// Both sinks see the same octets.
class TeeSink final : public Sink {
 public:
  TeeSink(Sink& first, Sink& second) : first_(first), second_(second) {}
  Status write(std::string_view data) override {
    TRY(first_.write(data));
    return second_.write(data);
  }

 private:
  Sink& first_;
  Sink& second_;
};

Status Build::write_signed(const Survey& survey) {
  TRY_ASSIGN(const std::string random, random_hex(kBoundaryOctets));
  // "=_" can occur neither in base64 nor in quoted-printable.
  const std::string boundary = "=_" + random;
  TRY(out_.write(signed_begin(boundary)));
  TRY_ASSIGN(const auto signing, ParallelSignature::start(*request_.signer));
  TeeSink part(out_, *signing);
  digest::Sha256Sink digest(&part);
  TRY(write_part(survey, digest));
  result_.digest = digest.hex();
  TRY_ASSIGN(const std::string signature, signing->take());
  return out_.write(signed_end(boundary, signature));
}

Result<BuildResult> Build::run(const Survey& survey) {
  if (is_signed(request_.profile)) {
    TRY(write_signed(survey));
  } else {
    digest::Sha256Sink digest(&out_);
    TRY(write_part(survey, digest));
    result_.digest = digest.hex();
  }
  TRY(out_.finish());
  result_.items = survey.items;
  result_.entity_bytes = out_.count();
  return result_;
}

// How well a single huge item compresses is known only now.
Status check_size(const BuildRequest& request, const BuildResult& result, std::size_t* bad_item) {
  const std::uint64_t limit = request.limits.parcel_bytes;
  if (result.entity_bytes + kHeaderRoom <= limit) {
    return Status::ok();
  }
  const std::string what = str_cat({"item ", request.items.front().name, " makes a parcel of ",
                                    std::to_string(result.entity_bytes), " octets; at most ",
                                    std::to_string(limit), " (max-parcel-bytes) are taken"});
  if (result.items > 1) {
    return Status::temporary("4.3.4", what);  // the survey lets only a single one come so far
  }
  if (bad_item != nullptr) {
    *bad_item = 0;
  }
  return Status::permanent("5.3.4", what);
}

Status check_request(const BuildRequest& request) {
  BSMTP_CHECK(!request.items.empty());
  BSMTP_CHECK(!is_signed(request.profile) || request.signer != nullptr);
  BSMTP_CHECK(request.profile != Profile::kNative || request.manifest.has_value());
  return Status::ok();
}

// An address that can stand in a header as it is.
bool is_plain_address(std::string_view address) {
  return !address.empty() && address.find('@') != std::string_view::npos &&
         std::all_of(address.begin(), address.end(), [](char c) {
           return c > 0x20 && c < 0x7F && c != '<' && c != '>' && c != ',' && c != ';' && c != '"';
         });
}

}  // namespace

std::vector<BuildItem> file_items(os::FileOps& ops, const std::vector<std::string>& paths) {
  std::vector<BuildItem> items;
  items.reserve(paths.size());
  for (const std::string& path : paths) {
    items.push_back({path, [&ops, path]() -> Result<std::unique_ptr<Source>> {
                       auto file = ops.open(path, os::kReadOnly, 0);
                       if (os::is_no_ordinary_file(file.status())) {
                         return Status::permanent("5.6.0", file.status().text());
                       }
                       TRY(file.status());
                       return std::unique_ptr<Source>(
                           std::make_unique<os::OwnedFileSource>(ops, std::move(*file)));
                     }});
  }
  return items;
}

Result<BuildResult> build(const BuildRequest& request, os::FileOps& ops, os::File& file,
                          std::size_t* bad_item) {
  TRY(check_request(request));
  TRY_ASSIGN(const Survey survey, survey_items(request, bad_item));
  Build build(request, ops, file);
  TRY_ASSIGN(BuildResult result, build.run(survey));
  TRY(check_size(request, result, bad_item));
  return result;
}

Result<std::string> outer_headers(const OuterHeaders& headers) {
  for (const std::string& address : {headers.from, headers.to}) {
    if (!is_plain_address(address)) {
      return Status::temporary("4.3.5", "parcel address " + printable(address) +
                                            " cannot stand in a header; see host= and user=");
    }
  }
  const std::string_view id = headers.message_id;
  if (id.size() < 5 || id.front() != '<' || id.back() != '>' ||
      !is_plain_address(id.substr(1, id.size() - 2))) {
    return Status::temporary("4.3.5", "Message-ID " + printable(headers.message_id) + " is none");
  }
  return str_cat({"From: BSMTP gateway <", headers.from, ">\r\nTo: ", headers.to,
                  "\r\nSubject: BSMTP ", headers.receipt ? "receipt " : "parcel ",
                  printable(headers.parcel_id, 60), "\r\nDate: ", format_rfc5322(headers.date),
                  "\r\nMessage-ID: ", headers.message_id,
                  "\r\nMIME-Version: 1.0\r\nAuto-Submitted: ",
                  headers.receipt ? "auto-replied" : "auto-generated", "\r\n"});
}

}  // namespace bsmtp::parcel

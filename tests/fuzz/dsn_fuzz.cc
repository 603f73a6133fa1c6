// libs: mda/notice common/mail common/base
// Reports about hostile messages. Lines of the input: MAIL's and RCPT's arguments, what a server
// said, our reason, then the message. Whatever they are, the report is CRLF mail of three parts,
// two when there is no header to return, whose header and delivery-status fields are ours, each
// once where it may stand once.
#include "common/base/text.h"
#include "common/mail/envelope.h"
#include "common/mail/mime.h"
#include "mda/notice/dsn.h"
#include "tests/support/fuzz_property.h"

namespace {

using namespace bsmtp;

std::string_view take_line(std::string_view& text) {
  const std::size_t eol = text.find('\n');
  const std::string_view line = text.substr(0, eol);
  text.remove_prefix(eol == std::string_view::npos ? text.size() : eol + 1);
  return line;
}

// Message text as bsmtp-in lets it pass: CRLF lines, no NUL, no CR by itself.
std::string mail_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\r\n";
    } else if (c != '\r' && c != '\0') {
      out += c;
    }
  }
  return out.empty() || out.ends_with("\r\n") ? out : out + "\r\n";
}

void check_lines(std::string_view text) {
  FUZZ_CHECK(text.ends_with("\r\n") && text.find('\0') == std::string_view::npos);
  for (std::size_t i = 0; i < text.size(); ++i) {
    FUZZ_CHECK(text[i] != '\n' || (i > 0 && text[i - 1] == '\r'));
    FUZZ_CHECK(text[i] != '\r' || (i + 1 < text.size() && text[i + 1] == '\n'));
  }
}

mail::EntityHeader check_header(std::string_view text) {
  constexpr std::string_view kOurs[] = {"From",           "To",          "Subject",
                                        "Date",           "Message-ID",  "MIME-Version",
                                        "Auto-Submitted", "Content-Type"};
  StringSource source(text);
  const auto header = mail::read_entity_header(source);
  FUZZ_CHECK(header.is_ok() && header->fields.size() == std::size(kOurs));
  for (const std::string_view name : kOurs) {
    FUZZ_CHECK(header->count(name) == 1);
  }
  return *header;
}

void check_status(std::string_view text) {
  constexpr std::string_view kFields[] = {"Reporting-MTA:",   "Original-Envelope-Id:",
                                          "Arrival-Date:",    "Original-Recipient:",
                                          "Final-Recipient:", "Action:",
                                          "Status:",          "Remote-MTA:",
                                          "Diagnostic-Code:", "Last-Attempt-Date:",
                                          "Will-Retry-Until:"};
  std::size_t groups = 0;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    line.remove_suffix(1);  // CR
    bool ours = line.empty() || line.starts_with(' ');
    for (const std::string_view name : kFields) {
      ours = ours || line.starts_with(name);
    }
    FUZZ_CHECK(ours);
    groups += line.starts_with("Final-Recipient:") ? 1U : 0U;
  }
  FUZZ_CHECK(groups == 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = as_text(data, size);
  const auto envelope = mail::parse_mail(take_line(text));
  const auto recipient = mail::parse_rcpt(take_line(text));
  if (!envelope.is_ok() || !recipient.is_ok() || envelope->sender.empty()) {
    return 0;
  }
  mda::DsnRequest request;
  request.kind = static_cast<mda::NoticeKind>(size % 3);
  request.reporting_mta = "hub.domain.com";
  request.postmaster = "postmaster@hub.domain.com";
  request.notice_id = std::string(44, 'a');
  request.envelope = *envelope;
  mda::DsnRecipient told{*recipient, "5.1.1", std::string(take_line(text)),
                         std::string(take_line(text)), "mx.example"};
  request.recipients.push_back(std::move(told));
  const std::string message = mail_text(text);
  StringSource source(message);
  FUZZ_CHECK(mda::take_original(source, message.size(), 1U << 20U, request).is_ok());
  const auto report = mda::format_dsn(request);
  FUZZ_CHECK(report.is_ok());
  check_lines(*report);
  const mail::EntityHeader header = check_header(*report);
  StringSource body(std::string_view(*report).substr(header.octets));
  const std::string* boundary = header.content_type.param("boundary");
  FUZZ_CHECK(boundary != nullptr);
  const auto parts = mail::split_multipart(body, *boundary, {}, header.octets);
  const bool returns = request.full || !request.original_header.empty();
  FUZZ_CHECK(parts.is_ok() && parts->size() == (returns ? 3 : 2));
  const mail::Part& status = parts->at(1);
  FUZZ_CHECK(status.header.content_type.subtype.ends_with("delivery-status"));
  check_status(std::string_view(*report).substr(status.body, status.end - status.body));
  FUZZ_CHECK(mda::dsn_envelope(request).sender.empty());
  return 0;
}

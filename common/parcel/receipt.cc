// See receipt.h: text of receipts, both ways.
#include "common/parcel/receipt.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/base/units.h"
#include "common/mail/mime.h"
#include "common/parcel/builder.h"
#include "common/parcel/format.h"
#include "common/parcel/signed_entity.h"
#include "common/parcel/tag_list.h"

namespace bsmtp::parcel {
namespace {

constexpr std::size_t kMaxReceipt = 1U << 20U;
constexpr std::size_t kColumns = 72;
constexpr std::size_t kReceiptBoundaryOctets = 12;
constexpr std::array<std::string_view, 5> kReceiptTags = {"v", "from", "to", "t", "crit"};
constexpr std::array<std::string_view, 5> kParcelTags = {"v", "id", "d", "s", "crit"};

Status bad_receipt(std::string_view what) {
  return Status::permanent("5.6.0", str_cat({"receipt: ", what}));
}

// --- writing -----------------------------------------------------------------------------------

// "Name: value" broken at blanks; without two blanks in a row or one at a line's end, which text
// signatures do not survive (RFC 3156 3).
std::string folded(std::string_view name, std::string_view value) {
  std::string out = str_cat({name, ":"});
  std::size_t column = out.size();
  for (const std::string_view word : split_blank(value)) {
    const bool fold = column + 1 + word.size() > kColumns && column > name.size() + 1;
    out += str_cat({fold ? "\r\n " : " ", word});
    column = (fold ? 0 : column) + 1 + word.size();
  }
  return out + "\r\n";
}

std::string human_part(const ReceiptFacts& facts) {
  const auto refused =
      std::count_if(facts.answers.begin(), facts.answers.end(),
                    [](const auto& answer) { return answer.fate != spool::ParcelFate::kAccepted; });
  std::string text = str_cat(
      {"This is a receipt between mail gateways; nobody need read it.\r\n\r\nThe gateway\r\n  ",
       facts.from, "\r\nsays what became of ", std::to_string(facts.answers.size()),
       " parcel(s) of the gateway\r\n  ", facts.to, "\r\n"});
  if (refused == 0) {
    return text + "All were taken and unpacked.\r\n";
  }
  return text + str_cat({std::to_string(refused),
                         " of them were refused, and none of their messages is delivered;\r\n"
                         "the other gateway tells the senders.\r\n"});
}

// Who reads only the report's own fields is told the truth too.
std::string parcel_group(const spool::ParcelAnswer& answer, std::string_view address) {
  const bool taken = answer.fate == spool::ParcelFate::kAccepted;
  std::string group =
      str_cat({"\r\nFinal-Recipient: rfc822; ", address,
               "\r\nAction: ", taken ? "relayed" : "failed", "\r\nStatus: ", answer.code, "\r\n"});
  if (!taken && !trim(answer.text).empty()) {
    group += folded("Diagnostic-Code", str_cat({"X-BSMTP; ", answer.text}));
  }
  return group +
         str_cat({kReceiptParcelField, ": v=1; id=", answer.parcel_id, ";\r\n d=", answer.digest,
                  ";\r\n s=", spool::fate_name(answer.fate), "\r\n"});
}

// --- reading -----------------------------------------------------------------------------------

struct Field {
  std::string name;  // lower case
  std::string value;
};
using Group = std::vector<Field>;

// One line without its end; false at the end of `rest`.
bool next_line(std::string_view& rest, std::string_view& line) {
  if (rest.empty()) {
    return false;
  }
  const std::size_t end = rest.find("\r\n");
  line = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 2);
  return true;
}

// RFC 3464 2.1: groups of header-like fields, an empty line between them.
Result<std::vector<Group>> split_groups(std::string_view body) {
  std::vector<Group> groups;
  bool open = false;
  std::string_view line;
  while (next_line(body, line)) {
    if (line.empty()) {
      open = false;
      continue;
    }
    if (line.front() == ' ' || line.front() == '\t') {
      if (!open) {
        return bad_receipt("a continuation line continues nothing");
      }
      groups.back().back().value += str_cat({" ", trim(line)});
      continue;
    }
    const std::size_t name = mail::field_name_length(line);
    if (name == std::string_view::npos) {
      return bad_receipt("a line of the delivery status is no field");
    }
    if (!open && groups.size() > spool::kMaxReceiptParcels) {
      return Status::permanent("5.3.4", "receipt: more parcels than one receipt may name");
    }
    if (!open) {
      groups.emplace_back();
      open = true;
    }
    const std::size_t colon = line.find(':', name);
    groups.back().push_back(
        {to_lower(line.substr(0, name)), std::string(trim(line.substr(colon + 1)))});
  }
  return groups;
}

// nullptr when it is not there; an error when it is there twice.
Result<const std::string*> field_of(const Group& group, std::string_view name) {
  const std::string* found = nullptr;
  for (const Field& field : group) {
    if (iequals(field.name, name)) {
      if (found != nullptr) {
        return bad_receipt(str_cat({"field ", name, " stands twice"}));
      }
      found = &field.value;
    }
  }
  return found;
}

Result<std::string> needed_field(const Group& group, std::string_view name) {
  TRY_ASSIGN(const std::string* value, field_of(group, name));
  if (value == nullptr) {
    return bad_receipt(str_cat({"field ", name, " is missing"}));
  }
  return *value;
}

// "smtp; 550 no" -> "550 no": the type, then what follows the semicolon.
std::string behind_type(std::string_view value) {
  const std::size_t semicolon = value.find(';');
  return std::string(semicolon == std::string_view::npos ? value
                                                         : trim(value.substr(semicolon + 1)));
}

Result<spool::ParcelAnswer> parse_answer(const Group& group) {
  TRY_ASSIGN(const std::string value, needed_field(group, kReceiptParcelField));
  TRY_ASSIGN(const TagList tags, TagList::parse(kReceiptParcelField, value, kParcelTags));
  spool::ParcelAnswer answer;
  TRY_ASSIGN(answer.parcel_id, tags.text("id"));
  TRY_ASSIGN(answer.digest, tags.text("d"));
  TRY_ASSIGN(const std::string state, tags.text("s"));
  const auto fate = spool::fate_from(state);
  if (!fate) {
    return tags.bad("tag s= is not accepted, rejected or expired");
  }
  answer.fate = *fate;
  TRY_ASSIGN(answer.code, needed_field(group, "Status"));
  TRY_ASSIGN(const std::string action, needed_field(group, "Action"));
  const bool taken = answer.fate == spool::ParcelFate::kAccepted;
  if (!iequals(action, taken ? "relayed" : "failed")) {
    return bad_receipt("Action contradicts the parcel's state");
  }
  TRY(needed_field(group, "Final-Recipient").status());
  TRY_ASSIGN(const std::string* diagnostic, field_of(group, "Diagnostic-Code"));
  if (diagnostic != nullptr) {
    answer.text = spool::answer_text(behind_type(*diagnostic));
  }
  if (const std::string_view fault = spool::answer_fault(answer); !fault.empty()) {
    return bad_receipt(fault);
  }
  return answer;
}

Result<std::optional<ReceiptFacts>> parse_status(std::string_view body) {
  TRY_ASSIGN(const std::vector<Group> groups, split_groups(body));
  if (groups.empty()) {
    return bad_receipt("the delivery status is empty");
  }
  TRY_ASSIGN(const std::string* value, field_of(groups.front(), kReceiptField));
  if (value == nullptr) {
    return std::optional<ReceiptFacts>();
  }
  TRY_ASSIGN(const TagList tags, TagList::parse(kReceiptField, *value, kReceiptTags));
  ReceiptFacts facts;
  TRY_ASSIGN(facts.from, tags.host("from"));
  TRY_ASSIGN(facts.to, tags.host("to"));
  TRY_ASSIGN(facts.time, tags.time("t"));
  TRY_ASSIGN(const std::string reporter, needed_field(groups.front(), "Reporting-MTA"));
  if (!iequals(behind_type(reporter), facts.from)) {
    return bad_receipt("Reporting-MTA is not the host of from=");
  }
  std::set<std::string> ids;
  for (std::size_t i = 1; i < groups.size(); ++i) {
    TRY_ASSIGN(spool::ParcelAnswer answer, parse_answer(groups[i]));
    if (!ids.insert(answer.parcel_id).second) {
      return bad_receipt("a parcel stands twice");
    }
    facts.answers.push_back(std::move(answer));
  }
  if (facts.answers.empty()) {
    return bad_receipt("it names no parcel");
  }
  return std::optional<ReceiptFacts>(std::move(facts));
}

bool is_plain_text_encoding(const mail::EntityHeader& header) {
  return header.transfer_encoding == "7bit";
}

}  // namespace

Result<std::string> format_receipt(const ReceiptFacts& facts, std::string_view address,
                                   std::string_view boundary) {
  std::string text =
      str_cat({"Content-Type: ",
               kReportType,
               "; report-type=delivery-status;\r\n boundary=\"",
               boundary,
               "\"\r\n\r\n--",
               boundary,
               "\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
               human_part(facts),
               "\r\n--",
               boundary,
               "\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; ",
               facts.from,
               "\r\n",
               kReceiptField,
               ": v=1; from=",
               facts.from,
               ";\r\n to=",
               facts.to,
               ";\r\n t=",
               format_iso(facts.time),
               "\r\n"});
  for (const spool::ParcelAnswer& answer : facts.answers) {
    text += parcel_group(answer, address);
  }
  text += str_cat({"\r\n--", boundary, "--\r\n"});
  const auto read = parse_receipt(text);
  if (!read.is_ok() || !read->has_value()) {
    return Status::temporary("4.3.5", "cannot write a receipt for " + printable(facts.to, 100) +
                                          ": " + read.status().text());
  }
  return text;
}

Result<std::optional<ReceiptFacts>> parse_receipt(std::string_view octets) {
  if (octets.size() > kMaxReceipt) {
    return Status::permanent("5.3.4", "receipt: larger than 1 MiB");
  }
  StringSource source(octets);
  TRY_ASSIGN(const mail::EntityHeader header, mail::read_entity_header(source));
  const std::string* kind = header.content_type.param("report-type");
  const std::string* boundary = header.content_type.param("boundary");
  if (!header.content_type.is(kReportType) || kind == nullptr ||
      !iequals(*kind, "delivery-status")) {
    return std::optional<ReceiptFacts>();
  }
  if (boundary == nullptr || !mail::is_boundary(*boundary) || !is_plain_text_encoding(header)) {
    return bad_receipt("its multipart has no valid boundary, or an encoding");
  }
  StringSource body(octets.substr(header.octets));
  TRY_ASSIGN(const auto parts,
             mail::split_multipart(body, *boundary, mail::MimeLimits{}, header.octets));
  if (parts.size() < 2 || !parts[1].header.content_type.is("message/delivery-status")) {
    return std::optional<ReceiptFacts>();
  }
  if (parts.size() != 2 || !is_plain_text_encoding(parts[1].header)) {
    return bad_receipt("it has more than two parts, or an encoded one");
  }
  return parse_status(octets.substr(parts[1].body, parts[1].end - parts[1].body));
}

Result<std::string> build_receipt(const ReceiptMail& mail) {
  TRY_ASSIGN(const std::string random, random_hex(kReceiptBoundaryOctets));
  // Neither boundary begins with the other: hex digits know no "r".
  const std::string inner = "=_r" + random;
  const std::string outer = "=_" + random;
  TRY_ASSIGN(const std::string part, format_receipt(mail.facts, mail.from, inner));
  OuterHeaders headers;
  headers.from = mail.from;
  headers.to = mail.to;
  headers.message_id = mail.message_id;
  headers.date = mail.facts.time;
  headers.parcel_id = random;
  headers.receipt = true;
  TRY_ASSIGN(const std::string top, outer_headers(headers));
  StringSource source(part);
  TRY_ASSIGN(const std::string signature, mail.signer->sign(source));
  return str_cat({top, signed_begin(outer), part, signed_end(outer, signature)});
}

}  // namespace bsmtp::parcel

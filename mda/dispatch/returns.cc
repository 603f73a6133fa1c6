// See returns.h.
#include "mda/dispatch/returns.h"

#include <algorithm>
#include <vector>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/log/events.h"
#include "common/mail/address.h"
#include "common/mail/mime.h"
#include "common/spool/item.h"
#include "mda/dispatch/sent_job.h"
#include "mda/dispatch/split_job.h"

namespace bsmtp::mda {
namespace {

constexpr std::size_t kMaxReport = (1U << 20U) + 4096;
constexpr std::size_t kLetterLines = 80;
constexpr const char* kNoReport =
    "This came back to the return address of a parcel, but it is no delivery\n"
    "report (RFC 3464). If it says that the parcel was not delivered, the\n"
    "senders of its messages do not know yet: `bsmtpctl parcel show` names\n"
    "them as long as the parcel is kept. At most one such letter is sent an hour\n"
    "and peer; the log has the others under the event returned, action=no-report.";

// "smtp; 550 no such user" -> "550 no such user".
std::string without_type(std::string_view value) {
  const std::size_t semicolon = value.find(';');
  return std::string(
      trim(semicolon == std::string_view::npos ? value : value.substr(semicolon + 1)));
}

// The word before the semicolon, lower case; "" when there is none, or none that may be repeated.
std::string type_of(std::string_view value) {
  const std::size_t semicolon = value.find(';');
  const std::string type =
      to_lower(trim(value.substr(0, semicolon == std::string_view::npos ? 0 : semicolon)));
  const bool plain = type.size() <= 40 && std::all_of(type.begin(), type.end(), [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
                     });
  return plain ? type : "";
}

bool is_smtp_reply(std::string_view text) {
  return text.size() >= 3 && text[0] >= '2' && text[0] <= '5' &&
         parse_u64(text.substr(0, 3)).has_value() &&
         (text.size() == 3 || text[3] == ' ' || text[3] == '-');
}

// A name that may be repeated in a report: "mx.example.com", "[192.0.2.1]".
std::string host_name(std::string_view value) {
  const std::string name = without_type(value.substr(0, value.find('(')));
  const bool plain = name.size() <= 255 && std::all_of(name.begin(), name.end(), [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                              (c >= '0' && c <= '9') ||
                              std::string_view("-._[]:").find(c) != std::string_view::npos;
                     });
  return plain ? name : "";
}

// Header-like groups of RFC 3464 2.1: unfolded lines.
std::vector<std::pair<std::string, std::string>> status_fields(std::string_view body) {
  std::vector<std::pair<std::string, std::string>> fields;
  for (std::string_view line : split(body, '\n')) {
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    if (!line.empty() && (line.front() == ' ' || line.front() == '\t')) {
      if (!fields.empty()) {
        fields.back().second += str_cat({" ", trim(line)});
      }
      continue;
    }
    const std::size_t colon = line.find(':');
    if (colon != std::string_view::npos) {
      fields.emplace_back(to_lower(trim(line.substr(0, colon))),
                          std::string(trim(line.substr(colon + 1))));
    }
  }
  return fields;
}

ReturnReport report_from(std::string_view body) {
  ReturnReport report;
  for (const auto& [name, value] : status_fields(body)) {
    if (name == "action" && report.action.empty()) {
      // sendmail: "relayed (to non-DSN-aware mailer)".
      report.action = to_lower(value.substr(0, value.find_first_of(" \t(")));
    } else if (name == "status" && report.status.empty()) {
      report.status = value.substr(0, value.find(' '));
    } else if (name == "diagnostic-code" && report.diagnostic.empty()) {
      report.diagnostic = without_type(value);
      report.diagnostic_type = type_of(value);
      if (report.diagnostic_type == "smtp" && !is_smtp_reply(report.diagnostic)) {
        report.diagnostic_type.clear();
      }
    } else if (name == "remote-mta" && report.remote_mta.empty()) {
      report.remote_mta = host_name(value);
    } else if (name == "reporting-mta" && report.reporting_mta.empty()) {
      report.reporting_mta = host_name(value);
    }
  }
  return report;
}

// The octets between the part's header and the next delimiter of `boundary`.
std::optional<std::string_view> find_status_part(std::string_view text,
                                                 const std::string& boundary) {
  const std::string delimiter = str_cat({"\r\n--", boundary});
  std::size_t at = text.find(delimiter);
  while (at != std::string_view::npos) {
    const std::size_t begin = at + delimiter.size();
    const std::size_t next = text.find(delimiter, begin);
    const std::string_view part = text.substr(begin, next - begin);
    const std::size_t header_end = part.find("\r\n\r\n");
    if (header_end != std::string_view::npos) {
      const std::string header = to_lower(part.substr(0, header_end));
      if (header.find("message/delivery-status") != std::string::npos ||
          header.find("message/global-delivery-status") != std::string::npos) {
        return part.substr(header_end + 4);
      }
    }
    at = next;
  }
  return std::nullopt;
}

// Blanks and line ends run together to one blank: MTAs fold their explanations anywhere.
std::string run_together(std::string_view text) {
  std::string out;
  for (const std::string_view word : split_blank(text)) {
    out += out.empty() ? "" : " ";
    out += word;
  }
  return out;
}

// Postfix: "(in reply to end of DATA command)". sendmail: a transcript, "... >>> DATA <<< 554 ...".
RefusedAt refused_at(std::string_view human) {
  std::string text(human);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  text = to_lower(run_together(text));
  if (text.find("(in reply to end of data command)") != std::string::npos) {
    return RefusedAt::kText;
  }
  if (text.find("(in reply to ") != std::string::npos) {
    return RefusedAt::kEnvelope;
  }
  const std::size_t answer = text.find("<<< 5");
  const std::size_t command = answer == std::string::npos ? answer : text.rfind(">>> ", answer);
  if (command == std::string::npos) {
    return RefusedAt::kUnknown;
  }
  if (std::string_view(text).substr(command + 4, 4) != "data") {
    return RefusedAt::kEnvelope;
  }
  // Sent together with RCPT: the first answer is then RCPT's, and DATA has one of its own.
  return text.find("<<< 5", answer + 1) == std::string::npos ? RefusedAt::kText
                                                             : RefusedAt::kEnvelope;
}

bool is_status_code(std::string_view code) {
  const auto parts = split(code, '.');
  return parts.size() == 3 && parts[0].size() == 1 &&
         std::all_of(parts.begin(), parts.end(), [](std::string_view part) {
           return parse_u64(part).has_value() && part.size() <= 3;
         });
}

Status failure_of(const ReturnReport& report) {
  // A report of failure may carry a 4.y.z status (time expired): failed it has all the same.
  const bool usable = is_status_code(report.status) && report.status.starts_with('5');
  return Status::permanent(
      usable ? report.status : "5.4.0",
      str_cat({"the mail gateway ", report.remote_mta.empty() ? "of the peer" : report.remote_mta,
               " could not be reached or refused the mail"}));
}

// Who refused it, and in which words. Without a Remote-MTA it was the reporting one; when that is
// this host, no remote one had a part in it (RFC 3464 2.3.5).
RemoteWord word_of(const config::Config& config, const ReturnReport& report) {
  std::string mta = report.remote_mta;
  if (mta.empty() && !iequals(report.reporting_mta, config.host)) {
    mta = report.reporting_mta;
  }
  return {report.diagnostic, report.diagnostic_type, mta};
}

// For a parcel that awaits a receipt a bounce is a hint: its copy may have bounced only behind the
// peer's gateway, an earlier one may have arrived, and any MTA on the way could have made it up.
Status apply_hint(SubmitContext& context, const ReturnReport& report, FoundParcel& found) {
  ParcelState& state = found.state;
  if (found.dir.stage() != spool::Stage::kSent || !state.failing.empty() ||
      !state.splitting.empty() || !state.held.empty() || state.bounced != TimePoint()) {
    return Status::ok();  // it is on its way again, or this is another copy of the same bounce
  }
  const Status why = failure_of(report);
  if (classify_refusal(report.status, report.diagnostic, report.refused_at) != Refusal::kOther) {
    bool splits = false;
    TRY_ASSIGN(splits, begin_split(context.spool, found.dir, state, may_have_arrived(state), why));
    if (splits) {
      return Status::ok();
    }
    if (state.resends == 0 && state.bounces == 0 && state.asked == TimePoint() && !state.in_doubt) {
      // The only copy of this parcel, and what refused it is the message itself: it does not go
      // again. But the peer may have it all the same.
      state.refused = why.code();
      state.failing_reason = why.text();
      state.failing_word = word_of(*context.config, report);
      state.bounced = context.clock.now();
      return found.dir.write_state(state.to_fields());
    }
  }
  note_bounce(state, resend_times(*context.config), context.clock.now());
  return found.dir.write_state(state.to_fields());
}

Status apply(SubmitContext& context, const std::string& id, const ReturnReport& report,
             std::optional<FoundParcel> found, TouchedParcels& touched) {
  const std::string action = report.action.empty() ? "unknown" : report.action;
  if (!found) {
    log::parcel_returned(id, "-", str_cat({action, "-no-such-parcel"}), report.status);
    return Status::ok();
  }
  log::parcel_returned(found->dir.id(), found->dir.peer(), action, report.status);
  if (action != "failed" || found->dir.stage() == spool::Stage::kFailed) {
    return Status::ok();
  }
  const config::Peer* peer = context.config->find_peer(found->dir.peer());
  if (peer != nullptr && awaits_receipt(*peer, found->state)) {
    touched.emplace(found->dir.peer(), found->dir.id());
    return apply_hint(context, report, *found);
  }
  return fail_copy(context, found->dir, found->state, found->state.in_doubt, failure_of(report),
                   word_of(*context.config, report));
}

// Null-sender mail to a parcel's own address that is no report: a bounce in a form of its own, or
// an automatic reply. Only a human can tell. The hour in the id limits the rate.
Status tell_postmaster(SubmitContext& context, const spool::ItemReader& item,
                       const FoundParcel& found) {
  const auto text = item.plain_text();
  StringSink start(kMaxReport);
  TRY(copy(*text, start).status());
  const std::string octets = start.take();
  PostmasterLetter letter;
  letter.host = context.config->host;
  letter.postmaster = postmaster_address(*context.config);
  letter.subject = str_cat({"Unreadable bounce of a mail parcel, peer ", found.dir.peer()});
  letter.now = context.clock.now();
  const auto hour = std::chrono::duration_cast<std::chrono::hours>(letter.now.time_since_epoch());
  letter.notice_id =
      notice_id({"no-report", found.dir.peer(), std::to_string(hour.count()), letter.postmaster});
  letter.body =
      str_cat({kNoReport, "\n\nParcel: ", found.dir.id(), "\nPeer: ", found.dir.peer(), "\n\n"});
  std::size_t lines = 0;
  for (const std::string_view line : split(octets, '\n')) {
    if (++lines > kLetterLines) {
      letter.body += "...\n";
      break;
    }
    letter.body += str_cat({"> ", printable(trim(line), 500), "\n"});
  }
  return context.notices.put(letter.notice_id, letter_envelope(letter), format_letter(letter),
                             "no-report", found.dir.id());
}

// An MTA's pipe may have no other way to say it.
bool is_null_sender(std::string_view sender) {
  return sender.empty() || iequals(sender.substr(0, sender.find('@')), "mailer-daemon");
}

Status handle_return(SubmitContext& context, TokenIndex& tokens, const std::string& id,
                     TouchedParcels& touched) {
  const std::string path = str_cat({context.spool.paths().returns(), "/", id});
  const auto item = spool::ItemReader::open(context.spool.ops(), path);
  if (!item.is_ok()) {
    if (!item.status().is_permanent()) {
      return item.status();
    }
    log::parcel_returned(id, "-", "unreadable", "");
    return os::remove_if_exists(context.spool.ops(), path);
  }
  std::optional<ReturnReport> report;
  const auto text = item->plain_text();
  TRY_ASSIGN(report, parse_return(*text));
  const std::string token =
      item->envelope().recipients.empty()
          ? ""
          : return_token(*context.config, item->envelope().recipients.front().address);
  std::optional<FoundParcel> found;
  if (!token.empty()) {
    TRY_ASSIGN(found, tokens.find(context.spool, token));
  }
  if (report && !is_null_sender(item->envelope().sender)) {
    // RFC 3461 6.2, RFC 5321 4.5.5: a delivery report comes from the null sender.
    log::parcel_returned(found ? found->dir.id() : id, found ? found->dir.peer() : "-",
                         "not-from-null-sender", report->status);
  } else if (!report || token.empty()) {
    log::parcel_returned(found ? found->dir.id() : id, found ? found->dir.peer() : "-",
                         report ? "no-token" : "no-report", "");
    if (found) {
      TRY(tell_postmaster(context, *item, *found));
    }
  } else {
    TRY(apply(context, id, *report, std::move(found), touched));
  }
  return os::remove_if_exists(context.spool.ops(), path);
}

}  // namespace

Result<std::optional<ReturnReport>> parse_return(Source& plain_text) {
  StringSink sink(kMaxReport);
  TRY(copy(plain_text, sink).status());
  const std::string text = sink.take();
  StringSource source(text);
  const auto header = mail::read_entity_header(source);
  if (!header.is_ok() || !header->content_type.is("multipart/report")) {
    return std::optional<ReturnReport>();
  }
  const std::string* boundary = header->content_type.param("boundary");
  if (boundary == nullptr || boundary->empty()) {
    return std::optional<ReturnReport>();
  }
  const auto part = find_status_part(text, *boundary);
  if (!part) {
    return std::optional<ReturnReport>();
  }
  ReturnReport report = report_from(*part);
  const auto before = static_cast<std::size_t>(part->data() - text.data());
  report.refused_at = refused_at(std::string_view(text).substr(0, before));
  return std::optional<ReturnReport>(std::move(report));
}

std::string return_token(const config::Config& config, std::string_view recipient) {
  const mail::AddressParts parts = mail::split_address(recipient);
  const std::string prefix = str_cat({config.user, "+"});
  if (!iequals(parts.domain, config.host) || !istarts_with(parts.local, prefix)) {
    return "";
  }
  // Tokens are lower-case hex; a host on the way may have changed the case.
  const std::string token = to_lower(parts.local.substr(prefix.size()));
  const bool hex = std::all_of(token.begin(), token.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  return hex ? token : "";
}

Status handle_returns(SubmitContext& context, TokenIndex& tokens, TouchedParcels& touched) {
  std::vector<std::string> ids;
  TRY_ASSIGN(ids, spool::list_ids(context.spool.ops(), context.spool.paths().returns()));
  Status first;
  for (const std::string& id : ids) {
    const Status status = handle_return(context, tokens, id, touched);
    if (!status.is_ok()) {
      log::trouble(id, status);
      first = first.is_ok() ? status : first;
    }
  }
  return first;
}

}  // namespace bsmtp::mda

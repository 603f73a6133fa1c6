#include "mda/receive/lmtp_handler.h"

#include "common/base/text.h"
#include "common/log/events.h"

namespace bsmtp::mda {

lmtp::Options ReceiveHandler::session_options(const config::Config& config) {
  lmtp::Options options;
  options.host = config.host;
  options.max_recipients = 1;
  options.dsn = false;
  options.any_octets = true;
  return options;
}

void ReceiveHandler::reset() {
  request_ = ReceiveRequest();
}

Status ReceiveHandler::mail(const mail::Envelope& envelope) {
  reset();
  request_.peer = peer_;
  request_.sender = envelope.sender;
  return Status::ok();
}

Status ReceiveHandler::rcpt(const mail::Recipient& recipient) {
  TRY(check_recipient(config_, recipient.address));
  request_.recipient = recipient.address;
  return Status::ok();
}

std::vector<lmtp::Outcome> ReceiveHandler::deliver(Source& text) {
  const Result<ReceiveReport> report = receiver_.receive(request_, text);
  reset();
  lmtp::Outcome outcome;
  outcome.status = report.status();
  if (report.is_ok()) {
    outcome.note = str_cat({to_string(report->outcome), " ", report->id});
  } else {
    log::parcel_refused("", outcome.status);
  }
  return {outcome};
}

}  // namespace bsmtp::mda

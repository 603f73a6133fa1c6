// See bypass.h: one message to the host MTA, and what stays of it.
#include <algorithm>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/log/events.h"
#include "mda/bypass/bypass.h"

namespace bsmtp::mda {
namespace {

// A returned or old message has Received lines of its own; nothing is counted again here.
constexpr std::uint64_t kAnyReceived = 1000;

}  // namespace

std::string Bypass::doubt_of(const std::string& id, const std::string& of_parcel) const {
  return of_parcel.empty() && interrupted_.count(id) != 0
             ? "an earlier bypass was interrupted at it"
             : of_parcel;
}

Status Bypass::hand_item(spool::ParcelDir& dir, os::File& notes, const std::string& id,
                         const std::string& parcel, const std::string& doubt) {
  Handing handing{dir, notes, {id, parcel, "", {}, ""}, {}, doubt_of(id, doubt), {}};
  const auto item = spool::ItemReader::open(spool_.ops(), dir.item_path(id));
  if (!item.is_ok()) {
    if (!item.status().is_permanent()) {
      return item.status();
    }
    // Out of the way of the others, as when a parcel is built.
    log::item_held(id, options_.peer, item.status());
    handing.line.why = str_cat({"damaged, set aside in held/: ", item.status().text()});
    report_.left.push_back(handing.line);
    return dir.set_item_aside(id);
  }
  handing.envelope = item->envelope();
  handing.line.sender = handing.envelope.sender;
  if (options_.guard) {
    TRY(options_.guard(handing.envelope));
  }
  TRY(mta_.ready());
  if (!handing.doubt.empty()) {
    BypassLine line = handing.line;
    line.why = handing.doubt;
    for (const mail::Recipient& recipient : handing.envelope.recipients) {
      line.recipients.push_back(recipient.address);
    }
    report_.maybe_arrived.push_back(std::move(line));
  }
  return send(handing, *item);
}

Status Bypass::send(Handing& handing, const spool::ItemReader& item) {
  const std::size_t before = handing.envelope.recipients.size();
  const auto write_text = [&item](Sink& sink) {
    const auto text = item.stuffed_text();
    return copy(*text, sink).status();
  };
  TRY(handing.dir.note_handing(handing.notes, handing.line.item));
  Status status;
  for (bool again = true; again && status.is_ok(); status = again ? mta_.ready() : status) {
    const std::size_t wanted = handing.envelope.recipients.size();
    const smtp::Delivery delivery = mta_.send(handing.envelope, write_text);
    again = take_results(handing, delivery);
    if (delivery.accepted() > 0 && delivery.outcome == smtp::Outcome::kDone) {
      log::bypassed(handing.line.item, options_.peer, wanted - handing.envelope.recipients.size(),
                    delivery.final_reply.to_string());
    }
  }
  TRY(settle(handing, item, before));
  return status;
}

// Takes out who has the message. True: the transaction was full, and the rest may go in another.
bool Bypass::take_results(Handing& handing, const smtp::Delivery& delivery) {
  std::vector<mail::Recipient> rest;
  bool full = false;
  if (delivery.outcome == smtp::Outcome::kAmbiguous) {
    log::ambiguous(handing.line.item,
                   "the host MTA's final reply was lost while `bsmtpctl peer bypass` handed it "
                   "over; it waits on");
    handing.line.why = "the host MTA's final reply was lost: it may have taken the message";
    return false;
  }
  for (std::size_t i = 0; i < delivery.recipients.size(); ++i) {
    const smtp::RecipientResult& result = delivery.recipients[i];
    if (delivery.outcome == smtp::Outcome::kDone && result.status.is_ok()) {
      if (!delivery.dsn_passed_on) {
        handing.relayed.push_back(relayed_recipient(handing.envelope.recipients[i],
                                                    result.reply.to_string(), config_.host));
      }
      continue;
    }
    rest.push_back(handing.envelope.recipients[i]);
    full = full || result.too_many_recipients;
    handing.line.why =
        result.reply.code == 0 ? result.status.to_string() : result.reply.to_string();
  }
  const bool progress = rest.size() < handing.envelope.recipients.size();
  handing.envelope.recipients = std::move(rest);
  return full && progress;
}

// Under an id that the item alone gives: however often it is interrupted, one report waits.
Status Bypass::report_relayed(const Handing& handing, const spool::ItemReader& item) {
  const std::string& id = handing.line.item;
  const TimePoint now = clock_.now();
  const NoticeSubject subject{
      config_, notices_, id, "bypass", options_.peer, id_time(id).value_or(now), now, false};
  return handing.relayed.empty()
             ? Status::ok()
             : write_dsn(subject, NoticeKind::kRelayed, item, item.text_size(), handing.relayed);
}

Status Bypass::settle(Handing& handing, const spool::ItemReader& item, std::size_t before) {
  const std::size_t left = handing.envelope.recipients.size();
  const std::string& id = handing.line.item;
  report_.recipients += before - left;
  if (left != 0) {
    for (const mail::Recipient& recipient : handing.envelope.recipients) {
      handing.line.recipients.push_back(recipient.address);
    }
    report_.left.push_back(handing.line);
    if (left == before) {
      return Status::ok();
    }
  }
  const Status told = report_relayed(handing, item);
  if (!told.is_ok()) {
    log::ambiguous(id,
                   "the host MTA has it, but the report to its sender could not be written: "
                   "it waits on for all");
    return told;
  }
  if (left != 0) {
    return keep_rest(handing, item);
  }
  ++report_.messages;
  const Status gone = handing.dir.item_handed(id);
  if (!gone.is_ok()) {
    log::ambiguous(id, "the host MTA has it, but its file could not be removed: it waits on");
  }
  return gone;
}

// The rest under the same name, in one rename: until then the whole stays, noted as in doubt.
Status Bypass::keep_rest(Handing& handing, const spool::ItemReader& item) {
  const std::string& id = handing.line.item;
  std::string random;
  TRY_ASSIGN(random, make_id(clock_.now()));
  spool::ItemWriter::Options options;
  options.tmp_path = str_cat({spool_.paths().tmp(options_.peer), "/", random});
  options.final_path = handing.dir.item_path(id);
  options.final_dir = "";  // a commit() that cannot sync it would take the item back
  options.text.max_received = kAnyReceived;
  options.text.max_own_received = kAnyReceived;
  auto writer = spool::ItemWriter::create(spool_.ops(), handing.envelope, std::move(options));
  Status status = writer.status();
  if (status.is_ok()) {
    const auto text = item.plain_text();
    status = copy(*text, *writer).status();
  }
  if (status.is_ok()) {
    status = writer->commit();
  }
  if (status.is_ok()) {
    status = spool_.ops().fsync_dir(str_cat({handing.dir.path(), "/", spool::kItemsDir}));
  }
  if (!status.is_ok()) {
    log::ambiguous(id, "some recipients have it, which could not be noted; it waits on for all");
  }
  return status;
}

}  // namespace bsmtp::mda

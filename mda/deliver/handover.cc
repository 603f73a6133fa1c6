// See handover.h.
#include "mda/deliver/handover.h"

#include "common/base/text.h"
#include "common/base/units.h"
#include "common/digest/sha256.h"
#include "common/mail/address.h"
#include "common/mail/header.h"
#include "common/mail/line.h"
#include "mda/deliver/accepted_dir.h"

namespace bsmtp::mda {
namespace {

// Passes stuffed text on and digests what it says.
class TextDigest final : public Sink {
 public:
  explicit TextDigest(Sink& next) : next_(next) {}
  Status write(std::string_view data) override {
    TRY(plain_.write(data));
    return next_.write(data);
  }
  std::string hex() { return digest_.hex(); }

 private:
  Sink& next_;
  digest::Sha256Sink digest_{nullptr};
  mail::Unstuffer plain_{digest_};
};

struct SevenBitScan final : Sink {
  Status write(std::string_view data) override {
    seven_bit = seven_bit && mail::is_ascii(data);
    return Status::ok();
  }
  bool seven_bit = true;
};

// Keeps its own failure apart from that of who is written to.
class WatchedSource final : public Source {
 public:
  explicit WatchedSource(Source& from) : from_(from) {}
  Result<std::size_t> read(std::span<char> out) override {
    auto got = from_.read(out);
    failure = got.status();
    return got;
  }
  Status failure;

 private:
  Source& from_;
};

}  // namespace

Result<std::string> plain_digest(const spool::ItemReader& item) {
  digest::Sha256Sink digest(nullptr);
  TRY(copy(*item.plain_text(), digest).status());
  return digest.hex();
}

Status text_damage(const spool::ItemReader& item, const std::string& text_digest) {
  return Status::temporary(
      "4.3.0", str_cat({item.path(), ": a message is not as it was accepted (SHA-256 is not ",
                        printable(text_digest, 64), " any more); look at the disk"}));
}

std::string handover_lines(const spool::AcceptedMeta& meta, std::uint64_t index,
                           const std::string& host, TimePoint now) {
  const std::string number = std::to_string(index);
  std::string out =
      str_cat({"Received: from ", meta.peer_host.empty() ? meta.peer : meta.peer_host, " by ", host,
               "\r\n\t(with BSMTP parcel ", meta.parcel_id, "\r\n\tmessage ", number, "/",
               std::to_string(meta.messages.size()), ") with ESMTP\r\n\tid ",
               meta.parcel_id.substr(0, 20), ".", number, ";\r\n\t", format_rfc5322(now), "\r\n"});
  if (!meta.annotate.empty()) {
    out += str_cat({"X-Content-MIC-check: ", printable(meta.annotate, 200), "\r\n"});
  }
  return out;
}

Status write_handover(const spool::ItemReader& item, const std::string& lines,
                      const std::string& authserv_id, const std::string& text_digest, Sink& out,
                      Status& damage) {
  TRY(out.write(lines));
  mail::HeaderFilter filter(out, true, mail::remove_authentication_results({authserv_id}));
  TextDigest digest(filter);
  const auto stuffed = item.stuffed_text();
  WatchedSource text(*stuffed);
  Status copied = copy(text, digest).status();
  if (!text.failure.is_ok()) {
    damage = is_damage(text.failure) ? text.failure : Status::ok();
    return text.failure;
  }
  if (copied.is_temporary()) {
    return copied;
  }
  // What no mail can carry cannot have been accepted so.
  TRY_ASSIGN(const std::string found,
             copied.is_ok() ? Result<std::string>(digest.hex()) : plain_digest(item));
  if (found != text_digest) {
    damage = text_damage(item, text_digest);
    return damage;
  }
  TRY(copied);
  return filter.finish();
}

Result<bool> is_seven_bit(const spool::ItemReader& item) {
  SevenBitScan scan;
  const auto text = item.stuffed_text();
  TRY(copy(*text, scan).status());
  return scan.seven_bit;
}

std::string recipient_key(const std::string& sender, const std::string& recipient,
                          const std::string& text_digest) {
  digest::Sha256 sha;
  const std::string_view nul("\0", 1);
  sha.update(sender);
  sha.update(nul);
  sha.update(recipient);
  sha.update(nul);
  sha.update(text_digest);
  return sha.finish();
}

}  // namespace bsmtp::mda

// See handover.h.
#include "mda/deliver/handover.h"

#include "common/base/text.h"
#include "common/base/units.h"
#include "common/digest/sha256.h"
#include "common/mail/header.h"

namespace bsmtp::mda {

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
                      const std::string& authserv_id, Sink& out) {
  TRY(out.write(lines));
  mail::HeaderFilter filter(out, true, mail::remove_authentication_results({authserv_id}));
  const auto text = item.stuffed_text();
  TRY(copy(*text, filter).status());
  return filter.finish();
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

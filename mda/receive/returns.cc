#include "mda/receive/returns.h"

#include <algorithm>
#include <array>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/mail/line.h"
#include "common/spool/item.h"

namespace bsmtp::mda {
namespace {

// Behind a CrlfNormaliser: NUL and a CR that ends no line become '?', and what lies beyond the
// limit is dropped at a line end.
class Head final : public Sink {
 public:
  explicit Head(Sink& next) : next_(next) {}

  Status write(std::string_view data) override {
    for (const char c : data) {
      if (cr_ && c != '\n') {
        line_ += '?';
      } else if (cr_) {
        line_ += '\r';
      }
      cr_ = c == '\r';
      if (!cr_) {
        line_ += c == '\0' ? '?' : c;
      }
      if (c == '\n' || line_.size() >= kBlockSize) {
        TRY(pass());
      }
    }
    return Status::ok();
  }

  Status finish() override { return pass(); }

 private:
  Status pass() {
    full_ = full_ || kept_ + line_.size() > kMaxReturn;
    if (!full_) {
      kept_ += line_.size();
      TRY(next_.write(line_));
    }
    line_.clear();
    return Status::ok();
  }

  Sink& next_;
  std::string line_;
  std::uint64_t kept_ = 0;
  bool cr_ = false;
  bool full_ = false;
};

}  // namespace

Result<std::string> store_return(const spool::Spool& spool, const std::string& sender,
                                 const std::string& recipient, Source& input, TimePoint now,
                                 const std::function<Status()>& before_rename) {
  TRY_ASSIGN(const std::string id, make_id(now));
  mail::Envelope envelope;
  // A sender that no command line can carry is of no use for a bounce, which has none.
  envelope.sender = mail::is_safe_path(sender) ? sender : "";
  mail::Recipient to;
  to.address = recipient;
  envelope.recipients.push_back(to);

  spool::ItemWriter::Options options;
  options.tmp_path = str_cat({spool.paths().inbound_tmp(), "/", id, ".return"});
  options.final_path = str_cat({spool.paths().returns(), "/", id});
  options.final_dir = spool.paths().returns();
  options.text.max_received = UINT64_MAX;  // a bounce is never a loop of ours
  options.text.max_own_received = UINT64_MAX;
  TRY_ASSIGN(spool::ItemWriter writer, spool::ItemWriter::create(spool.ops(), envelope, options));
  Head head(writer);
  mail::CrlfNormaliser crlf(head);
  TRY(copy(input, crlf).status());
  TRY(crlf.finish());
  TRY(head.finish());
  TRY(writer.commit(before_rename));
  return id;
}

}  // namespace bsmtp::mda

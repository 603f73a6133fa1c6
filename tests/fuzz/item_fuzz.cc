// libs: common/spool common/mail common/os common/base
// Items and message text. Promises: ItemReader never takes a file whose text could be read past
// its end mark or whose commands do not survive being written again; TextFilter's output, put
// into an item, comes back as the same text, however it was cut.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/spool/item.h"

namespace {

using bsmtp::Status;
using bsmtp::StringSink;
namespace os = bsmtp::os;
namespace spool = bsmtp::spool;

constexpr std::size_t kLimit = 1U << 22U;

// One scratch file for the whole run.
class Scratch {
 public:
  Scratch() {
    const bool memory = ::access("/dev/shm", W_OK) == 0;
    path_ = bsmtp::str_cat({memory ? "/dev/shm" : "/tmp", "/bsmtp-item-fuzz-XXXXXX"});
    fd_ = ::mkstemp(path_.data());
    BSMTP_CHECK(fd_ >= 0);
  }
  ~Scratch() {
    ::close(fd_);
    ::unlink(path_.c_str());
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& put(std::string_view data) const {
    BSMTP_CHECK(::ftruncate(fd_, 0) == 0);
    BSMTP_CHECK(::pwrite(fd_, data.data(), data.size(), 0) == static_cast<ssize_t>(data.size()));
    return path_;
  }

 private:
  std::string path_;
  int fd_ = -1;
};

std::string read_all(bsmtp::Source& source) {
  StringSink sink(kLimit);
  BSMTP_CHECK(bsmtp::copy(source, sink).is_ok());
  return sink.take();
}

void read_item(const Scratch& scratch, std::string_view data) {
  const auto item = spool::ItemReader::open(os::real_file_ops(), scratch.put(data));
  if (!item.is_ok()) {
    return;
  }
  BSMTP_CHECK(item->text_offset() + item->text_size() + 3 == data.size());
  BSMTP_CHECK(read_all(*item->stuffed_text()) ==
              data.substr(item->text_offset(), item->text_size()));
  BSMTP_CHECK(read_all(*item->transaction()) == data);
  static_cast<void>(read_all(*item->plain_text()));
  // What was understood can be said again and means the same.
  const auto mail = bsmtp::mail::format_mail(item->envelope());
  BSMTP_CHECK(mail.is_ok());
  BSMTP_CHECK(mail->find_first_of("\r\n") == std::string::npos);
  for (const auto& recipient : item->envelope().recipients) {
    const auto rcpt = bsmtp::mail::format_rcpt(recipient);
    BSMTP_CHECK(rcpt.is_ok());
    const auto again = bsmtp::mail::parse_rcpt(
        std::string_view(*rcpt).substr(std::string_view("RCPT TO:").size()));
    BSMTP_CHECK(again.is_ok() && again->address == recipient.address);
  }
}

// Octets in = octets out, or refused; the same for any cutting.
void filter_text(const Scratch& scratch, std::string_view data, std::size_t step) {
  StringSink out(kLimit);
  spool::TextFilter::Options options;
  options.own_host = "hub.domain.com";
  spool::TextFilter filter(out, options);
  Status status;
  for (std::string_view rest = data; !rest.empty() && status.is_ok();
       rest.remove_prefix(std::min(step, rest.size()))) {
    status = filter.write(rest.substr(0, step));
  }
  if (status.is_ok()) {
    status = filter.finish();
  }
  if (!status.is_ok()) {
    BSMTP_CHECK(status.code() == "5.6.1" || status.code() == "5.4.6");
    return;
  }
  const std::string file = "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n" + out.str();
  const auto item = spool::ItemReader::open(os::real_file_ops(), scratch.put(file));
  BSMTP_CHECK(item.is_ok());
  std::string expected;
  for (const char c : data) {
    if (c != '\r') {
      expected += c == '\n' ? "\r\n" : std::string(1, c);
    }
  }
  if (!expected.empty() && !expected.ends_with('\n')) {
    expected += "\r\n";
  }
  BSMTP_CHECK(read_all(*item->plain_text()) == expected);
  // Exactly one end mark, at the end: nothing can be smuggled behind it.
  const std::string_view text = std::string_view(file).substr(item->text_offset() - 2);
  BSMTP_CHECK(text.find("\r\n.\r\n") == text.size() - 5);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Scratch scratch;
  const std::string_view input(reinterpret_cast<const char*>(data), std::min(size, kLimit / 4));
  read_item(scratch, input);
  filter_text(scratch, input, 1 + input.size() / 3);
  filter_text(scratch, input, 1);
  return 0;
}

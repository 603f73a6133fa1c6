#include "common/smtp/text_sink.h"

namespace bsmtp::smtp {

Status TextSink::Out::write(std::string_view data) {
  if (failure.is_ok()) {
    failure = write_block(data);
  }
  return failure;
}

Status TextSink::write(std::string_view data) {
  TRY(bad_text_);
  TRY(scanner_.feed(data, buffer_).status());
  octets_ += data.size();
  if (!scanner_.violation().is_ok()) {
    bad_text_ = scanner_.violation();
  } else if (scanner_.done()) {
    bad_text_ = Status::permanent("5.6.0", "an end dot inside the message's text");
  }
  return bad_text_;
}

Status TextSink::check_end() const {
  TRY(bad_text_);
  if (scanner_.at_line_start()) return Status::ok();
  return Status::permanent("5.6.0", "the message's text does not end in CRLF");
}

Status TextSink::end_dot(std::string_view behind) {
  TRY(buffer_.write(".\r\n"));
  TRY(buffer_.write(behind));
  return buffer_.flush();
}

}  // namespace bsmtp::smtp

// libs: common/parcel
// Records from a parser that was taken over: what passes must be text that can stand in an SMTP
// session, between messages that were begun and ended.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/parcel/relay.h"

namespace {

class Checker final : public bsmtp::batch::Handler {
 public:
  bsmtp::Status begin_message(const bsmtp::mail::Envelope& /*envelope*/,
                              std::size_t index) override {
    need(!open_ && index == messages_++);
    open_ = true;
    text_ = "\r\n";
    return bsmtp::Status::ok();
  }
  bsmtp::Status text(std::string_view stuffed) override {
    need(open_);
    text_ += stuffed;
    return bsmtp::Status::ok();
  }
  bsmtp::Status end_message(const bsmtp::mail::TextFacts& /*facts*/) override {
    need(open_ && text_.ends_with("\r\n") && text_.find("\r\n.\r\n") == std::string::npos &&
         text_.find('\0') == std::string::npos);
    for (std::size_t i = 0; i < text_.size(); ++i) {
      need(text_[i] != '\n' || text_[i - 1] == '\r');
      need(text_[i] != '\r' || text_[i + 1] == '\n');
    }
    open_ = false;
    return bsmtp::Status::ok();
  }
  bool open() const { return open_; }
  static void need(bool condition) {
    if (!condition) {
      std::abort();
    }
  }

 private:
  bool open_ = false;
  std::size_t messages_ = 0;
  std::string text_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  bsmtp::StringSource source(std::string_view(reinterpret_cast<const char*>(data), size));
  const bsmtp::parcel::Limits limits;
  Checker checker;
  const auto end = bsmtp::parcel::read_relay(
      source, {limits, {}}, [](const auto&) { return bsmtp::Status::ok(); }, checker);
  Checker::need(end.kind != bsmtp::parcel::RelayEnd::Kind::kComplete || !checker.open());
  return 0;
}

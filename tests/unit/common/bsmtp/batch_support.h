// Shared by the batch tests: a handler that records what a batch said, and one-line runners.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/bsmtp/parser.h"
#include "common/bsmtp/writer.h"
#include "tests/support/chunked.h"

namespace bsmtp::batch {

struct Heard {
  mail::Envelope envelope;
  std::string stuffed;
  std::string plain;
  mail::TextFacts facts;
  bool ended = false;
};

class Recorder final : public Handler {
 public:
  Status begin_message(const mail::Envelope& envelope, std::size_t index) override {
    in_step = in_step && index == messages.size();
    messages.push_back({envelope, "", "", {}, false});
    sink = StringSink(1U << 26U);
    unstuffer.emplace_back(sink);
    return Status::ok();
  }
  Status text(std::string_view stuffed) override {
    messages.back().stuffed += stuffed;
    return unstuffer.back().write(stuffed);
  }
  Status end_message(const mail::TextFacts& facts) override {
    messages.back().facts = facts;
    messages.back().plain = sink.take();
    messages.back().ended = true;
    return Status::ok();
  }

  std::vector<Heard> messages;
  bool in_step = true;

 private:
  StringSink sink;
  std::vector<mail::Unstuffer> unstuffer;
};

struct Parsed {
  Status status;
  std::vector<Heard> messages;
  bool quit = false;
};

inline Parsed parse_chunks(const test::Chunks& chunks, const Parser::Options& options = {}) {
  Recorder recorder;
  Parser parser(recorder, options);
  Status status;
  for (const std::string_view chunk : chunks) {
    if (status.is_ok()) {
      status = parser.write(chunk);
    }
  }
  if (status.is_ok()) {
    status = parser.finish();
  }
  return {status, recorder.messages, parser.saw_quit()};
}

inline Parsed parse(std::string_view batch, const Parser::Options& options = {}) {
  return parse_chunks({batch}, options);
}

// A complete transaction around dot-stuffed text.
inline std::string item(const std::string& text, const std::string& sender = "ann@domain.com",
                        const std::string& recipient = "bob@domain.co.uk") {
  return "MAIL FROM:<" + sender + ">\r\nRCPT TO:<" + recipient + ">\r\nDATA\r\n" + text + ".\r\n";
}

inline std::string batch_of(const std::string& items) {
  return "EHLO hub.domain.com\r\n" + items + "QUIT\r\n";
}

// The object a writer makes of the items; the code of the failure instead.
inline std::string write_batch(const std::vector<std::string>& items,
                               const Agreement& agreement = {}) {
  StringSink sink(1U << 26U);
  Writer writer(sink, {"hub.domain.com", agreement});
  Status status = writer.begin();
  for (const std::string& text : items) {
    StringSource source(text);
    if (status.is_ok()) {
      status = writer.add_item(source).status();
    }
  }
  if (status.is_ok()) {
    status = writer.finish();
  }
  return status.is_ok() ? sink.take() : status.code();
}

}  // namespace bsmtp::batch

// See client.h: a transaction from the reply to DATA on, and the end of the session.
#include <chrono>
#include <string>
#include <string_view>

#include "common/smtp/client.h"
#include "common/smtp/client_run.h"
#include "common/smtp/text_sink.h"

namespace bsmtp::smtp {

using std::chrono::seconds;

// After the reply to DATA.
void Client::data_stage(Run& run, const TextWriter& writer, const Hooks& hooks) {
  if (run.data_reply.code != 354) {
    if (run.data_reply.is_positive()) {  // neither takes the text nor refuses it: out of step
      usable_ = false;
      transport_.shutdown();
    }
    run.decide_all(Stage::kData, run.data_reply,
                   run.data_reply.is_positive()
                       ? Status::temporary("4.5.0", "DATA: " + run.data_reply.to_string())
                       : run.data_reply.to_status("DATA"));
    return;
  }
  if (!run.any_accepted()) {  // RFC 2920 3.1: a pipelined DATA was accepted for nobody
    const Status ended = write(".\r\n", options_.timeouts.data_block);
    in_transaction_ = false;
    usable_ = ended.is_ok() && read_reply(options_.timeouts.data_end).is_ok();
    return;
  }
  TextSink sink(
      [this](std::string_view block) { return this->write(block, options_.timeouts.data_block); });
  Status status = writer(sink);
  run.delivery.text_octets = sink.octets();
  if (!sink.transport_failure().is_ok()) {
    text_failed(run, sink.transport_failure(), false);
    return;
  }
  if (const Status text = sink.check_end(); !text.is_ok() && status.is_ok()) {
    status = text;
  }
  if (!status.is_ok()) {
    text_failed(run, status, true);
    return;
  }
  if (const Status ended = sink.end_dot(commands_ahead(hooks)); !ended.is_ok()) {
    // The last block and its end dot are one write: how much of it arrived cannot be known.
    usable_ = false;
    run.delivery.outcome = Outcome::kAmbiguous;
    run.decide_all(Stage::kText, {}, ended);
    return;
  }
  if (hooks.meanwhile) {
    hooks.meanwhile();
  }
  final_reply(run);
}

// The text could not be sent whole and no end dot has been sent.
void Client::text_failed(Run& run, const Status& why, bool by_writer) {
  usable_ = false;
  if (!by_writer) {
    // A server that has enough of a text may say why before it closes (552, 421).
    const auto last_words = read_reply(seconds(1));
    if (last_words.is_ok() && (last_words->is_temporary() || last_words->is_permanent())) {
      run.delivery.final_reply = *last_words;
      run.decide_all(Stage::kText, *last_words, last_words->to_status("end of data"));
      transport_.shutdown();
      return;
    }
  }
  transport_.shutdown();
  run.delivery.outcome = Outcome::kNotSent;
  run.decide_all(by_writer ? Stage::kLocal : Stage::kText, {}, why);
}

void Client::final_reply(Run& run) {
  auto got = read_reply(options_.timeouts.data_end);
  if (!got.is_ok() || got->is_intermediate()) {
    usable_ = false;
    transport_.shutdown();
    run.delivery.outcome = Outcome::kAmbiguous;
    run.decide_all(Stage::kText, got.is_ok() ? *got : Reply(),
                   got.is_ok() ? got->to_status("end of data") : got.status());
    return;
  }
  in_transaction_ = false;
  usable_ = got->code != kClosing;
  run.delivery.final_reply = *got;
  run.decide_all(Stage::kText, *got, got->to_status("end of data"));
}

void Client::quit() {
  if (!usable_) return;
  usable_ = false;
  if (ahead_ != nullptr) {
    transport_.shutdown();  // QUIT could be taken for the text of what was sent ahead
    return;
  }
  if (write("QUIT\r\n", seconds(5)).is_ok()) {
    const auto ignored = read_reply(seconds(5));
    static_cast<void>(ignored);
  }
}

}  // namespace bsmtp::smtp

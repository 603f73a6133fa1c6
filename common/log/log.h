// One log line: "ID: event key=value key="a value"", to syslog (facility mail) or stderr.
// Only common/log/events.h calls emit(); programs choose the sink once in main. Untrusted text is
// made printable here, so that no caller can forget it. Never message content, never keys.
// Failure: none; a line that cannot be written is lost. Threads: all functions are safe.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bsmtp::log {

enum class Level { kDebug, kInfo, kWarn, kError };

struct Field {
  std::string_view key;
  std::string value;
};

class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(Level level, std::string_view line) = 0;
};

// Keeps the lines, for tests.
class CaptureSink final : public Sink {
 public:
  void write(Level level, std::string_view line) override;
  std::vector<std::string> lines() const;

 private:
  struct State;
  std::shared_ptr<State> state_ = make_state();
  static std::shared_ptr<State> make_state();
};

void use_syslog(const std::string& program);
void use_stderr(const std::string& program);
// Everything to syslog, warnings and errors to stderr too: for a person at a terminal whose doings
// must stand in the mail log.
void use_syslog_and_stderr(const std::string& program);
void use_sink(std::shared_ptr<Sink> sink);
void set_level(Level level);
// "debug", "info", "warn", "error"; anything else is kInfo (the configuration refuses it before).
Level level_from(std::string_view name);

// `id` stands first ("-" when there is none). An empty value is left out.
void emit(Level level, std::string_view id, std::string_view event,
          std::initializer_list<Field> fields);
// The line without its destination: what emit() writes.
std::string format(std::string_view id, std::string_view event,
                   std::initializer_list<Field> fields);

}  // namespace bsmtp::log

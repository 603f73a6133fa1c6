#include "common/log/log.h"

#include <syslog.h>

#include <atomic>
#include <cstdio>
#include <mutex>

#include "common/base/text.h"

namespace bsmtp::log {
namespace {

std::atomic<Level> g_level{Level::kInfo};
std::mutex g_mutex;

std::shared_ptr<Sink>& current() {
  static std::shared_ptr<Sink> sink;
  return sink;
}

class SyslogSink final : public Sink {
 public:
  explicit SyslogSink(std::string program) : program_(std::move(program)) {
    ::openlog(program_.c_str(), LOG_PID | LOG_NDELAY, LOG_MAIL);
  }
  void write(Level level, std::string_view line) override {
    static constexpr int kPriority[] = {LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR};
    ::syslog(LOG_MAIL | kPriority[static_cast<int>(level)], "%.*s", static_cast<int>(line.size()),
             line.data());
  }

 private:
  std::string program_;  // openlog keeps the pointer
};

class StderrSink final : public Sink {
 public:
  explicit StderrSink(std::string program) : program_(std::move(program)) {}
  void write(Level level, std::string_view line) override {
    static constexpr const char* kName[] = {"debug", "info", "warn", "error"};
    std::fprintf(stderr, "%s: %s: %.*s\n", program_.c_str(), kName[static_cast<int>(level)],
                 static_cast<int>(line.size()), line.data());
  }

 private:
  std::string program_;
};

class BothSink final : public Sink {
 public:
  explicit BothSink(const std::string& program) : syslog_(program), stderr_(program) {}
  void write(Level level, std::string_view line) override {
    syslog_.write(level, line);
    if (level >= Level::kWarn) {
      stderr_.write(level, line);
    }
  }

 private:
  SyslogSink syslog_;
  StderrSink stderr_;
};

void append_value(std::string_view value, std::string& out) {
  const std::string text = printable(value, 400);
  if (text.find_first_of(" \"=,;") == std::string::npos) {
    out += text;
    return;
  }
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
    }
    out += c;
  }
  out += '"';
}

}  // namespace

struct CaptureSink::State {
  std::mutex mutex;
  std::vector<std::string> lines;
};

std::shared_ptr<CaptureSink::State> CaptureSink::make_state() {
  return std::make_shared<State>();
}

void CaptureSink::write(Level /*level*/, std::string_view line) {
  const std::lock_guard lock(state_->mutex);
  state_->lines.emplace_back(line);
}

std::vector<std::string> CaptureSink::lines() const {
  const std::lock_guard lock(state_->mutex);
  return state_->lines;
}

void use_syslog(const std::string& program) {
  use_sink(std::make_shared<SyslogSink>(program));
}
void use_stderr(const std::string& program) {
  use_sink(std::make_shared<StderrSink>(program));
}
void use_syslog_and_stderr(const std::string& program) {
  use_sink(std::make_shared<BothSink>(program));
}

void use_sink(std::shared_ptr<Sink> sink) {
  const std::lock_guard lock(g_mutex);
  current() = std::move(sink);
}

void set_level(Level level) {
  g_level = level;
}

Level level_from(std::string_view name) {
  if (name == "debug") {
    return Level::kDebug;
  }
  if (name == "warn") {
    return Level::kWarn;
  }
  return name == "error" ? Level::kError : Level::kInfo;
}

std::string format(std::string_view id, std::string_view event,
                   std::initializer_list<Field> fields) {
  std::string out = printable(id, 120);
  out += ": ";
  out += event;
  for (const auto& f : fields) {
    if (f.value.empty()) {
      continue;
    }
    out += ' ';
    out += f.key;
    out += '=';
    append_value(f.value, out);
  }
  return out;
}

void emit(Level level, std::string_view id, std::string_view event,
          std::initializer_list<Field> fields) {
  if (level < g_level.load()) {
    return;
  }
  std::shared_ptr<Sink> sink;
  {
    const std::lock_guard lock(g_mutex);
    sink = current();
  }
  if (sink) {
    sink->write(level, format(id, event, fields));
  }
}

}  // namespace bsmtp::log

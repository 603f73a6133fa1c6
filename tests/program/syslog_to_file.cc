// Loaded into a program (LD_PRELOAD): what it would write to syslog is appended to the file named
// by BSMTP_TEST_LOG instead, and at its exit one line "VmHWM KIB CHILDREN-KIB" with its peak
// resident memory and that of its children. For tests that want a program's own log where there
// is no syslog daemon. Tests only.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

void append(const char* text, int size) {
  const char* path = std::getenv("BSMTP_TEST_LOG");
  if (path == nullptr || size <= 0) {
    return;
  }
  const int file = ::open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (file >= 0) {
    [[maybe_unused]] const auto written = ::write(file, text, static_cast<std::size_t>(size));
    ::close(file);
  }
}

void log_line(const char* format, va_list arguments) {
  char line[8192];
  int size = std::vsnprintf(line, sizeof line - 1, format, arguments);
  if (size < 0) {
    return;
  }
  size = size < static_cast<int>(sizeof line - 2) ? size : static_cast<int>(sizeof line - 2);
  line[size] = '\n';
  append(line, size + 1);
}

__attribute__((destructor)) void report_memory() {
  char text[4096];
  const int status = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  const auto size = status < 0 ? -1 : ::read(status, text, sizeof text - 1);
  ::close(status);
  if (size <= 0) {
    return;
  }
  text[size] = '\0';
  const char* peak = std::strstr(text, "VmHWM:");
  const char* name = std::strstr(text, "Name:\tbsmtp-");
  rusage children{};
  ::getrusage(RUSAGE_CHILDREN, &children);
  if (peak != nullptr && name != nullptr) {
    char line[100];
    append(line, std::snprintf(line, sizeof line, "VmHWM %ld %ld\n", std::atol(peak + 6),
                               children.ru_maxrss));
  }
}

}  // namespace

extern "C" {
void syslog(int /*priority*/, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  log_line(format, arguments);
  va_end(arguments);
}
// What <syslog.h> makes of it with _FORTIFY_SOURCE.
void __syslog_chk(int /*priority*/, int /*flag*/, const char* format, ...) {  // NOLINT
  va_list arguments;
  va_start(arguments, format);
  log_line(format, arguments);
  va_end(arguments);
}
}

// See mailbox.h.
#include "mda/dispatch/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace bsmtp::mda {

Result<std::unique_ptr<Mailbox>> Mailbox::open() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) {
    return Status::from_errno("eventfd", errno);
  }
  return std::unique_ptr<Mailbox>(new Mailbox(std::move(fd)));
}

void Mailbox::post(std::function<void()> closure) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closures_.push_back(std::move(closure));
  }
  wake();
}

void Mailbox::wake() {
  const std::uint64_t one = 1;
  // EAGAIN only when the counter is full: then the reader is awake anyway.
  [[maybe_unused]] const ssize_t written = ::write(fd_.get(), &one, sizeof one);
}

std::size_t Mailbox::drain() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(fd_.get(), &count, sizeof count);
  std::vector<std::function<void()>> closures;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closures.swap(closures_);
  }
  for (const auto& closure : closures) {
    closure();
  }
  return closures.size();
}

}  // namespace bsmtp::mda

#include "common/parcel/parallel_signature.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <system_error>
#include <utility>

#include "common/os/fd_stream.h"

namespace bsmtp::parcel {

Result<std::unique_ptr<ParallelSignature>> ParallelSignature::start(crypto::Signer& signer) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return Status::from_errno("a pipe for signing", errno);
  }
  UniqueFd read_end(ends[0]);
  std::unique_ptr<ParallelSignature> self(new ParallelSignature);
  self->to_signer_.reset(ends[1]);
  try {
    self->thread_ = std::thread([&signer, self = self.get(), fd = std::move(read_end)]() mutable {
      try {
        os::FdSource source(fd.get(), "the part to be signed");
        self->result_ = signer.sign(source);
      } catch (const std::exception& e) {
        self->result_ = Status::temporary("4.3.0", std::string("signing: ") + e.what());
      }
      fd.reset();  // the writer must not wait for a signer that has given up
    });
  } catch (const std::system_error& e) {
    return Status::temporary("4.3.0", std::string("a thread for signing: ") + e.what());
  }
  return self;
}

ParallelSignature::~ParallelSignature() {
  end_thread();
}

void ParallelSignature::end_thread() {
  to_signer_.reset();
  if (thread_.joinable()) {
    thread_.join();
  }
}

Status ParallelSignature::write(std::string_view data) {
  while (!data.empty()) {
    const ssize_t written = ::write(to_signer_.get(), data.data(), data.size());
    if (written >= 0) {
      data.remove_prefix(static_cast<std::size_t>(written));
      continue;
    }
    if (errno == EPIPE) {  // a Signer makes the process ignore SIGPIPE
      end_thread();
      return result_.is_ok() ? Status::temporary("4.7.0", "gpg stopped reading what it signs")
                             : result_.status();
    }
    if (errno != EINTR) {
      return Status::from_errno("handing a parcel to gpg", errno);
    }
  }
  return Status::ok();
}

Result<std::string> ParallelSignature::take() {
  end_thread();
  return std::move(result_);
}

}  // namespace bsmtp::parcel

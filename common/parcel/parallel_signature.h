// Signs a part while it is being written: what passes through this Sink goes by a pipe to a thread
// in which GPGME feeds gpg. gpg needs a seventh of the time that compressing takes; one after the
// other they would miss the speed of the plain pipeline gzip | base64 | gpg (docs/performance.md).
// The destructor ends the thread, whatever was reached. Threads: used by one.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "common/base/stream.h"
#include "common/base/unique_fd.h"
#include "common/crypto/openpgp.h"

namespace bsmtp::parcel {

class ParallelSignature final : public Sink {
 public:
  // `signer` must outlive this object and is not used otherwise meanwhile.
  static Result<std::unique_ptr<ParallelSignature>> start(crypto::Signer& signer);
  ~ParallelSignature() override;
  ParallelSignature(const ParallelSignature&) = delete;
  ParallelSignature& operator=(const ParallelSignature&) = delete;

  // Waits while gpg is behind; fails with the signer's failure when there is one.
  Status write(std::string_view data) override;
  // After the last write, once: the armoured signature over all that was written.
  Result<std::string> take();

 private:
  ParallelSignature() = default;
  void end_thread();

  UniqueFd to_signer_;
  Result<std::string> result_ = Status::temporary("4.3.0", "signing has not ended");
  std::thread thread_;
};

}  // namespace bsmtp::parcel

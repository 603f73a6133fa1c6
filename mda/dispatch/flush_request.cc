// See flush_request.h.
#include "mda/dispatch/flush_request.h"

#include <cerrno>

#include "common/base/text.h"

namespace bsmtp::mda {
namespace {

std::string request_path(const spool::Spool& spool, const std::string& peer) {
  return str_cat({spool.paths().peer(peer), "/", kFlushName});
}

}  // namespace

Status request_flush(const spool::Spool& spool, const std::string& peer) {
  auto file = spool.ops().open(request_path(spool, peer), os::kCreateNew, spool::kFileMode);
  if (!file.is_ok()) {
    // Asked for already.
    return file.status().error_number() == EEXIST ? Status::ok() : file.status();
  }
  return spool.ops().close(file.value());
}

Result<bool> take_flush_request(const spool::Spool& spool, const std::string& peer) {
  const Status status = spool.ops().unlink(request_path(spool, peer));
  if (status.is_ok()) {
    return true;
  }
  if (status.error_number() == ENOENT) {
    return false;
  }
  return status;
}

}  // namespace bsmtp::mda

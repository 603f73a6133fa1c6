// Packs and opens parcels as the dispatcher and bsmtp-in do, without a spool: for the memory test
// and the benchmark. Prints one line: seconds, octets in, octets out, peak
// KiB of this process, and of its largest child (gpg or the parser).
//   parcel_tool build HOME FINGERPRINT ENTITY ITEM...
//   parcel_tool open HOME FINGERPRINT MAIL OUTPUT         the inside parsed by a caged child
//   parcel_tool open-here HOME FINGERPRINT MAIL OUTPUT    and by this process (sandbox = off)
//   parcel_tool inflate GZIP-FILE
#include <fcntl.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "common/codec/gzip.h"
#include "common/os/fd_stream.h"
#include "common/os/file_ops.h"
#include "common/parcel/builder.h"
#include "common/parcel/opener.h"

namespace {

using bsmtp::Result;
using bsmtp::Status;
using bsmtp::os::real_file_ops;

struct Figures {
  std::uint64_t in = 0;
  std::uint64_t out = 0;
};

// Writes all message text to one file: the least that a receiver has to do.
class WriteHandler final : public bsmtp::batch::Handler {
 public:
  explicit WriteHandler(bsmtp::os::File& file) : sink_(real_file_ops(), file) {}
  Status begin_message(const bsmtp::mail::Envelope& /*envelope*/, std::size_t /*index*/) override {
    return Status::ok();
  }
  Status text(std::string_view stuffed) override { return sink_.write(stuffed); }
  Status end_message(const bsmtp::mail::TextFacts& /*facts*/) override { return Status::ok(); }
  Status finish() { return sink_.finish(); }

 private:
  bsmtp::os::FileSink sink_;
};

std::string peak_memory() {
  struct rusage children {};
  ::getrusage(RUSAGE_CHILDREN, &children);
  const std::string others = " " + std::to_string(children.ru_maxrss);
  // Not from getrusage: that counts what ran in this process before exec.
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) {
      const std::size_t digits = line.find_first_of("0123456789");
      return line.substr(digits, line.find(' ', digits) - digits) + others;
    }
  }
  return "0" + others;
}

Result<Figures> build(const std::vector<std::string>& args) {
  TRY_ASSIGN(auto signer, bsmtp::crypto::Signer::open({args[1], args[2], ""}));
  bsmtp::parcel::BuildRequest request;
  request.items = bsmtp::parcel::file_items(real_file_ops(), {args.begin() + 4, args.end()});
  request.host = "hub.domain.com";
  request.signer = &signer;
  bsmtp::parcel::Manifest manifest;
  manifest.id = std::string(44, 'a');
  manifest.from = "hub.domain.com";
  manifest.to = "athena.domain.co.uk";
  manifest.created = std::chrono::system_clock::now();
  manifest.expires = manifest.created + std::chrono::hours(1);
  request.manifest = manifest;
  request.limits.parcel_bytes = 4ULL << 30U;
  request.limits.inflate.max_bytes = 4ULL << 30U;
  TRY_ASSIGN(auto file, real_file_ops().open(args[3], O_RDWR | O_CREAT | O_TRUNC, 0600));
  TRY_ASSIGN(const auto result, bsmtp::parcel::build(request, real_file_ops(), file));
  return Figures{result.plain_bytes, result.entity_bytes};
}

Result<Figures> open(const std::vector<std::string>& args) {
  TRY_ASSIGN(auto verifier, bsmtp::crypto::Verifier::open(args[1], {{"hub", {args[2]}}}));
  TRY_ASSIGN(const auto file, real_file_ops().open(args[3], O_RDONLY, 0));
  TRY_ASSIGN(auto out, real_file_ops().open(args[4], O_WRONLY | O_CREAT | O_TRUNC, 0600));
  bsmtp::parcel::OpenRequest request;
  request.ops = &real_file_ops();
  request.file = &file;
  request.host = "athena.domain.co.uk";
  request.verifier = &verifier;
  request.peers.emplace_back();
  request.peers.back().peer = "hub";
  request.peers.back().host = "hub.domain.com";
  request.limits.parcel_bytes = 4ULL << 30U;
  request.limits.inflate.max_bytes = 4ULL << 30U;
  request.limits.messages = 1'000'000;
  request.sandbox =
      args[0] == "open" ? bsmtp::parcel::Sandbox::kAuto : bsmtp::parcel::Sandbox::kOff;
  WriteHandler handler(out);
  TRY_ASSIGN(const auto result, bsmtp::parcel::open(request, handler));
  TRY(handler.finish());
  if (const auto* rejected = std::get_if<bsmtp::parcel::Rejected>(&result)) {
    return Status::permanent("5.6.0", rejected->why);
  }
  TRY_ASSIGN(const auto info, real_file_ops().stat(file));
  return Figures{info.size, std::get<bsmtp::parcel::Opened>(result).plain_bytes};
}

Result<Figures> inflate(const std::vector<std::string>& args) {
  TRY_ASSIGN(auto file, real_file_ops().open(args[1], O_RDONLY, 0));
  bsmtp::os::FileSource source(real_file_ops(), file);
  bsmtp::codec::InflateLimits limits;
  limits.max_bytes = 4ULL << 30U;
  bsmtp::codec::GunzipSource gunzip(source, limits);
  bsmtp::CountingSink nowhere(nullptr);
  TRY_ASSIGN(const std::uint64_t size, bsmtp::copy(gunzip, nowhere));
  return Figures{gunzip.octets_in(), size};
}

Result<Figures> run(const std::vector<std::string>& args) {
  if (args.size() >= 5 && args[0] == "build") {
    return build(args);
  }
  if (args.size() == 5 && args[0].starts_with("open")) {
    return open(args);
  }
  if (args.size() == 2 && args[0] == "inflate") {
    return inflate(args);
  }
  return Status::temporary("4.3.5", "usage: parcel_tool build|open|open-here|inflate ...");
}

}  // namespace

int main(int argc, char** argv) {
  const auto begin = std::chrono::steady_clock::now();
  const auto figures = run({argv + 1, argv + argc});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  if (!figures.is_ok()) {
    std::fprintf(stderr, "%s\n", figures.status().to_string().c_str());
    return 1;
  }
  std::printf("%.3f %llu %llu %s\n", seconds.count(), static_cast<unsigned long long>(figures->in),
              static_cast<unsigned long long>(figures->out), peak_memory().c_str());
  return 0;
}

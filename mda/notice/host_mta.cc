// See host_mta.h.
#include "mda/notice/host_mta.h"

#include <algorithm>
#include <optional>

#include "common/base/check.h"
#include "common/os/socket.h"
#include "common/smtp/socket_transport.h"

namespace bsmtp::mda {
namespace {

smtp::Client::Options client_options(const HostMtaOptions& options) {
  smtp::Client::Options out;
  out.ehlo_name = options.ehlo_name;
  out.peer = options.url;
  smtp::Timeouts& t = out.timeouts;
  t.data_end = options.timeout;
  for (std::chrono::seconds* limit : {&t.greeting, &t.command, &t.data_start, &t.data_block}) {
    *limit = std::min(*limit, options.timeout);
  }
  return out;
}

}  // namespace

class HostMta::Link {
 public:
  Link(os::Socket socket, const HostMtaOptions& options)
      : transport_(std::move(socket)), client_(transport_, client_options(options)) {}
  smtp::SocketTransport& transport() { return transport_; }
  smtp::Client& client() { return client_; }

 private:
  smtp::SocketTransport transport_;
  smtp::Client client_;
};

HostMta::HostMta(HostMtaOptions options) : options_(std::move(options)) {}

HostMta::~HostMta() {
  close();
}

Status HostMta::ready() {
  if (link_ != nullptr && link_->client().usable()) {
    return Status::ok();
  }
  os::Endpoint endpoint;
  TRY_ASSIGN(endpoint, os::parse_endpoint(options_.url));
  os::SocketOptions socket_options;
  socket_options.io_timeout = std::min(options_.timeout, std::chrono::seconds(300));
  auto socket = os::Socket::connect(endpoint, socket_options);
  if (!socket.is_ok()) {
    return socket.status();
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    link_ = std::make_unique<Link>(std::move(socket).value(), options_);
    if (interrupted_) {
      link_->transport().shutdown();
    }
  }
  Status status = link_->client().open();
  if (!status.is_ok()) {
    const std::lock_guard<std::mutex> lock(mutex_);
    link_.reset();
  }
  return status;
}

smtp::Delivery HostMta::send(const mail::Envelope& envelope, const smtp::Client::TextWriter& writer,
                             const smtp::Client::Hooks& hooks) {
  BSMTP_CHECK(link_ != nullptr && link_->client().usable());
  return link_->client().send(envelope, writer, hooks);
}

const smtp::Extensions& HostMta::extensions() const {
  BSMTP_CHECK(link_ != nullptr);
  return link_->client().extensions();
}

bool HostMta::is_open() const {
  return link_ != nullptr && link_->client().usable();
}

void HostMta::close() {
  if (is_open()) {
    link_->client().quit();
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  link_.reset();
}

void HostMta::interrupt() {
  const std::lock_guard<std::mutex> lock(mutex_);
  interrupted_ = true;
  if (link_ != nullptr) {
    link_->transport().shutdown();
  }
}

}  // namespace bsmtp::mda

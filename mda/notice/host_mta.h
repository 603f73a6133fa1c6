// HostMta: one SMTP connection to the host MTA, opened when first needed, kept over messages
// and given up after trouble. Used for parcels and notices (`submit`) and for unpacked mail
// (`resubmit`). interrupt() makes a blocked call of another thread fail at once, so that a
// service stops within seconds whatever the MTA does: what was under way is then kNotSent or
// kAmbiguous like after any lost connection.
// Failure: temporary, naming the endpoint. Threads: one user; interrupt() from any thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "common/base/status.h"
#include "common/smtp/client.h"

namespace bsmtp::mda {

struct HostMtaOptions {
  std::string url;  // smtp://127.0.0.1:25
  std::string ehlo_name;
  std::chrono::seconds timeout{600};  // for the final reply; shorter ones are derived
};

class HostMta {
 public:
  explicit HostMta(HostMtaOptions options);
  ~HostMta();
  HostMta(const HostMta&) = delete;
  HostMta& operator=(const HostMta&) = delete;

  // Connected and greeted, or why not.
  Status ready();
  // ready() must have been ok. After this the connection is reopened by ready() when broken.
  smtp::Delivery send(const mail::Envelope& envelope, const smtp::Client::TextWriter& writer,
                      const smtp::Client::Hooks& hooks);
  smtp::Delivery send(const mail::Envelope& envelope, const smtp::Client::TextWriter& writer) {
    return send(envelope, writer, {});
  }
  const smtp::Extensions& extensions() const;
  bool is_open() const;
  // QUIT, if connected.
  void close();
  void interrupt();
  const std::string& url() const { return options_.url; }

 private:
  class Link;
  HostMtaOptions options_;
  mutable std::mutex mutex_;  // guards link_ against interrupt()
  bool interrupted_ = false;
  std::unique_ptr<Link> link_;
};

}  // namespace bsmtp::mda

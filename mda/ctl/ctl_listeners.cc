#include "mda/ctl/ctl_listeners.h"

#include <algorithm>
#include <array>
#include <span>

#include "common/base/text.h"
#include "common/os/socket.h"
#include "common/smtp/extensions.h"
#include "common/smtp/reply.h"

namespace bsmtp::mda::ctl {
namespace {

using std::chrono::steady_clock;

constexpr std::string_view kSubmit = "submit";
constexpr std::string_view kResubmit = "resubmit";

// One command at a time, and its reply.
class Dialogue {
 public:
  explicit Dialogue(os::Socket socket) : socket_(std::move(socket)) {}

  Result<smtp::Reply> reply() {
    while (true) {
      TRY_ASSIGN(const std::size_t used, parser_.feed(input_));
      input_.erase(0, used);
      if (parser_.done()) {
        return parser_.take();
      }
      std::array<char, 2048> buffer{};
      TRY_ASSIGN(const std::size_t n, socket_.read(std::span<char>(buffer)));
      if (n == 0) {
        return Status::temporary("4.4.2", socket_.name() + " closed the connection");
      }
      input_.assign(buffer.data(), n);
    }
  }
  Result<smtp::Reply> command(const std::string& line) {
    TRY(socket_.write(line + "\r\n"));
    return reply();
  }

 private:
  os::Socket socket_;
  smtp::ReplyParser parser_;
  std::string input_;
};

struct Session {
  Dialogue dialogue;
  smtp::Extensions extensions;
};

// Connection, greeting and EHLO.
Result<Session> open_session(const std::string& url, const std::string& helo,
                             const ListenerPatience& patience) {
  TRY_ASSIGN(const os::Endpoint endpoint, os::parse_endpoint(url));
  TRY_ASSIGN(os::Socket socket, os::Socket::connect(endpoint, {patience.connect, patience.reply}));
  Session session{Dialogue(std::move(socket)), {}};
  TRY_ASSIGN(const smtp::Reply greeting, session.dialogue.reply());
  if (!greeting.is_positive()) {
    return Status::temporary("4.3.2", "it greets with " + greeting.to_string());
  }
  TRY_ASSIGN(const smtp::Reply ehlo, session.dialogue.command("EHLO " + helo));
  if (!ehlo.is_positive()) {
    return Status::temporary("4.3.2",
                             str_cat({"it answers EHLO ", helo, " with ", ehlo.to_string()}));
  }
  session.extensions = smtp::parse_extensions(ehlo);
  return session;
}

// Largest message that a peer's max-bytes lets pass.
std::uint64_t largest(const config::Config& config, bool as_parcel) {
  std::uint64_t size = 0;
  for (const config::Peer& peer : config.peers) {
    size = std::max(size, as_parcel ? wire_size(peer.max_bytes) : peer.max_bytes);
  }
  return size;
}

void check_size(const config::Config& config, std::string_view key,
                const smtp::Extensions& extensions, Findings& findings) {
  const bool parcels = key == kSubmit;
  const std::uint64_t needed = largest(config, parcels);
  if (!extensions.size || extensions.max_size == 0 || needed <= extensions.max_size) {
    return;
  }
  const std::string text =
      str_cat({"it announces SIZE ", std::to_string(extensions.max_size), ", but max-bytes lets ",
               parcels ? "parcels" : "messages", " of ", std::to_string(needed), " octets come"});
  if (parcels) {
    findings.problem(std::string(key), text, "lower max-bytes or raise the MTA's size limit");
  } else {
    findings.warn(std::string(key), text + ": larger ones are reported to their senders",
                  "raise the MTA's size limit, or agree on a lower max-bytes with the peer");
  }
}

// What the MTA did not announce, and what that means for our mail.
void check_extensions(const config::Config& config, std::string_view key,
                      const smtp::Extensions& extensions, Findings& findings) {
  check_size(config, key, extensions, findings);
  const bool unpacked = key == kResubmit;
  if (unpacked && !extensions.eightbit) {
    findings.warn(std::string(key), "it does not offer 8BITMIME: messages with 8-bit text wait",
                  "let the MTA offer it on this listener");
  }
  if (unpacked && !extensions.dsn) {
    findings.warn(std::string(key),
                  "it does not offer DSN: what senders asked for with NOTIFY, RET and ENVID ends "
                  "here",
                  "let the MTA offer it on this listener");
  }
  if (!extensions.pipelining) {
    findings.warn(std::string(key),
                  "it does not offer PIPELINING: each recipient costs a round trip",
                  "let the MTA offer it to this host");
  }
}

std::string summary(const std::string& url, const smtp::Extensions& extensions) {
  return str_cat({url, " answers; SIZE ",
                  extensions.max_size == 0 ? "unlimited" : std::to_string(extensions.max_size),
                  extensions.eightbit ? ", 8BITMIME" : "", extensions.dsn ? ", DSN" : "",
                  extensions.pipelining ? ", PIPELINING" : "",
                  extensions.smtputf8 ? ", SMTPUTF8" : "; no SMTPUTF8: such mail comes home"});
}

// One session that behaves as bsmtp-dispatch does when it delivers unpacked mail.
class StrangerProbe {
 public:
  StrangerProbe(const config::Config& config, Session session, const ListenerPatience& patience,
                Findings& findings)
      : config_(config), session_(std::move(session)), patience_(patience), findings_(findings) {}

  Status run() {
    TRY_ASSIGN(const smtp::Reply mail, session_.dialogue.command("MAIL FROM:<>"));
    if (!mail.is_positive()) {
      complain(mail, "refuses the null sender, which reports have: " + mail.to_string(),
               "let the listener take MAIL FROM:<>");
      return Status::ok();
    }
    TRY(own_postmaster());
    TRY(foreign("probe@example.com"));
    for (const config::Peer& peer : config_.peers) {
      TRY(foreign("probe%example.com@" + peer.pseudo_domain()));
      break;  // all of them end in one domain
    }
    if (slow_) {
      findings_.warn(about_,
                     "refusals are held back: a batch with many unknown users takes as many pauses",
                     "switch such delays off on this listener (Postfix: smtpd_error_sleep_time=0; "
                     "docs/install-postfix.md, docs/install-sendmail.md)");
    }
    if (good_) {
      findings_.ok(about_, "takes mail for " + postmaster() + " and relays to no foreign domain");
    }
    TRY(session_.dialogue.command("RSET").status());
    return session_.dialogue.command("QUIT").status();
  }

 private:
  std::string postmaster() const { return "postmaster@" + config_.host; }

  void complain(const smtp::Reply& reply, const std::string& text, const std::string& remedy) {
    good_ = false;
    if (reply.is_permanent()) {
      findings_.problem(about_, text, remedy);
    } else {
      findings_.warn(about_, text, remedy);
    }
  }

  Result<smtp::Reply> recipient(const std::string& address) {
    const auto asked = steady_clock::now();
    TRY_ASSIGN(smtp::Reply reply, session_.dialogue.command(str_cat({"RCPT TO:<", address, ">"})));
    slow_ = slow_ || (!reply.is_positive() && steady_clock::now() - asked > patience_.refusal);
    return reply;
  }

  Status own_postmaster() {
    TRY_ASSIGN(const smtp::Reply reply, recipient(postmaster()));
    if (!reply.is_positive()) {
      complain(reply, str_cat({"refuses ", postmaster(), ": ", reply.to_string()}),
               "see that this listener takes mail for this host's own addresses; unpacked mail is "
               "refused as this was");
    }
    return Status::ok();
  }

  Status foreign(const std::string& address) {
    TRY_ASSIGN(const smtp::Reply reply, recipient(address));
    if (reply.is_positive()) {
      good_ = false;
      findings_.problem(
          about_, str_cat({"would relay to ", address, ": peers could send anywhere through it"}),
          "let it relay for nobody (Postfix: the service of postfix/master.cf with mynetworks= and "
          "smtpd_relay_restrictions=reject_unauth_destination; sendmail: the daemon that "
          "FEATURE(`bsmtp') makes), and point `resubmit` to it");
    } else if (reply.is_temporary()) {
      good_ = false;
      findings_.warn(about_,
                     str_cat({"refuses to relay to ", address, " only for now: ", reply.to_string(),
                              "; such mail would be tried until it expires"}),
                     "let the listener say 5xx (Postfix: reject_unauth_destination, not "
                     "defer_unauth_destination)");
    }
    return Status::ok();
  }

  const config::Config& config_;
  Session session_;
  const ListenerPatience& patience_;
  Findings& findings_;
  const std::string about_{kResubmit};
  bool slow_ = false;
  bool good_ = true;
};

}  // namespace

void check_listeners(const config::Config& config, Findings& findings,
                     const ListenerPatience& patience) {
  struct Listener {
    std::string_view key;
    const std::string& url;
    const std::string& helo;
  };
  for (const Listener& each : {Listener{kSubmit, config.submit, config.host},
                               Listener{kResubmit, config.resubmit, config.resubmit_helo}}) {
    const std::string about(each.key);
    if (const auto endpoint = os::parse_endpoint(each.url); !endpoint.is_ok()) {
      findings.problem(about, endpoint.status().text(), "write smtp://HOST:PORT");
      continue;
    }
    auto session = open_session(each.url, each.helo, patience);
    if (!session.is_ok()) {
      findings.warn(about, session.status().text(),
                    "start the MTA, or its listener for unpacked mail; parcels and messages wait "
                    "(--offline asks no listener)");
      continue;
    }
    const smtp::Extensions extensions = session->extensions;
    findings.ok(about, summary(each.url, extensions));
    check_extensions(config, each.key, extensions, findings);
    const Status asked = each.key == kResubmit
                             ? StrangerProbe(config, std::move(*session), patience, findings).run()
                             : session->dialogue.command("QUIT").status();
    if (!asked.is_ok() && each.key == kResubmit) {
      findings.warn(about, "the session broke off: " + asked.text(),
                    "see the MTA's log; limits for strangers (errors, rates) must not hold on this "
                    "listener");
    }
  }
}

}  // namespace bsmtp::mda::ctl

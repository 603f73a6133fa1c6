// Session: what bsmtp-milter knows of one MTA connection, as a pure state machine: envelope in,
// recipient edits out. No libmilter, no socket, no clock, no log, so that every case of an
// envelope is a row in a unit test. callbacks.cc feeds it and carries out what it says.
// Guarantees: it never refuses anything; edits are only handed out by end_of_message(), all
// additions before all deletions; a transaction sees one Classifier from MAIL to end of data.
// Failure: a callback that broke calls fail(); the whole message is then a temporary failure.
// Threads: one session, one thread at a time (libmilter serves a connection by one worker).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace bsmtp::milter {

// Macro values and addresses of the connection; "" where the MTA gave none.
struct Connection {
  std::string client_address;  // textual IP address from the connect callback
  std::string daemon_name;     // {daemon_name}: sendmail's Name=, on Postfix myhostname
  std::string daemon_port;     // {daemon_port}
};

struct MailFrom {
  std::string path;   // argv[0] as the MTA gave it: "<a@b>", "<>", or "a@b" for local submission
  std::string login;  // {auth_authen}, else {auth_type}: not empty = authenticated
};

// Where a message comes from, in the words of the rules.
struct Origin {
  std::string channel;      // l, tcp_local, tcp_auth, bsin_gateway, bsout_*
  bool may_divert = false;  // false: mail out of a tunnel and parcels, whatever the rules say
};

// What the rules say about one recipient.
struct Lookup {
  enum class Outcome {
    kPlain,   // no rule names a tunnel: ordinary mail
    kDivert,  // goes into the tunnel of `peer` as `local`@`domain`
    kLeft     // a rule names a tunnel, but the address is not one we divert: the static map's
  };
  Outcome outcome = Outcome::kPlain;
  std::string peer;    // its name
  std::string local;   // rewritten, in wire form
  std::string domain;  // rewritten
  std::string why;     // kLeft: the reason, for the log
};

// The rules as a session needs them. Immutable while a session holds it.
class Classifier {
 public:
  virtual ~Classifier() = default;
  // `reverse_path` is the reverse-path without brackets, "" for the null one.
  virtual Origin origin(const Connection& connection, const MailFrom& mail,
                        std::string_view reverse_path) const = 0;
  // `address` has neither brackets nor source route nor a trailing dot.
  virtual Lookup look_up(std::string_view address, std::string_view channel) const = 0;
};

struct Addition {
  std::string address;   // without angle brackets
  std::string params;    // "NOTIFY=... ORCPT=..."; only these two are legal on both MTAs
  std::string original;  // for the log: the first recipient that led to it, without brackets
};

struct Left {
  std::string address;
  std::string why;
};

struct Edits {
  std::vector<Addition> additions;
  std::vector<std::string> deletions;  // exactly the texts to give to delrcpt
  std::vector<Left> left;              // matched, but left to the static map
};

// A path as commands carry it, taken apart. Views into the given text.
struct BarePath {
  std::string_view stripped;  // without brackets and source route, trailing dot kept
  std::string_view address;   // and without one trailing dot: what rules are asked about
  bool bracketed = false;
};
BarePath bare_path(std::string_view path);

// More recipients than any MTA passes on in one message: the peer on the socket is no MTA.
inline constexpr std::size_t kMaxRecipients = 100000;

class Session {
 public:
  void connect(Connection connection);
  // Begins a transaction; ends one that is open, as RSET would.
  void mail(std::shared_ptr<const Classifier> classifier, const MailFrom& mail);
  // `arguments` is argv of the RCPT callback: the address, then its ESMTP parameters.
  void rcpt(const std::vector<std::string_view>& arguments);
  // What to change, and the end of the transaction. Temporary 4.3.0 when a callback of this
  // message broke or no MAIL came before.
  Result<Edits> end_of_message();
  void abort();
  // From here on this transaction can only end in a temporary failure.
  void fail() noexcept { failed_ = true; }

  bool in_transaction() const { return classifier_ != nullptr; }
  const std::string& channel() const { return origin_.channel; }

 private:
  // One tunneled recipient; merge() folds those that lead to one mailbox into the first.
  struct Tunneled {
    Lookup lookup;
    std::string address;  // diverted, with the ordinary label; "" once folded into another
    std::string original;
    std::string orcpt;            // the first one a client gave
    unsigned notify = 0;          // union of what the clients gave
    bool default_notify = false;  // a recipient came without NOTIFY
  };

  void forget(std::string_view path, const BarePath& bare);
  void merge();
  static Result<Addition> to_addition(Tunneled& tunneled);
  void reset();

  Connection connection_;
  std::shared_ptr<const Classifier> classifier_;
  Origin origin_;
  bool failed_ = false;
  std::size_t recipients_ = 0;
  std::vector<Tunneled> tunneled_;
  std::vector<std::string> deletions_;
  std::vector<Left> left_;
};

// "rfc822;<xtext>" (RFC 3461 4.2), for an address with UTF-8 "utf-8;<utf-8-addr-xtext>"
// (RFC 6533 3). "" when it would exceed the 500 octets a receiver must take.
std::string original_recipient(std::string_view address);

}  // namespace bsmtp::milter

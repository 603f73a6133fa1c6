#include "mda/enqueue/resolve.h"

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/rewrite/export_map.h"
#include "common/rewrite/tunnel_address.h"
#include "mda/enqueue/enqueue.h"

namespace bsmtp::mda {
namespace {

// What Postfix pipe(8) says for the null sender where master.cf lacks "null_sender=". A real
// sender of that name comes with a domain.
constexpr std::string_view kPostfixNull = "MAILER-DAEMON";

Status routing(std::string text) {
  return Status::temporary("4.3.5", std::move(text));
}

std::string_view without_brackets(std::string_view path) {
  return path.size() >= 2 && path.front() == '<' && path.back() == '>'
             ? path.substr(1, path.size() - 2)
             : path;
}

// Postfix pipe(8) without flags=q hands over a dequoted local part: `a b@domain`.
Result<mail::Mailbox> parse_argument(std::string_view address) {
  auto parsed = mail::parse_mailbox(address);
  if (parsed.is_ok()) {
    return parsed;
  }
  const std::size_t at = address.rfind('@');
  if (at == std::string_view::npos) {
    return parsed;
  }
  const auto quoted =
      mail::parse_mailbox(str_cat({mail::quote_local(address.substr(0, at)), address.substr(at)}));
  return quoted.is_ok() ? quoted : parsed;
}

bool has_domain(std::string_view address) {
  const std::size_t at = address.rfind('@');
  return at != std::string_view::npos && at + 1 < address.size();
}

// An address that the MTA took but our grammar does not: it goes on as it is when it can be
// written safely. The far MTA refuses it alone, with a DSN; refusing it here would bounce all
// recipients of the call, since a pipe agent has one exit code for them.
Result<mail::Mailbox> parse_recipient(std::string_view address) {
  auto parsed = parse_argument(address);
  if (parsed.is_ok() || !has_domain(address) || !mail::is_safe_path(address)) {
    return parsed;
  }
  return mail::Mailbox{"", std::string(address.substr(address.rfind('@') + 1))};
}

Status other_peer(std::string_view recipient, const std::string& peer, const std::string& call) {
  return routing(str_cat({"recipient <", printable(recipient, 200), "> belongs to peer ", peer,
                          ", this call is for peer ", call,
                          "; let the MTA call once per pseudo-domain (sendmail: no F=l)"}));
}

Status set_dsn(const EnqueueRequest& request, mail::Envelope& envelope) {
  if (!request.ret.empty()) {
    envelope.ret = to_upper(request.ret);
    if (envelope.ret != "FULL" && envelope.ret != "HDRS") {
      return routing("--ret is FULL or HDRS, not '" + printable(request.ret, 40) + "'");
    }
  }
  // MTAs hand on the xtext they received; anything else is encoded, or left out when too long.
  const bool ready = mail::is_xtext(request.envid);
  const std::string envid =
      ready ? mail::upper_xtext(request.envid) : mail::to_xtext(request.envid);
  if (envid.size() <= mail::kMaxEnvid) {
    envelope.envid = envid;
  }
  return Status::ok();
}

}  // namespace

Result<std::string> resolve_sender(std::string_view sender, const std::string& host) {
  sender = without_brackets(sender);
  if (sender.empty() || sender == kPostfixNull) {
    return std::string();
  }
  auto mailbox = parse_argument(sender);
  if (!mailbox.is_ok()) {
    if (has_domain(sender) && mail::is_safe_path(sender)) {
      return std::string(sender);
    }
    return mailbox.status();
  }
  if (mailbox->domain.empty()) {
    mailbox->domain = host;  // else the peer would take it for one of its own users
  }
  return mail::format_mailbox(*mailbox);
}

Status RecipientResolver::use_peer(const std::string& argument) {
  const config::Peer* peer = config_.peer_for_argument(argument);
  if (peer == nullptr) {
    return routing(str_cat({"--peer '", printable(argument, 80),
                            "' is no configured peer; correct the MTA's transport or add it"}));
  }
  peer_ = peer->name;
  return Status::ok();
}

Result<ResolvedRecipient> RecipientResolver::resolve(std::string_view argument) {
  argument = without_brackets(argument);
  const std::size_t at = argument.rfind('@');
  ResolvedRecipient out;
  if (at != std::string_view::npos && rewrite::is_pseudo_domain(argument.substr(at + 1))) {
    TRY_ASSIGN(const rewrite::TunnelAddress tunnel, rewrite::decode_tunnel(argument));
    if (!peer_.empty() && peer_ != tunnel.peer) {
      return other_peer(argument, tunnel.peer, peer_);
    }
    out.peer = tunnel.peer;
    out.recipient.address = tunnel.address();
    out.recipient.notify = tunnel.never ? "NEVER" : "";
    return out;
  }
  TRY_ASSIGN(const mail::Mailbox mailbox, parse_recipient(argument));
  if (mailbox.domain.empty()) {
    return routing(str_cat({"recipient <", printable(argument, 200), "> has no domain"}));
  }
  out.peer = peer_;
  if (peer_.empty()) {
    TRY_ASSIGN(out.peer, look_up(mailbox.domain));
  }
  out.recipient.address =
      mailbox.local.empty() ? std::string(argument) : mail::format_mailbox(mailbox);
  return out;
}

Result<std::string> RecipientResolver::look_up(const std::string& domain) {
  if (!map_) {
    auto opened = rewrite::ExportedMap::open(config_.export_map);
    if (!opened.is_ok()) {
      return opened.status();
    }
    map_ = std::move(opened).value();
  }
  const auto peer = map_->find(domain);
  if (!peer) {
    return routing(
        str_cat({"no peer for domain ", printable(domain, 200), " in ", config_.export_map,
                 "; give --peer or run `bsmtpctl rules export` again"}));
  }
  return *peer;
}

Status require_open(const config::Config& config, const std::string& name) {
  const config::Peer* peer = config.find_peer(name);
  if (peer == nullptr) {
    return routing("peer " + printable(name, 80) + " is not configured; add it or undo its rules");
  }
  // `stopping` still takes what the MTA had diverted before.
  if (peer->state == config::PeerState::kOn || peer->state == config::PeerState::kStopping) {
    return Status::ok();
  }
  return Status::temporary("4.3.2", "peer " + peer->name +
                                        " is switched off; `state = on` in its section takes mail "
                                        "for it again");
}

Result<ResolvedEnvelope> resolve_envelope(const config::Config& config,
                                          const EnqueueRequest& request) {
  RecipientResolver resolver(config);
  if (!request.peer.empty()) {
    TRY(resolver.use_peer(request.peer));
  }
  ResolvedEnvelope out;
  TRY_ASSIGN(out.envelope.sender, resolve_sender(request.sender, config.host));
  bool ascii = mail::is_ascii(out.envelope.sender);
  for (const auto& argument : request.recipients) {
    TRY_ASSIGN(ResolvedRecipient resolved, resolver.resolve(argument));
    if (!out.peer.empty() && out.peer != resolved.peer) {
      return other_peer(argument, resolved.peer, out.peer);
    }
    out.peer = std::move(resolved.peer);
    ascii = ascii && mail::is_ascii(resolved.recipient.address);
    out.envelope.recipients.push_back(std::move(resolved.recipient));
  }
  TRY(require_open(config, out.peer));
  TRY(set_dsn(request, out.envelope));
  // Written before the text is seen, and 8BITMIME is true of 7-bit text as well.
  out.envelope.body = "8BITMIME";
  out.envelope.smtputf8 = !ascii;
  return out;
}

}  // namespace bsmtp::mda

// classify(): runs one address through the rewrite rules and says what becomes of the recipient.
// PMDF semantics (docs/rewrite-rules.md): probe order, tags, controls, substitutions, all
// template forms, fall-through of failed rules, bounded rewriting. Cost: at most
// 2 * labels + 6 hash look-ups per rewriting round, whatever the number of rules.
// No side effect, no I/O, never throws but bad_alloc. Threads: pure, call it from any number.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/rewrite/rules.h"

namespace bsmtp::rewrite {

// The address and where it stands. Defaults: an envelope recipient that came by SMTP.
struct Query {
  // A path with or without angle brackets, source route and quotes as the client sent it.
  std::string_view address;
  std::string_view source_channel = kChannelSmtp;  // $M $N
  bool envelope = true;                            // $E / $B (header)
  bool forward = true;                             // $F / $R (From, MAIL)
  // $Q $C: ignored for a forward envelope address (its destination is being decided).
  std::string_view destination_channel;
  bool notify_never = false;  // NOTIFY=NEVER: diverted to never.<peer>.bsmtp.invalid
};

enum class Kind {
  kLeave,   // to the MTA, unchanged; `reason` says why
  kDivert,  // replace the recipient by `diverted`
  kExempt,  // parcel address, postmaster or abuse of a gateway: to the MTA, unchanged
  kError,   // the rules refuse it ($? or an unknown routing system): a milter leaves it to the
            // MTA all the same and logs `text`; nothing of ours rejects at RCPT
};

struct Decision {
  Kind kind = Kind::kLeave;
  std::string reason;  // one line for logs and `rules test`

  // Set when a rule reached a routing system (kDivert always, kLeave and kError perhaps).
  std::string routing_system;   // "BSOUT-REMOTE1"
  std::string rewritten_local;  // local part in wire form, quotes where needed
  std::string rewritten_domain;
  std::string route;      // inserted source route host (template A@B@C), else ""
  std::string rewritten;  // "[@route:]local@domain"

  // kDivert; for kLeave also when the result was a peer's tag but may not be diverted.
  const PeerInfo* peer = nullptr;  // lives as long as the RuleSet
  std::string diverted;            // kDivert: "local%domain@<peer>.bsmtp.invalid", no brackets
  // The address the MTA has stored when it stripped a source route (delete that one too);
  // always the plain "local@domain" of the query, quotes and case as received.
  std::string route_stripped;

  // kError.
  std::string code;  // enhanced status code, "5.1.2" unless the rule gives one
  std::string text;  // "illegal host/domain" unless the rule gives one
};

// One look-up or event on the way, in order.
struct Step {
  std::string probe;   // "*.cs.cmu.edu" (with tag), or "" for an event that is no look-up
  std::string rule;    // "pattern template" when the probe hit
  std::string where;   // "FILE:LINE" of that rule
  std::string result;  // "no rule", "fails: $N names channel l", "-> u@sc.cs.cmu.edu via ..."
};

struct Trace {
  std::vector<Step> steps;
  std::size_t lookups = 0;  // hash look-ups made: what tests and benchmarks gate on
  std::size_t hits = 0;     // of them, those that found a rule, whatever became of it
  std::size_t rounds = 0;   // rewriting rounds
  bool text = true;         // false: count only
};

Decision classify(const RuleSet& rules, const Query& query, Trace* trace = nullptr);

// True for a gateway's parcel address (<user>, <user>+anything), postmaster@ and abuse@ a
// gateway host, ours or a peer's; compared case-insensitively, trailing dot ignored.
bool is_exempt(const RuleSet& rules, std::string_view local, std::string_view domain);

}  // namespace bsmtp::rewrite

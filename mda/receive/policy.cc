#include "mda/receive/policy.h"

#include "common/spool/paths.h"
#include "mda/receive/receiver.h"

namespace bsmtp::mda {

namespace {

parcel::Profile parcel_profile(config::Profile profile) {
  switch (profile) {
    case config::Profile::kRfc2442:
      return parcel::Profile::kRfc2442;
    case config::Profile::kPmdfGzip:
      return parcel::Profile::kPmdfGzip;
    case config::Profile::kPmdfSigned:
      return parcel::Profile::kPmdfSigned;
    case config::Profile::kNative:
      break;
  }
  return parcel::Profile::kNative;
}

}  // namespace

Result<crypto::Verifier> open_verifier(const config::Config& config) {
  std::vector<crypto::PeerKeys> keys;
  for (const config::Peer& peer : config.peers) {
    if (peer.state != config::PeerState::kOff && !peer.openpgp_keys.empty()) {
      keys.push_back({peer.name, peer.openpgp_keys});
    }
  }
  return crypto::Verifier::open(config.verify_home(), keys);
}

parcel::Sandbox parcel_sandbox(const config::Config& config) {
  if (config.sandbox == "off") {
    return parcel::Sandbox::kOff;
  }
  return config.sandbox == "on" ? parcel::Sandbox::kOn : parcel::Sandbox::kAuto;
}

parcel::Limits parcel_limits(const config::Config& config) {
  parcel::Limits limits;
  limits.parcel_bytes = config.max_parcel_bytes;
  limits.header_bytes = config.max_header_bytes;
  limits.header_fields = config.max_header_fields;
  limits.mime_parts = config.max_mime_parts;
  limits.inflate.max_bytes = config.max_inflated_bytes;
  limits.inflate.max_ratio = config.max_inflate_ratio;
  limits.messages = config.max_batch_messages;
  limits.recipients = config.max_recipients;
  limits.line = config.max_line;
  return limits;
}

parcel::OpenRequest open_request(os::FileOps& ops, const config::Config& config,
                                 crypto::Verifier& verifier, const Clock& clock) {
  parcel::OpenRequest request;
  request.ops = &ops;
  request.host = config.host;
  for (const config::Peer& peer : config.peers) {
    if (peer.state == config::PeerState::kOff) {
      continue;
    }
    parcel::PeerPolicy policy;
    policy.peer = peer.name;
    policy.host = peer.host;
    policy.profile = parcel_profile(peer.profile);
    policy.agreement.smtputf8 = peer.profile == config::Profile::kNative;
    policy.require_signature = peer.require == config::Require::kSignature;
    policy.annotate = peer.annotate;
    request.peers.push_back(std::move(policy));
  }
  request.verifier = &verifier;
  request.limits = parcel_limits(config);
  request.sandbox = parcel_sandbox(config);
  request.clock = &clock;
  request.skew = config.clock_skew;
  request.replay_window = config.replay_window;
  return request;
}

const char* reject_code(parcel::Reject reason) {
  switch (reason) {
    case parcel::Reject::kNotAParcel:
    case parcel::Reject::kMalformed:
    case parcel::Reject::kNoManifest:
      return "5.6.0";
    case parcel::Reject::kTooBig:
      return "5.3.4";
    case parcel::Reject::kUnsupported:
      return "5.6.1";
    case parcel::Reject::kUnsigned:
    case parcel::Reject::kUnknownKey:
    case parcel::Reject::kExpiredKey:
      return "5.7.1";
    case parcel::Reject::kBadSignature:
    case parcel::Reject::kWeakDigest:
      return "5.7.7";
    case parcel::Reject::kNotForMe:
    case parcel::Reject::kWrongSender:
      return "5.7.1";
    case parcel::Reject::kExpired:
      return "5.4.7";
  }
  return "5.6.0";
}

Result<spool::Quarantine> open_quarantine(os::FileOps& ops, const config::Config& config) {
  const spool::Paths paths(config.spool_directory);
  return spool::Quarantine::open(
      ops, paths.quarantine(), paths.inbound_tmp(),
      {config.quarantine_bytes, config.quarantine_count, config.quarantine_age});
}

}  // namespace bsmtp::mda

// config check's look at key homes and spool, each as the user whose program needs it.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <tuple>

#include "common/base/text.h"
#include "common/crypto/openpgp.h"
#include "common/os/file_ops.h"
#include "common/os/identity.h"
#include "common/os/sandbox.h"
#include "common/spool/spool.h"
#include "mda/ctl/ctl_check.h"
#include "mda/ctl/ctl_identity.h"
#include "mda/receive/policy.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::size_t kMaxGpgConf = 65536;

Status check_signer(const config::Config& config) {
  TRY(crypto::check_home(config.sign_home()));
  TRY(os::check_private_directory(config.sign_home()));
  crypto::SignerOptions options;
  options.home = config.sign_home();
  options.fingerprint = config.sign_key;
  options.passphrase_file = config.sign_passphrase_file;
  if (!options.passphrase_file.empty()) {
    TRY(os::check_secret_file(options.passphrase_file));
  }
  return crypto::Signer::open(options).status();
}

Status check_verifier(const config::Config& config) {
  TRY(crypto::check_home(config.verify_home()));
  return open_verifier(config).status();
}

Status writable(const std::string& path) {
  if (::access(path.c_str(), R_OK | W_OK | X_OK) != 0) {
    return Status::from_errno(path + " is not writable", errno);
  }
  return Status::ok();
}

// Of a home that an earlier build, or somebody else, has made.
void check_locks(const std::string& about, const std::string& home, Findings& findings) {
  const std::string file = home + "/gpg.conf";
  const auto text = as_owner_of(home, [&]() -> Result<std::string> {
    TRY_ASSIGN(const bool there, os::exists(os::real_file_ops(), file));
    return there ? os::read_file(os::real_file_ops(), file, kMaxGpgConf) : std::string();
  });
  if (!text.is_ok() || ::access(home.c_str(), F_OK) != 0) {
    return;  // found elsewhere
  }
  const auto lines = split(*text, '\n');
  if (std::none_of(lines.begin(), lines.end(),
                   [](std::string_view line) { return trim(line) == "lock-never"; })) {
    findings.warn(about,
                  home +
                      ": gpg makes lock files there, and waits for them for ever when the disk "
                      "fails",
                  "add the line `lock-never` to " + file);
  }
}

// gpg called by hand as root replaces files, and the home's own user can no longer read them.
void check_home_files(const std::string& home, Findings& findings) {
  os::FileOps& ops = os::real_file_ops();
  const auto owner = os::owner_of(home);
  const auto names = ops.list(home);
  if (!owner.is_ok() || !names.is_ok()) {
    return;  // found elsewhere
  }
  for (const std::string& name : *names) {
    const std::string path = str_cat({home, "/", name});
    const auto info = ops.stat(path);
    if (info.is_ok() && info->owner != owner->uid && name.find("S.gpg-agent") != 0) {
      findings.problem("users",
                       str_cat({path, " belongs to user id ", std::to_string(info->owner),
                                ", its directory to ", std::to_string(owner->uid)}),
                       str_cat({"chown --reference=", home, " ", path,
                                "; keys come by `bsmtpctl key`, not by gpg called as root"}));
    }
  }
}

// What the admin's shell made with a umask of 077 nobody else can read. The agents load the
// configuration as the user that the MTA starts them with, and bsmtp-out reads the map.
void check_readable(const config::Config& config, Findings& findings) {
  if (!os::has_root()) {
    return;  // cannot look through the others' eyes
  }
  const std::string socket = config.milter_socket;
  const std::size_t end = socket.rfind('/');
  const std::string milter =
      socket.starts_with("unix:") && end > 5 ? socket.substr(5, end - 5) : std::string();
  std::vector<std::string> all = config.files;
  std::vector<std::string> rules = all;
  rules.push_back(config.rewrite_rules);
  all.push_back(config.export_map);
  const std::array<std::tuple<std::string, std::string, std::vector<std::string>>, 3> readers = {
      {{"the agents' user", config.spool_directory, all},
       {"bsmtp-dispatch's user", config.sign_home(), config.files},
       {"bsmtp-milter's user", milter, rules}}};
  for (const auto& [who, place, files] : readers) {
    for (const std::string& file : files) {
      if (place.empty() || ::access(file.c_str(), F_OK) != 0 ||
          ::access(place.c_str(), F_OK) != 0) {
        continue;  // found elsewhere
      }
      const Status seen = step_as_owner_of(place, [&file = file] {
        return ::access(file.c_str(), R_OK) == 0 ? Status::ok() : Status::from_errno(file, errno);
      });
      if (!seen.is_ok()) {
        findings.problem("users", str_cat({who, " cannot read ", seen.text()}),
                         str_cat({"chmod a+r ", file, ", and a+rx what it lies in"}));
      }
    }
  }
}

void check_separation(const config::Config& config, Findings& findings) {
  const auto spool = os::owner_of(config.spool_directory);
  const auto sign = os::owner_of(config.sign_home());
  if (!spool.is_ok() || !sign.is_ok()) {
    return;  // found elsewhere
  }
  if (spool->uid == sign->uid) {
    findings.warn("users",
                  "spool and signing key belong to one user: whoever breaks into "
                  "bsmtp-in can sign",
                  str_cat({"for more than a test, give openpgp-directory/sign a user of its own",
                           spool->uid == 0 ? ", and neither of them to root: the services run as "
                                             "users that could not read root's"
                                           : ""}));
    return;
  }
  if (!os::has_root()) {
    return;  // cannot look through the other's eyes
  }
  const Status peeked = step_as_owner_of(config.spool_directory, [&config] {
    return ::access(config.sign_home().c_str(), R_OK) == 0 ? Status::ok()
                                                           : Status::temporary("4.3.0", "no");
  });
  if (peeked.is_ok()) {
    findings.problem("users", "the spool's user can read " + config.sign_home(),
                     "chmod 0700 " + config.sign_home());
  } else {
    findings.ok("users", "bsmtp-in's user cannot read the signing key");
  }
}

}  // namespace

void check_keys(const config::Config& config, Findings& findings) {
  if (config.sign_key.empty()) {
    findings.problem("sign-key", "not set: no parcel can be signed",
                     "`bsmtpctl key generate`, then write its fingerprint into bsmtp.conf");
  } else if (const Status s =
                 step_as_owner_of(config.sign_home(), [&config] { return check_signer(config); });
             !s.is_ok()) {
    findings.problem("sign-key", s.text(), "`bsmtpctl key list` shows what is there");
  } else {
    findings.ok("sign-key", config.sign_key);
  }
  bool pinned = false;
  for (const config::Peer& peer : config.peers) {
    const std::string about = "peer " + peer.name;
    pinned = pinned || !peer.openpgp_keys.empty();
    for (const std::string& key : peer.openpgp_keys) {
      if (iequals(key, config.sign_key)) {
        findings.problem(about, "its openpgp-key is this gateway's own sign-key",
                         "remove it; ask the peer's admin for the peer's key");
      }
    }
    if (peer.openpgp_keys.empty() && peer.require == config::Require::kSignature &&
        peer.state != config::PeerState::kOff) {
      findings.problem(about, "no openpgp-key: nothing it sends can be verified",
                       "`bsmtpctl key import FILE --peer " + peer.name + "`");
    }
  }
  // bsmtp-in runs as the spool's owner: what it can read is what counts.
  if (const Status s =
          step_as_owner_of(config.spool_directory, [&config] { return check_verifier(config); });
      !s.is_ok()) {
    findings.problem(
        "verify keys", s.text(),
        "bsmtp-in answers 75 until this is mended; keys come by `bsmtpctl key import`");
  } else if (pinned) {
    findings.ok("verify keys", "all pinned keys can be loaded");
  }
  check_locks("sign-key", config.sign_home(), findings);
  check_locks("verify keys", config.verify_home(), findings);
  check_home_files(config.sign_home(), findings);
  check_home_files(config.verify_home(), findings);
  check_readable(config, findings);
  check_separation(config, findings);
}

void check_spool(const config::Config& config, Findings& findings) {
  const std::string& root = config.spool_directory;
  os::FileOps& ops = os::real_file_ops();
  const Status opened = step_as_owner_of(root, [&]() -> Status {
    TRY_ASSIGN(const spool::Spool spool, spool::Spool::open(ops, root));
    const spool::Paths& paths = spool.paths();
    for (const std::string& directory :
         {paths.inbound_tmp(), paths.accepted(), paths.quarantine(), paths.returns()}) {
      TRY(writable(directory));
    }
    for (const config::Peer& peer : config.peers) {
      TRY(writable(paths.tmp(peer.name)));
      TRY(writable(paths.incoming(peer.name)));
    }
    return spool.require_free(static_cast<unsigned>(config.free_percent_enqueue));
  });
  if (!opened.is_ok()) {
    findings.problem("spool", opened.text(),
                     "`bsmtpctl spool create` makes what is missing; NFS and the like are refused");
    return;
  }
  const Status dispatch = step_as_owner_of(config.sign_home(), [&]() -> Status {
    const spool::Paths paths(root);
    TRY(writable(root));
    for (const char* end : {"", "-wal", "-shm"}) {
      const std::string file = paths.ledger() + end;
      if (::access(file.c_str(), F_OK) == 0 && ::access(file.c_str(), R_OK | W_OK) != 0) {
        return Status::temporary("4.3.5", file + " is not writable; chown it to this user");
      }
    }
    for (const std::string& directory : {paths.accepted(), paths.deferred(), paths.notices_tmp(),
                                         paths.notices_ready(), paths.quarantine()}) {
      TRY(writable(directory));
    }
    return Status::ok();
  });
  if (!dispatch.is_ok()) {
    findings.problem("spool", "bsmtp-dispatch's user: " + dispatch.text(),
                     "put the owner of the signing key into the spool's group; directories are "
                     "2770");
    return;
  }
  findings.ok("spool", root);
}

void check_sandbox(const config::Config& config, Findings& findings) {
  const os::SandboxSupport support = os::sandbox_support();
  if (config.sandbox == "off") {
    findings.warn("sandbox", "off: what is inside a parcel is parsed by bsmtp-in itself",
                  "sandbox = auto");
  } else if (support.complete()) {
    findings.ok("sandbox", "Landlock and seccomp cage the parsing of parcels");
  } else if (config.sandbox == "on") {
    findings.problem("sandbox",
                     "on, but this kernel has no " + support.missing() + ": no parcel is taken",
                     "a kernel with both, or sandbox = auto");
  } else {
    findings.warn("sandbox",
                  "this kernel has no " + support.missing() +
                      ": parcels are parsed in a child with less around it",
                  "a kernel with Landlock (5.13) and seccomp");
  }
}

}  // namespace bsmtp::mda::ctl

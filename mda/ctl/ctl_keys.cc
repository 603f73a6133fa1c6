// bsmtpctl key ...: own signing key and the peers' keys.
#include <algorithm>

#include "common/base/text.h"
#include "common/base/units.h"
#include "common/crypto/keyring.h"
#include "common/os/file_ops.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_identity.h"
#include "mda/ctl/ctl_output.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::size_t kMaxKeyFile = 4U << 20U;

std::string key_state(const crypto::KeyInfo& key) {
  return key.revoked ? "revoked" : key.expired ? "expired" : key.usable ? "usable" : "cannot sign";
}

std::string first_user_id(const crypto::KeyInfo& key) {
  return key.user_ids.empty() ? "" : key.user_ids.front();
}

std::string expiry(const crypto::KeyInfo& key) {
  return key.primary().expires ? time_text(*key.primary().expires) : "never";
}

// "ours", the peer it is pinned for, or "" for a key that means nothing.
std::string role_of(const config::Config& config, const crypto::KeyInfo& key) {
  if (iequals(key.fingerprint, config.sign_key)) {
    return "ours";
  }
  for (const config::Peer& peer : config.peers) {
    if (std::find(peer.openpgp_keys.begin(), peer.openpgp_keys.end(), key.fingerprint) !=
        peer.openpgp_keys.end()) {
      return "peer " + peer.name;
    }
  }
  return "";
}

void key_json(Json& json, const crypto::KeyInfo& key, const std::string& role) {
  json.object()
      .field("fingerprint", key.fingerprint)
      .field("role", role)
      .field("user_id", first_user_id(key))
      .field("algorithm", key.primary().algorithm)
      .field("created", time_text(key.primary().created))
      .field("expires", expiry(key))
      .field("state", key_state(key))
      .flag("secret", key.secret)
      .end();
}

void print_key(std::ostream& out, const crypto::KeyInfo& key) {
  out << "  user id      " << printable(first_user_id(key)) << "\n"
      << "  algorithm    " << key.primary().algorithm << "\n"
      << "  created      " << time_text(key.primary().created) << "\n"
      << "  expires      " << expiry(key) << "\n"
      << "  state        " << key_state(key) << "\n"
      << "  fingerprint  " << crypto::group_fingerprint(key.fingerprint) << "\n";
}

Result<const config::Peer*> need_peer(const config::Config& config, const std::string& name) {
  const config::Peer* peer = config.peer_for_argument(name);
  if (peer == nullptr) {
    return Status::permanent("5.1.1", str_cat({"no peer ", printable(name, 60),
                                               " in the configuration; `bsmtpctl peer list` "
                                               "shows them, `bsmtpctl peer add` makes one"}));
  }
  return peer;
}

// The key a command is about: ours, or the newest that is pinned for --peer.
struct Chosen {
  std::string home;
  std::string fingerprint;
};
Result<Chosen> choose(const config::Config& config, const Arguments& arguments) {
  if (!arguments.has("peer")) {
    if (config.sign_key.empty()) {
      return Status::permanent("5.1.1",
                               "sign-key is not set; make a key with `bsmtpctl key generate` and "
                               "write its fingerprint into bsmtp.conf");
    }
    return Chosen{config.sign_home(), config.sign_key};
  }
  TRY_ASSIGN(const config::Peer* peer, need_peer(config, arguments.value("peer")));
  if (peer->openpgp_keys.empty()) {
    return Status::permanent("5.1.1", "peer " + peer->name +
                                          " has no openpgp-key; take one with `bsmtpctl key "
                                          "import FILE --peer " +
                                          peer->name + "`");
  }
  return Chosen{config.verify_home(), peer->openpgp_keys.back()};
}

// One line per key: JSON, or cells separated by tabs. Empty when there is no such home yet.
Result<std::string> list_home(const Context& context, const std::string& home, bool secret_only) {
  TRY_ASSIGN(const bool there, os::exists(os::real_file_ops(), home));
  if (!there) {
    return std::string();
  }
  TRY_ASSIGN(const auto keys, crypto::list_keys(home, secret_only));
  std::string lines;
  for (const crypto::KeyInfo& key : keys) {
    const std::string role = role_of(*context.config, key);
    if (context.json) {
      Json json;
      key_json(json, key, role);
      lines += json.text();
    } else {
      lines += str_cat({!role.empty() ? role
                        : secret_only ? "ours, unused"
                                      : "not pinned",
                        "\t", key.fingerprint, "\t", key.primary().algorithm, "\t", expiry(key),
                        "\t", key_state(key), "\t", printable(first_user_id(key)), "\n"});
    }
  }
  return lines;
}

}  // namespace

Result<int> key_generate(Context& context, const Arguments& arguments) {
  const config::Config& config = *context.config;
  crypto::GenerateOptions options;
  options.home = config.sign_home();
  options.user_id = arguments.value("user-id", "BSMTP gateway <" + config.parcel_address() + ">");
  options.algorithm = arguments.value("algorithm", options.algorithm);
  options.passphrase_file = arguments.value("passphrase-file", config.sign_passphrase_file);
  if (arguments.has("valid-for")) {
    TRY_ASSIGN(options.valid_for, parse_duration(arguments.value("valid-for")));
  }
  TRY_ASSIGN(const crypto::KeyInfo key, crypto::generate_key(options));
  if (context.json) {
    Json json;
    key_json(json, key, "");
    context.out << json.text();
    return kExitOk;
  }
  context.out << "Made a signing key in " << options.home << "\n";
  print_key(context.out, key);
  context.out << "\nWrite into bsmtp.conf:\n  sign-key = " << key.fingerprint
              << "\nSend the peer's admin the output of `bsmtpctl key export` and read the "
                 "fingerprint out by telephone.\n";
  return kExitOk;
}

Result<int> key_list(Context& context, const Arguments& /*arguments*/) {
  const config::Config& config = *context.config;
  // Two homes, two owners: each is read by its own.
  std::string rows;
  const std::vector<std::pair<std::string, bool>> homes = {{config.sign_home(), true},
                                                           {config.verify_home(), false}};
  Table table({"ROLE", "FINGERPRINT", "ALGORITHM", "EXPIRES", "STATE", "USER ID"});
  bool trouble = false;
  for (const auto& [home, secret] : homes) {
    const auto text = as_owner_of(
        home, [&, home = home, secret = secret] { return list_home(context, home, secret); });
    if (!text.is_ok()) {
      context.err << "bsmtpctl: " << text.status().text() << "\n";
      trouble = true;
      continue;
    }
    for (const std::string_view line : split(*text, '\n')) {
      if (line.empty()) {
        continue;
      }
      if (context.json) {
        rows += str_cat({rows.empty() ? "" : ",", line});
      } else {
        std::vector<std::string> cells;
        for (const std::string_view cell : split(line, '\t')) {
          cells.emplace_back(cell);
        }
        table.add(std::move(cells));
      }
    }
  }
  if (context.json) {
    context.out << "[" << rows << "]\n";
  } else if (table.empty()) {
    context.out << "no keys; make ours with `bsmtpctl key generate`\n";
  } else {
    table.print(context.out);
  }
  return trouble ? kExitTrouble : kExitOk;
}

Result<int> key_export(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const Chosen chosen, choose(*context.config, arguments));
  TRY_ASSIGN(const std::string text, as_owner_of(chosen.home, [&chosen] {
               return crypto::export_key(chosen.home, chosen.fingerprint);
             }));
  const std::string output = arguments.value("output");
  if (!output.empty()) {
    const PublicFiles readable_by_all;
    const std::size_t slash = output.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : output.substr(0, slash + 1);
    TRY(os::write_file_atomically(os::real_file_ops(), directory, directory,
                                  slash == std::string::npos ? output : output.substr(slash + 1),
                                  text, 0644));
  }
  if (context.json) {
    Json json;
    json.object().field("fingerprint", chosen.fingerprint);
    if (output.empty()) {
      json.field("key", text);
    } else {
      json.field("file", output);
    }
    context.out << json.end().text();
  } else if (output.empty()) {
    context.out << text;
  } else {
    context.out << "wrote " << printable(output) << "\n";
  }
  return kExitOk;
}

Result<int> key_fingerprint(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const Chosen chosen, choose(*context.config, arguments));
  if (context.json) {
    context.out << Json()
                       .object()
                       .field("fingerprint", chosen.fingerprint)
                       .field("read_aloud", crypto::group_fingerprint(chosen.fingerprint))
                       .end()
                       .text();
  } else {
    context.out << crypto::group_fingerprint(chosen.fingerprint) << "\n";
  }
  return kExitOk;
}

Result<int> key_import(Context& context, const Arguments& arguments) {
  const config::Config& config = *context.config;
  TRY_ASSIGN(const config::Peer* peer, need_peer(config, arguments.value("peer")));
  TRY_ASSIGN(const std::string text, read_user_file(arguments.word(0), kMaxKeyFile));
  const auto inspected = crypto::inspect_key(text);
  if (!inspected.is_ok()) {  // a wrong file is an answer, no trouble to wait out
    return Status::permanent(
        "5.7.5", str_cat({printable(arguments.word(0)), ": ", inspected.status().text()}));
  }
  const auto& found = *inspected;
  if (found.size() != 1) {
    return Status::permanent(
        "5.7.5", str_cat({printable(arguments.word(0)), " holds ", std::to_string(found.size()),
                          " keys; ask for a file with exactly one"}));
  }
  const crypto::KeyInfo& key = found.front();
  const bool confirmed = arguments.has("fingerprint");
  if (!context.json) {
    context.out << (confirmed ? "Key in " : "Not imported yet. Key in ")
                << printable(arguments.word(0)) << ":\n";
    print_key(context.out, key);
  }
  if (!confirmed) {
    if (context.json) {
      context.out << Json()
                         .object()
                         .flag("imported", false)
                         .field("peer", peer->name)
                         .field("fingerprint", key.fingerprint)
                         .end()
                         .text();
    } else {
      context.out << "\nTelephone " << peer->host
                  << "'s admin, have the fingerprint read out, and call this again with "
                     "--fingerprint and what you heard.\n";
    }
    return kExitProblem;
  }
  TRY_ASSIGN(const std::string heard,
             crypto::normalize_fingerprint(arguments.value("fingerprint")));
  if (heard != key.fingerprint) {
    return Status::permanent("5.7.5",
                             "the fingerprint that was heard is not this key's: nothing "
                             "imported. Do not trust this file until the difference is "
                             "explained");
  }
  const std::string role = role_of(config, key);
  if (!role.empty() && role != "peer " + peer->name) {
    return Status::permanent("5.7.5", "this key is " + role + "'s already; a key names one peer");
  }
  const std::string home = config.verify_home();
  TRY(make_verify_home(config));
  TRY(refuse_among_others(config, home));
  const Status imported = step_as_owner_of(home, [&]() -> Status {
    TRY(crypto::prepare_home(home));
    return crypto::import_key(home, text, heard).status();
  });
  TRY(imported);
  if (role.empty()) {
    TRY(write_peer_lines(context, peer->name, {{"openpgp-key", key.fingerprint}}));
  }
  if (context.json) {
    context.out << Json()
                       .object()
                       .flag("imported", true)
                       .field("peer", peer->name)
                       .field("fingerprint", key.fingerprint)
                       .end()
                       .text();
  } else {
    context.out << "\nImported and pinned for peer " << peer->name
                << ". Reload bsmtp-dispatch to use it.\n";
  }
  return kExitOk;
}

}  // namespace bsmtp::mda::ctl

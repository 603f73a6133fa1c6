// config check's look at sendmail's access map: a TLS demand on everybody also meets the mail that
// this host sends to itself, whose connections and pipes know no TLS; it would wait for ever.
#include "common/base/text.h"
#include "common/os/file_ops.h"
#include "mda/ctl/ctl_sendmail.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::size_t kMaxAccess = 64U << 20U;
constexpr std::string_view kAbout = "sendmail-access";

// Whether a value demands anything: all but OK and its like begin with one of these.
bool demands(std::string_view value) {
  for (const std::string_view prefix : {"TEMP+", "PERM+"}) {
    value.remove_prefix(istarts_with(value, prefix) ? prefix.size() : 0);
  }
  return istarts_with(value, "VERIFY") || istarts_with(value, "ENCR");
}

struct BareTag {
  std::string_view tag;
  std::vector<std::string_view> exceptions;  // all are needed
  std::string_view effect;
};

const std::vector<BareTag>& bare_tags() {
  static const std::vector<BareTag> kTags = {
      {"TLS_Srv:",
       {"bsmtp-out", "bsmtp-in"},
       "mail to our agents, whose pipe knows no TLS, is deferred with 403 4.7.0"},
      {"TLS_Clt:",
       {"localhost", "127"},
       "parcels and unpacked mail, which come from 127.0.0.1 without TLS, are answered 454 4.7.0"},
      {"TLS_Rcpt:", {}, "mail to our agents, whose pipe knows no TLS, is deferred"},
  };
  return kTags;
}

// The look-up goes from 127.0.0.1 to 127.
bool excepts(std::string_view key, std::string_view name) {
  return iequals(key, name) || (name == "127" && key.starts_with("127."));
}

void check_tag(const BareTag& bare, const std::vector<AccessEntry>& access, const std::string& file,
               Findings& findings) {
  bool found = false;
  std::vector<bool> excepted(bare.exceptions.size(), false);
  for (const AccessEntry& entry : access) {
    if (!istarts_with(entry.key, bare.tag)) {
      continue;
    }
    const std::string_view name = std::string_view(entry.key).substr(bare.tag.size());
    found = found || (name.empty() && demands(entry.value));
    for (std::size_t i = 0; i < excepted.size(); ++i) {
      excepted[i] = excepted[i] || (excepts(name, bare.exceptions[i]) && !demands(entry.value));
    }
  }
  std::string missing;
  for (std::size_t i = 0; i < excepted.size(); ++i) {
    missing +=
        excepted[i] ? "" : str_cat({missing.empty() ? "" : ", ", bare.tag, bare.exceptions[i]});
  }
  const std::string what = str_cat({file, " has a bare ", bare.tag, " "});
  if (found && bare.exceptions.empty()) {
    findings.warn(std::string(kAbout), str_cat({what, "(", bare.effect, ")"}),
                  "give the domains that need it entries of their own");
  } else if (found && !missing.empty()) {
    findings.problem(std::string(kAbout), str_cat({what, "without ", missing, ": ", bare.effect}),
                     "add these keys with the value OK, then makemap; docs/tls-and-access.md");
  }
}

}  // namespace

std::vector<AccessEntry> parse_access(std::string_view text) {
  std::vector<AccessEntry> out;
  for (const std::string_view line : split(text, '\n')) {
    const auto words = split_blank(line);
    if (words.size() > 1 && !words[0].starts_with('#')) {
      out.push_back({std::string(words[0]), std::string(words[1])});
    }
  }
  return out;
}

void check_access(const SendmailSite& site, Findings& findings) {
  if (site.access.empty()) {
    return;
  }
  const auto text = os::read_file(os::real_file_ops(), site.access, kMaxAccess);
  if (!text.is_ok()) {
    return;  // made from something else: not ours to say
  }
  const std::vector<AccessEntry> access = parse_access(*text);
  for (const BareTag& bare : bare_tags()) {
    check_tag(bare, access, site.access, findings);
  }
}

}  // namespace bsmtp::mda::ctl

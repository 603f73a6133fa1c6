#include "common/rewrite/rules.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/os/file_ops.h"
#include "common/rewrite/engine.h"
#include "common/rewrite/tables.h"

namespace bsmtp::rewrite {
namespace {

constexpr std::size_t kMaxFileBytes = 1U << 30U;
constexpr std::size_t kMaxWarnings = 100;

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string_view without_dot(std::string_view host) {
  return !host.empty() && host.back() == '.' ? host.substr(0, host.size() - 1) : host;
}

// Fills Tables from text. One loader per load; `open_files_` is the chain of includes.
class Loader {
 public:
  explicit Loader(Tables& tables) : t_(tables) {}

  Status channels() {
    const Options& o = t_.options;
    for (std::size_t i = 0; i < o.peers.size(); ++i) {
      const PeerInfo& peer = o.peers[i];
      Channel channel{Channel::Kind::kPeer, static_cast<std::uint32_t>(i)};
      if (!t_.channels.emplace(to_lower(peer.tag), channel).second) {
        return Status::temporary("4.3.5", "peer " + printable(peer.name) + ": the tag \"" +
                                              printable(peer.tag) +
                                              "\" is another peer's; give each its own");
      }
      gateway(peer.host, peer.user);
    }
    for (const std::string& tag : o.pass_tags) {
      if (!t_.channels.emplace(to_lower(tag), Channel{Channel::Kind::kPass, 0}).second) {
        return Status::temporary("4.3.5", "pass-tags: \"" + printable(tag) +
                                              "\" is there twice or is a peer's tag; remove it");
      }
    }
    gateway(o.host, o.user);
    local(o.host);
    for (const std::string& domain : o.own_domains) {
      // Patterns (".a.b", "*") are for the sender check of other modules; names only here.
      if (!domain.empty() && domain.front() != '.' && domain != "*") {
        local(domain);
      }
    }
    return Status::ok();
  }

  Status file(const std::string& path) {
    auto text = os::read_file(os::real_file_ops(), path, kMaxFileBytes);
    if (!text.is_ok()) {
      return Status::temporary("4.3.5", text.status().text());
    }
    t_.texts.push_back(std::move(text).value());
    return this->text(t_.texts.back(), path);
  }

  Status text(std::string_view text, const std::string& name) {
    t_.files.push_back(name);
    open_files_.push_back(name);
    const auto number = static_cast<std::uint32_t>(t_.files.size() - 1);
    std::uint32_t line = 0;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      ++line;
      const Status status = one_line(text.substr(at, end - at), number, line);
      if (!status.is_ok()) {
        // An included file's own message names its place already.
        return located_ ? status : locate(status, number, line);
      }
      at = end + 1;
    }
    open_files_.pop_back();
    return Status::ok();
  }

  void warn_own_domains(const RuleSet& rules) {
    for (const auto& [name, channel] : t_.channels) {
      if (channel.kind != Channel::Kind::kLocal) {
        continue;
      }
      const std::string address = "someone@" + name;
      Query query;
      query.address = address;
      const Decision decision = classify(rules, query);
      if (decision.kind == Kind::kDivert) {
        t_.warnings.push_back("mail for this host's own domain " + printable(name) +
                              " is diverted to peer " + decision.peer->name + "; add a rule \"" +
                              printable(name) + " $U@" + printable(name) + "\"");
      }
    }
  }

 private:
  void local(const std::string& name) {
    t_.channels.emplace(to_lower(without_dot(name)), Channel{Channel::Kind::kLocal, 0});
  }

  void gateway(const std::string& host, const std::string& user) {
    const std::string name = to_lower(without_dot(host));
    if (!name.empty()) {
      t_.gateways.insert(name);
      t_.exempt.insert(to_lower(user) + "@" + name);
    }
  }

  Status locate(const Status& status, std::uint32_t file, std::uint32_t line) {
    located_ = true;
    return status.with_context(t_.files[file] + ":" + std::to_string(line));
  }

  Status one_line(std::string_view raw, std::uint32_t file, std::uint32_t line) {
    if (raw.size() > t_.options.max_line) {
      return Status::temporary(
          "4.3.5", "the line is longer than " + std::to_string(t_.options.max_line) + " octets");
    }
    const std::string_view text = trim(raw);
    if (text.empty()) {
      if (!t_.rules.empty() && section_end_.empty()) {
        section_end_ = t_.files[file] + ":" + std::to_string(line);
      }
      return Status::ok();
    }
    if (text.front() == '!') {
      return Status::ok();
    }
    for (const char c : text) {
      if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) {
        return Status::temporary("4.3.5", "there is a control character in the line");
      }
    }
    if (!section_end_.empty()) {
      return Status::temporary("4.3.5",
                               "a rule after the blank line " + section_end_ +
                                   ", where PMDF ends the rules; begin that line with `!`, or "
                                   "remove what follows it");
    }
    return text.front() == '<' ? include(text, file) : rule(text, file, line);
  }

  Status include(std::string_view text, std::uint32_t file) {
    std::string path(trim(text.substr(1)));
    if (path.empty()) {
      return Status::temporary("4.3.5", "`<` needs a file name");
    }
    if (path.front() != '/') {
      path = directory_of(t_.files[file]) + "/" + path;
    }
    if (std::find(open_files_.begin(), open_files_.end(), path) != open_files_.end()) {
      return Status::temporary("4.3.5", printable(path) + " includes itself");
    }
    if (open_files_.size() > t_.options.max_include_depth) {
      return Status::temporary("4.3.5", "includes are nested deeper than " +
                                            std::to_string(t_.options.max_include_depth) +
                                            " files; is there a loop?");
    }
    return this->file(path);
  }

  Status rule(std::string_view text, std::uint32_t file, std::uint32_t line) {
    const std::size_t blank = std::min(text.find_first_of(" \t"), text.size());
    const std::string_view pattern = text.substr(0, blank);
    const std::string_view rest = trim(text.substr(blank));
    if (rest.empty()) {
      return Status::temporary("4.3.5", "pattern \"" + printable(pattern) +
                                            "\" has no template; a rule is `pattern template`");
    }
    TRY(check_pattern(pattern));
    TRY_ASSIGN(const std::uint32_t index, template_index(rest));
    TRY(check_routing_system(pattern, t_.templates[index]));
    if (t_.rules.size() >= t_.options.max_rules) {
      return Status::temporary("4.3.5",
                               "more than " + std::to_string(t_.options.max_rules) + " rules");
    }
    t_.rules.push_back(Rule{pattern, index, file, line, kNoRule});
    link(pattern);
    return Status::ok();
  }

  // Most rules of a big file share their template: each distinct text is compiled once.
  Result<std::uint32_t> template_index(std::string_view text) {
    if (const auto known = t_.template_of_text.find(text); known != t_.template_of_text.end()) {
      return known->second;
    }
    TRY_ASSIGN(Template compiled, compile_template(text));
    if (text.find_first_of(" \t") != std::string_view::npos && !compiled.error_text) {
      return Status::temporary("4.3.5", "there is a blank in the template \"" + printable(text) +
                                            "\"; one rule has one line `pattern template`");
    }
    t_.templates.push_back(std::move(compiled));
    const auto index = static_cast<std::uint32_t>(t_.templates.size() - 1);
    t_.template_of_text.emplace(text, index);
    return index;
  }

  // A routing system that does not depend on the address must be one we know.
  Status check_routing_system(std::string_view pattern, const Template& t) {
    if (t.form == Form::kErrorOnly || t.form == Form::kAgain) {
      return Status::ok();
    }
    const std::string_view core = pattern_core(pattern);
    const bool exact = core.find_first_of("*[$") == std::string_view::npos && core.front() != '.';
    for (const Op& op : t.parts.back()) {
      const bool constant = op.kind == OpKind::kText || op.kind == OpKind::kLower ||
                            op.kind == OpKind::kUpper || op.kind == OpKind::kOriginal;
      const bool of_pattern = op.kind == OpKind::kMatched || op.kind == OpKind::kMatchedLeft ||
                              op.kind == OpKind::kMatchedRight;
      if (!constant && !(exact && of_pattern)) {
        return Status::ok();
      }
    }
    Template last;
    last.parts.push_back(t.parts.back());
    const auto parts = expand_template(last, Match{"", core, "", core, ""}, nullptr);
    if (!parts || t_.channels.contains(to_lower(without_dot(parts->front())))) {
      return Status::ok();
    }
    return Status::temporary("4.3.5", "\"" + printable(parts->front()) +
                                          "\" is no peer's tag and not in pass-tags; name the "
                                          "peer that owns it or add it to pass-tags");
  }

  void link(std::string_view pattern) {
    std::string_view key = pattern;
    if (std::any_of(key.begin(), key.end(), [](char c) { return c >= 'A' && c <= 'Z'; })) {
      t_.lowered.push_back(to_lower(pattern));
      key = t_.lowered.back();
    }
    const auto number = static_cast<std::uint32_t>(t_.rules.size() - 1);
    t_.counts_labels = t_.counts_labels || key.find('*') != std::string_view::npos;
    auto& chain = t_.index[key];
    if (chain.first == kNoRule) {
      chain.first = number;
    } else {
      Rule& before = t_.rules[chain.last];
      if (t_.template_of(before).cannot_fail() && t_.warnings.size() < kMaxWarnings) {
        t_.warnings.push_back(t_.where(t_.rules[number]) + ": never used: the same pattern at " +
                              t_.where(before) + " cannot fail");
      }
      before.next = number;
    }
    chain.last = number;
  }

  Tables& t_;
  std::vector<std::string> open_files_;
  std::string section_end_;
  bool located_ = false;
};

}  // namespace

std::string Tables::text_of(const Rule& rule) const {
  return str_cat({rule.pattern, " ", template_of(rule).text});
}

RuleSet::RuleSet(std::unique_ptr<Tables> tables) : tables_(std::move(tables)) {}
RuleSet::~RuleSet() = default;

Result<std::shared_ptr<const RuleSet>> RuleSet::load(const std::string& path,
                                                     const Options& options) {
  return build(nullptr, path, options);
}

Result<std::shared_ptr<const RuleSet>> RuleSet::parse(std::string_view text,
                                                      const std::string& name,
                                                      const Options& options) {
  return build(&text, name, options);
}

Result<std::shared_ptr<const RuleSet>> RuleSet::build(const std::string_view* text,
                                                      const std::string& name,
                                                      const Options& options) {
  auto tables = std::make_unique<Tables>();
  tables->options = options;
  Loader loader(*tables);
  TRY(loader.channels());
  if (text == nullptr) {
    TRY(loader.file(name));
  } else {
    tables->texts.emplace_back(*text);
    TRY(loader.text(tables->texts.back(), name));
  }
  std::shared_ptr<const RuleSet> rules(new RuleSet(std::move(tables)));
  loader.warn_own_domains(*rules);
  return rules;
}

const Options& RuleSet::options() const {
  return tables_->options;
}

std::size_t RuleSet::size() const {
  return tables_->rules.size();
}
bool RuleSet::counts_labels() const {
  return tables_->counts_labels;
}

const std::vector<std::string>& RuleSet::files() const {
  return tables_->files;
}

const std::vector<std::string>& RuleSet::warnings() const {
  return tables_->warnings;
}

const PeerInfo* RuleSet::find_peer(std::string_view name) const {
  for (const PeerInfo& peer : tables_->options.peers) {
    if (iequals(peer.name, name)) {
      return &peer;
    }
  }
  return nullptr;
}

}  // namespace bsmtp::rewrite

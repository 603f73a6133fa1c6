// The static map: which domains tunnel, asked from the engine.
#include "common/rewrite/export_map.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/os/file_ops.h"
#include "common/rewrite/engine.h"
#include "common/rewrite/map_format.h"
#include "common/rewrite/tables.h"
#include "common/rewrite/tunnel_address.h"

namespace bsmtp::rewrite {
namespace {

// A label and a user that no site has rules for.
constexpr std::string_view kProbeLabel = "bsmtp-export-probe";
constexpr std::string_view kProbeUser = "bsmtp-export-probe";

struct Answer {
  std::string peer;      // "" : left to the MTA
  bool changed = false;  // the engine also rewrites the address, a table cannot
  bool differs = false;  // from l otherwise than from tcp_local
};

std::size_t count_stars(std::string_view core) {
  return static_cast<std::size_t>(std::count(core.begin(), core.end(), '*'));
}

class Exporter {
 public:
  Exporter(const RuleSet& rules, const ExportOptions& options)
      : rules_(rules), t_(rules.tables()), options_(options) {}

  Export run() {
    collect();
    for (const auto& [key, rule] : dots_) {
      dot_pattern(key, rule);
    }
    for (const auto& [key, rule] : exacts_) {
      settle(key, ask(key), rule);
    }
    for (const auto& [key, rule] : stars_) {
      star_pattern(key, rule);
    }
    for (const std::string& host : t_.gateways) {
      gateway(host);
    }
    for (const auto& [key, entry] : table_) {
      out_.entries.push_back(entry);
    }
    std::sort(out_.left_out.begin(), out_.left_out.end());
    out_.text = format_map(out_, options_);
    return std::move(out_);
  }

 private:
  // Sorts the patterns by kind. Dot patterns come with fewer labels first, so that a parent's
  // entry is known when its child is decided.
  void collect() {
    for (const auto& [key, chain] : t_.index) {
      const Rule& rule = t_.rules[chain.first];
      if (key.find('|') != std::string_view::npos || key.front() == '[') {
        continue;  // reached only through other rules; literals are never diverted
      }
      if (key == "." || key.front() == '$') {
        catch_all(key, rule);
      } else if (const std::size_t stars = count_stars(key); stars != 0) {
        max_stars_ = std::max(max_stars_, stars);
        stars_.emplace_back(key, &rule);
      } else if (key.front() == '.') {
        dots_.emplace_back(key, &rule);
      } else {
        exacts_.emplace_back(key, &rule);
      }
    }
    std::sort(dots_.begin(), dots_.end(), [](const auto& a, const auto& b) {
      const auto depth = [](std::string_view s) { return std::count(s.begin(), s.end(), '.'); };
      return std::pair(depth(a.first), a.first) < std::pair(depth(b.first), b.first);
    });
  }

  void note(const Rule& rule, std::string_view why) {
    out_.left_out.push_back(str_cat({t_.where(rule), ": ", rule.pattern, ": ", why}));
  }

  // What the engine says about mail for `host`.
  Answer ask(std::string_view host) const {
    Answer answer;
    const std::string address = str_cat({kProbeUser, "@", host});
    for (const std::string_view channel : {kChannelSmtp, kChannelLocal}) {
      Query query;
      query.address = address;
      query.source_channel = channel;
      const Decision decision = classify(rules_, query);
      const bool diverted = decision.kind == Kind::kDivert;
      const std::string peer = diverted ? decision.peer->name : "";
      answer.differs = channel != kChannelSmtp && peer != answer.peer;
      if (channel == kChannelSmtp) {
        answer.peer = peer;
      }
      answer.changed = answer.changed || (diverted && decision.rewritten != address);
    }
    return answer;
  }

  void catch_all(std::string_view key, const Rule& rule) {
    const Answer answer = ask(str_cat({kProbeLabel, ".example.invalid"}));
    if (!answer.peer.empty() && key == ".") {
      const std::string all = str_cat({"tunnels all other mail to ", answer.peer});
      note(rule, options_.sendmail ? str_cat({all, "; the milter alone follows it"})
                                   : str_cat({all, "; set default_transport = ", options_.transport,
                                              ":", nexthop(options_, answer.peer),
                                              " and export with direct = smtp:"}));
    } else if (key == "$*") {
      note(rule, "applies to every address; no table can follow it");
    }
  }

  void dot_pattern(const std::string& key, const Rule* rule) {
    std::string host = std::string(kProbeLabel) + key;
    const Answer answer = ask(host);
    for (std::size_t depth = 0; depth < max_stars_; ++depth) {
      host = str_cat({kProbeLabel, ".", host});
      const Answer deeper = ask(host);
      if (deeper.peer != answer.peer || deeper.differs != answer.differs) {
        note(*rule, "hosts at different depths below it go different ways (a `*` rule)");
        leave(key, rule);
        return;
      }
    }
    settle(key, answer, rule);
  }

  // Enters what the engine said, if a table can say it and its parent does not say it already.
  void settle(const std::string& key, Answer answer, const Rule* rule) {
    if (answer.differs) {
      note(*rule, "depends on the source channel; left to the MTA");
      answer.peer.clear();
    } else if (answer.changed) {
      note(*rule, "the rule also rewrites the address; the table tunnels it unrewritten");
    }
    if (answer.peer.empty()) {
      leave(key, rule);
    } else {
      table_[key] = ExportEntry{key, answer.peer, t_.where(*rule)};
    }
  }

  // Takes `key` out of a tunneled parent. What a table cannot say is left to the MTA rather than
  // sent to a peer for which the rules do not mean it.
  void leave(const std::string& key, const Rule* rule) {
    if (!parent_peer(key).empty()) {
      table_[key] = ExportEntry{key, "", t_.where(*rule)};
    }
  }

  void star_pattern(const std::string& key, const Rule* rule) {
    std::string host = key;
    for (std::size_t at = host.find('*'); at != std::string::npos; at = host.find('*', at)) {
      host.replace(at, 1, kProbeLabel);
    }
    if (ask(host).peer != look_up(host)) {
      note(*rule, "a table knows no number of labels; the milter alone follows it");
      const std::string below = key.substr(key.rfind('*') + 1);
      if (!below.empty()) {
        leave(below, rule);
      }
    }
  }

  void gateway(const std::string& host) {
    if (look_up(host).empty()) {
      return;
    }
    const std::string suffix = "@" + host;
    for (const std::string& address : t_.exempt) {
      if (address.ends_with(suffix)) {
        table_[address] = ExportEntry{address, "", ""};
        if (options_.sendmail) {
          const std::string detail =
              address.substr(0, address.size() - suffix.size()) + "+*" + suffix;
          table_[detail] = ExportEntry{detail, "", ""};
        }
      }
    }
    for (const char* user : {"postmaster", "abuse"}) {
      table_[user + suffix] = ExportEntry{user + suffix, "", ""};
    }
  }

  // The table's present answer for a host, as Postfix searches it.
  std::string look_up(const std::string& host) const {
    const auto found = table_.find(host);
    return found != table_.end() ? found->second.peer : parent_peer(host);
  }
  std::string parent_peer(std::string_view key) const {
    for (std::size_t dot = key.find('.', 1); dot != std::string_view::npos;
         dot = key.find('.', dot + 1)) {
      const auto found = table_.find(std::string(key.substr(dot)));
      if (found != table_.end()) {
        return found->second.peer;
      }
    }
    return {};
  }

  const RuleSet& rules_;
  const Tables& t_;
  const ExportOptions& options_;
  std::vector<std::pair<std::string, const Rule*>> dots_, exacts_, stars_;
  std::size_t max_stars_ = 0;
  std::map<std::string, ExportEntry> table_;
  Export out_;
};

}  // namespace

Export export_postfix(const RuleSet& rules, const ExportOptions& options) {
  return Exporter(rules, options).run();
}

Export export_sendmail(const RuleSet& rules) {
  ExportOptions options;
  options.sendmail = true;
  return Exporter(rules, options).run();
}

std::string export_postfix_regexp(const RuleSet& rules, std::string_view direct) {
  std::string out =
      "# Written by bsmtpctl rules export --postfix --regexp. The parcel addresses of other\n"
      "# gateways with their return tokens never enter the tunnel. regexp_table(5).\n";
  const auto quote = [](std::string_view text) {
    std::string quoted;
    for (const char c : to_lower(text)) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '@' || c == '-' ||
                         c == '_' || static_cast<unsigned char>(c) >= 0x80;
      quoted += plain ? "" : "\\";
      quoted += c;
    }
    return quoted;
  };
  for (const PeerInfo& peer : rules.options().peers) {
    out += str_cat({"/^", quote(peer.user), "(\\+[^@]*)?@",
                    quote(mail::strip_trailing_dot(peer.host)), "$/\t", direct, "\n"});
  }
  return out;
}

Status write_map_file(const std::string& path, std::string_view text) {
  const std::size_t slash = path.rfind('/');
  const std::string dir = slash == std::string::npos ? "."
                          : slash == 0               ? "/"
                                                     : path.substr(0, slash);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty()) {
    return Status::temporary("4.3.5", "\"" + printable(path) + "\" names no file");
  }
  return os::write_file_atomically(os::real_file_ops(), dir, dir, name, text, 0644);
}

}  // namespace bsmtp::rewrite

#include "common/mail/received.h"

#include <algorithm>
#include <vector>

#include "common/base/text.h"

namespace bsmtp::mail {
namespace {

struct Item {
  bool comment = false;
  std::string_view text;  // without the outer parentheses
};

// Words and comments of the outermost level. Both MTAs balance the parentheses of what they did not
// write themselves.
std::vector<Item> items_of(std::string_view value) {
  std::vector<Item> out;
  std::size_t start = 0;
  int depth = 0;
  const auto word = [&](std::size_t end) {
    if (depth == 0 && end > start) {
      out.push_back({false, value.substr(start, end - start)});
    }
  };
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    if (c == '(') {
      word(i);
      start = depth++ == 0 ? i + 1 : start;
    } else if (c == ')' && depth > 0) {
      if (--depth == 0) {
        out.push_back({true, value.substr(start, i - start)});
        start = i + 1;
      }
    } else if (depth == 0 && (c == ' ' || c == '\t' || c == ';')) {
      word(i);
      start = i + 1;
    }
  }
  word(value.size());
  return out;
}

// "TLSv1.3", "SSLv3"; "" for what is none.
std::string version_of(std::string_view word) {
  constexpr std::size_t kLongest = 12;
  const bool good = (word.starts_with("TLSv") || word.starts_with("SSLv")) &&
                    word.size() <= kLongest &&
                    std::all_of(word.begin() + 4, word.end(),
                                [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
  return good ? std::string(word) : std::string();
}

std::string verify_of(std::string_view word) {
  constexpr std::size_t kLongest = 12;
  const bool good = !word.empty() && word.size() <= kLongest &&
                    std::all_of(word.begin(), word.end(),
                                [](char c) { return (c >= 'A' && c <= 'Z') || c == '_'; });
  return good ? std::string(word) : std::string();
}

// sendmail: "version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256 verify=OK"
void take_sendmail(std::string_view comment, ReceivedTls& out) {
  constexpr std::string_view kVersion = "version=";
  constexpr std::string_view kVerify = "verify=";
  const auto words = split_blank(comment);
  if (words.size() < 2 || !words.front().starts_with(kVersion) ||
      !words.back().starts_with(kVerify)) {
    return;
  }
  out.version = version_of(words.front().substr(kVersion.size()));
  out.verify = verify_of(words.back().substr(kVerify.size()));
}

// Postfix: "using TLSv1.3 with cipher ..." and "Client CN "...", Issuer "..." (verified OK)". The
// names are the client's; what Postfix found stands at the end.
void take_postfix(std::string_view comment, ReceivedTls& out) {
  if (comment.starts_with("using ")) {
    const auto words = split_blank(comment);
    out.version = words.size() > 1 ? version_of(words[1]) : std::string();
  } else if (comment.starts_with("Client CN ")) {
    out.verify = comment.ends_with(" (verified OK)")    ? "OK"
                 : comment.ends_with(" (not verified)") ? "FAIL"
                                                        : "";
  } else if (comment == "Client did not present a certificate") {
    out.verify = "NO";
  } else if (comment == "No client certificate requested") {
    out.verify = "NOT";
  }
}

}  // namespace

ReceivedTls received_tls(std::string_view value, std::string_view host) {
  const std::vector<Item> items = items_of(value);
  std::size_t by = items.size();
  for (std::size_t i = 0; i + 1 < items.size(); ++i) {
    if (!items[i].comment && iequals(items[i].text, "by") && !items[i + 1].comment) {
      by = i;
    }
  }
  if (by == items.size() || !iequals(items[by + 1].text, host)) {
    return {"unknown", ""};
  }
  ReceivedTls out;
  std::string_view protocol;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i].comment && i > by) {
      take_sendmail(items[i].text, out);
    } else if (items[i].comment) {
      take_postfix(items[i].text, out);
    } else if (i > by && i + 1 < items.size() && iequals(items[i].text, "with")) {
      protocol = items[i + 1].text;
    }
  }
  if (out.version.empty()) {  // RFC 3848: ESMTPS, ESMTPSA
    const bool secured = iends_with(protocol, "SMTPS") || iends_with(protocol, "SMTPSA");
    return {secured ? "yes" : protocol.empty() ? "unknown" : "none", ""};
  }
  return out;
}

}  // namespace bsmtp::mail

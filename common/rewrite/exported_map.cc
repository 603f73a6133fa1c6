// The text of the exported map: writing it, and bsmtp-out's look-up in it. Only libc below, no
// allocation per line: a map of 10^6 domains costs a page fault or twenty.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "common/base/text.h"
#include "common/base/unique_fd.h"
#include "common/mail/address.h"
#include "common/rewrite/map_format.h"
#include "common/rewrite/tunnel_address.h"

namespace bsmtp::rewrite {
namespace {

std::string padded(std::size_t number) {
  const std::string digits = std::to_string(number);
  return std::string(kMapDigits > digits.size() ? kMapDigits - digits.size() : 0, '0') + digits;
}

constexpr std::string_view kPostfixHead =
    "# Written by bsmtpctl rules export --postfix; it is replaced, so do not edit it.\n"
    "# transport_maps = ..., texthash:THIS FILE. docs/rewrite-rules.md explains it.\n";
constexpr std::string_view kSendmailHead =
    "# Written by bsmtpctl rules export --sendmail; it is replaced, so do not edit it.\n"
    "# makemap hash /etc/mail/bsmtp <THIS FILE. docs/install-sendmail.md explains it.\n";

std::string value_of(const ExportEntry& entry, const ExportOptions& options) {
  if (options.sendmail) {
    return entry.peer.empty() ? "direct" : pseudo_domain(entry.peer);
  }
  return entry.peer.empty() ? options.direct
                            : options.transport + ":" + nexthop(options, entry.peer);
}

Status damaged(const std::string& path, std::string_view why) {
  return Status::temporary(
      "4.3.5", path + " is no map of ours: " + std::string(why) +
                   "; write it with bsmtpctl rules export --write, with --postfix or --sendmail");
}

}  // namespace

std::string nexthop(const ExportOptions& options, std::string_view peer) {
  return options.nexthop.empty() ? pseudo_domain(peer) : options.nexthop;
}

std::string format_map(const Export& map, const ExportOptions& options) {
  std::string body = std::string(options.sendmail ? kSendmailHead : kPostfixHead);
  for (const std::string& line : map.left_out) {
    body += "# not in this table: " + printable(line) + "\n";
  }
  std::string index;
  std::size_t lines = 0;
  for (const ExportEntry& entry : map.entries) {
    body += entry.key + "\t";
    body += value_of(entry, options) + "\n";
    if (entry.key.find('@') == std::string::npos) {
      index +=
          str_cat({kMapIndexMark, entry.key, " ", entry.peer.empty() ? "-" : entry.peer, "\n"});
      ++lines;
    }
  }
  body += options.sendmail
              ? str_cat({kPseudoSuffix, "\ttunnel\n"})
              : str_cat({kPseudoSuffix, "\t", options.transport, ":", options.nexthop, "\n"});
  const std::size_t header = kMapMagic.size() + kMapDigits + kMapLines.size() + kMapDigits + 1;
  return str_cat({kMapMagic, padded(header + body.size()), kMapLines, padded(lines), "\n", body,
                  index, kMapEnd});
}

Result<ExportedMap> ExportedMap::open(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) {
    const int error = errno;
    return error == ENOENT ? damaged(path, "it does not exist") : Status::from_errno(path, error);
  }
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0) {
    return Status::from_errno(path, errno);
  }
  if (!S_ISREG(info.st_mode) || info.st_size <= 0) {
    return damaged(path, "it is empty or no regular file");
  }
  ExportedMap map;
  map.length_ = static_cast<std::size_t>(info.st_size);
  void* data = ::mmap(nullptr, map.length_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) {
    map.length_ = 0;
    return Status::from_errno(path, errno);
  }
  map.data_ = static_cast<const char*>(data);

  const std::string_view all(map.data_, map.length_);
  const std::size_t lines_at = kMapMagic.size() + kMapDigits;
  if (!all.starts_with(kMapMagic) || all.size() < lines_at + kMapLines.size() + kMapDigits ||
      all.substr(lines_at, kMapLines.size()) != kMapLines || !all.ends_with(kMapEnd)) {
    return damaged(path, "its first or last line is missing");
  }
  const auto at = parse_u64(all.substr(kMapMagic.size(), kMapDigits));
  const auto lines = parse_u64(all.substr(lines_at + kMapLines.size(), kMapDigits));
  if (!at || !lines || *at == 0 || *at > all.size() - kMapEnd.size() || all[*at - 1] != '\n') {
    return damaged(path, "the place of its index is wrong");
  }
  map.index_ = all.substr(*at, all.size() - kMapEnd.size() - *at);
  map.lines_ = *lines;
  return map;
}

ExportedMap::~ExportedMap() {
  if (data_ != nullptr) {
    // munmap takes a pointer to mutable memory and does not write there.
    ::munmap(const_cast<char*>(data_), length_);  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  }
}

ExportedMap::ExportedMap(ExportedMap&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      length_(std::exchange(other.length_, 0)),
      index_(std::exchange(other.index_, {})),
      lines_(std::exchange(other.lines_, 0)) {}

ExportedMap& ExportedMap::operator=(ExportedMap&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(length_, other.length_);
  std::swap(index_, other.index_);
  std::swap(lines_, other.lines_);
  return *this;
}

// Binary search over the sorted lines: [low, high) always begins and ends at line starts.
std::optional<std::string_view> ExportedMap::find_key(std::string_view key) const {
  std::size_t low = 0;
  std::size_t high = index_.size();
  while (low < high) {
    std::size_t start = low + (high - low) / 2;
    while (start > low && index_[start - 1] != '\n') {
      --start;
    }
    const std::size_t newline = index_.find('\n', start);
    const std::size_t end = newline == std::string_view::npos ? index_.size() : newline + 1;
    const std::string_view line = trim(index_.substr(start, end - start));
    const std::size_t blank = line.find(' ');
    if (!line.starts_with(kMapIndexMark) || blank == std::string_view::npos) {
      return std::nullopt;
    }
    const std::string_view found = line.substr(kMapIndexMark.size(), blank - kMapIndexMark.size());
    if (found == key) {
      return line.substr(blank + 1);
    }
    if (found < key) {
      low = end;
    } else {
      high = start;
    }
  }
  return std::nullopt;
}

std::optional<std::string> ExportedMap::find(std::string_view domain) const {
  const std::string name = to_lower(mail::strip_trailing_dot(domain));
  auto found = find_key(name);
  for (std::size_t dot = name.find('.', 1); !found && dot != std::string::npos;
       dot = name.find('.', dot + 1)) {
    found = find_key(std::string_view(name).substr(dot));
  }
  if (!found || *found == "-") {
    return std::nullopt;
  }
  return std::string(*found);
}

}  // namespace bsmtp::rewrite

// One question to the running bsmtp-milter through its socketmap (docs: bsmtp-milter(8)): what its
// rules, as it has loaded them, do with an address. Threads: pure but for the socket.
#pragma once

#include <string>
#include <string_view>

#include "common/base/status.h"

namespace bsmtp::mda::ctl {

// PATH of "unix:PATH", "local:PATH" or "/PATH"; "" of "inet:PORT@HOST" and "inet6:PORT@HOST".
std::string socket_path(std::string_view socket);

// `map`: "transport" or "bsmtp_rules". "OK data" or "NOTFOUND "; temporary when there is no such
// answer within three seconds.
Result<std::string> ask_socketmap(const std::string& socket, std::string_view map,
                                  std::string_view key);

}  // namespace bsmtp::mda::ctl

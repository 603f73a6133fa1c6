// UTF-8 as RFC 3629 has it, for addresses. Threads: pure function.
#pragma once

#include <cstddef>
#include <string_view>

namespace bsmtp::mail {

// Length of the UTF-8 sequence at the front of `s`, which is not empty; 0 when there is none, as
// for overlong forms, surrogates and what lies beyond U+10FFFF (RFC 3629 4).
std::size_t utf8_length(std::string_view s);

}  // namespace bsmtp::mail

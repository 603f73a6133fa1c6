// BSMTP_CHECK(condition): aborts on a bug of ours. Death by a signal is "deferred" for both
// MTAs (rig facts), so a bug costs time, never mail. Not for bad input: that is a Status.
#pragma once

#include <cstdio>
#include <cstdlib>

#define BSMTP_CHECK(condition)                                                                     \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      std::fprintf(stderr, "4.3.5 internal error at %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                                \
    }                                                                                              \
  } while (false)

#include "common/codec/inflater.h"

#ifdef BSMTP_WITH_ISAL
#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#endif

namespace bsmtp::codec {

#ifdef BSMTP_WITH_ISAL
namespace {

constexpr std::size_t kMost = 1U << 30U;  // ISA-L counts with 32 bits
constexpr std::uint32_t kReservedFlags = 0xE0;

class IsalInflater final : public Inflater {
 public:
  State begin_member() override {
    isal_inflate_init(&state_);
    // Its own reading of headers inside isal_inflate() forgets the flags between two calls.
    state_.crc_flag = ISAL_GZIP_NO_HDR_VER;
    isal_gzip_header_init(&header_);
    in_header_ = true;
    magic_seen_ = 0;
    return State::kMore;
  }

  State step(std::string_view& in, std::span<char> out, std::size_t& made) override {
    const auto given = static_cast<std::uint32_t>(std::min(in.size(), kMost));
    const auto room = static_cast<std::uint32_t>(std::min(out.size(), kMost));
    // Its input pointer is not const; it never writes there.
    state_.next_in =
        const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(in.data()));  // NOLINT
    state_.avail_in = given;
    state_.next_out = reinterpret_cast<std::uint8_t*>(out.data());  // NOLINT
    state_.avail_out = room;
    State state = in_header_ ? read_header(in) : State::kMore;
    if (state == State::kMore && !in_header_) {
      state = isal_inflate(&state_) != ISAL_DECOMP_OK   ? State::kDamaged
              : state_.block_state == ISAL_BLOCK_FINISH ? State::kMemberEnd
                                                        : State::kMore;
    }
    made = state_.avail_out <= room ? room - state_.avail_out : 0;
    // What it says is left of the input is wrong once it has met damage (seen with 2.30).
    if (state == State::kDamaged || state_.avail_in > given) {
      return State::kDamaged;
    }
    in.remove_prefix(given - state_.avail_in);
    // Damaged data may make it stand still with input left; the caller would ask for ever.
    if (state == State::kMore && made == 0 && given > 0 && state_.avail_in == given) {
      return State::kDamaged;
    }
    return state;
  }

 private:
  State read_header(std::string_view in) {
    // ISA-L looks at nothing before it has ten octets; garbage may be shorter than that.
    for (; magic_seen_ < magic_.size() && !in.empty(); in.remove_prefix(1)) {
      magic_[magic_seen_++] = in.front();
    }
    if (magic_seen_ == magic_.size() && (magic_[0] != '\x1f' || magic_[1] != '\x8b')) {
      return State::kDamaged;
    }
    const int code = isal_read_gzip_header(&state_, &header_);
    if (code == ISAL_END_INPUT) {
      return State::kMore;
    }
    in_header_ = false;
    return code == ISAL_DECOMP_OK && (header_.flags & kReservedFlags) == 0 ? State::kMore
                                                                           : State::kDamaged;
  }

  inflate_state state_{};
  isal_gzip_header header_{};  // name, comment and extra field are skipped
  bool in_header_ = true;
  std::array<char, 2> magic_{};
  std::size_t magic_seen_ = 0;
};

}  // namespace

std::unique_ptr<Inflater> isal_inflater() {
  return std::make_unique<IsalInflater>();
}
#else
std::unique_ptr<Inflater> isal_inflater() {
  return nullptr;
}
#endif

}  // namespace bsmtp::codec

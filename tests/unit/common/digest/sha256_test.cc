#include "common/digest/sha256.h"

#include <gtest/gtest.h>

namespace bsmtp::digest {
namespace {

TEST(Sha256, MatchesTheVectorsOfFips180) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, DoesNotDependOnHowTheDataAreCut) {
  const std::string text(100'000, 'a');
  Sha256 digest;
  for (std::size_t i = 0; i < text.size(); i += 777) {
    digest.update(std::string_view(text).substr(i, 777));
  }
  EXPECT_EQ(digest.finish_hex(), sha256_hex(text));
}

TEST(Sha256, RawDigestHas32Octets) {
  Sha256 digest;
  digest.update("abc");
  const std::string raw = digest.finish();
  ASSERT_EQ(raw.size(), kSha256Octets);
  EXPECT_EQ(static_cast<unsigned char>(raw[0]), 0xBA);
}

TEST(Sha256Sink, PassesOnAndHashes) {
  StringSink out;
  Sha256Sink sink(&out);
  ASSERT_TRUE(sink.write("ab").is_ok());
  ASSERT_TRUE(sink.write("c").is_ok());
  EXPECT_EQ(out.str(), "abc");
  EXPECT_EQ(sink.hex(), sha256_hex("abc"));
}

TEST(Sha256Sink, PassesOnTheFailureOfTheNextSink) {
  StringSink out(1);
  Sha256Sink sink(&out);
  EXPECT_TRUE(sink.write("abc").is_permanent());
}

}  // namespace
}  // namespace bsmtp::digest

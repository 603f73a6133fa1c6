#include "common/parcel/inspect.h"

#include <fcntl.h>

#include <cstdlib>
#include <functional>
#include <new>

#include "common/base/text.h"
#include "common/os/sandbox.h"
#include "common/parcel/confined.h"
#include "tests/unit/common/parcel/parcel_fixture.h"

namespace bsmtp::parcel {
namespace {

class InspectTest : public ParcelTest {
 protected:
  Inspection look(std::string_view text) {
    dir.write("mail", text);
    const os::File in = file("mail", os::kReadOnly);
    const auto seen = inspect(os::real_file_ops(), in, limits, Sandbox::kOff);
    const auto caged = inspect(os::real_file_ops(), in, limits, Sandbox::kAuto);
    EXPECT_TRUE(seen.is_ok()) << seen.status().to_string();
    EXPECT_TRUE(caged.is_ok()) << caged.status().to_string();
    if (!seen.is_ok() || !caged.is_ok()) {
      return {};
    }
    EXPECT_EQ(format_inspection(*caged), format_inspection(*seen)) << "the cage changes nothing";
    return *caged;
  }
};

TEST_F(InspectTest, ShowsTheLayersOfANativeParcelWithoutKeys) {
  BuildResult built;
  const Inspection seen = look(mail_of(build_entity(request(Profile::kNative), "", &built)));
  EXPECT_EQ(seen.problem, "");
  ASSERT_EQ(seen.layers.size(), 3U);
  EXPECT_EQ(seen.layers[0].type, "multipart/signed");
  EXPECT_EQ(seen.layers[1].type, "application/compressed-bsmtp");
  EXPECT_EQ(seen.layers[1].encoding, "base64");
  EXPECT_EQ(seen.layers[2].type, "application/batch-smtp");
  EXPECT_EQ(seen.layers[2].octets, built.plain_bytes);
  ASSERT_TRUE(seen.manifest.has_value());
  EXPECT_EQ(seen.manifest->id, kId);
  EXPECT_EQ(seen.digest, built.digest);
  EXPECT_EQ(seen.messages, 2U);
  EXPECT_EQ(seen.recipients, 3U);
  EXPECT_EQ(seen.senders, (std::vector<std::string>{"<ann@domain.com>", "<>"}));
  EXPECT_NE(seen.signature_kind.find("not verified"), std::string::npos);
}

TEST_F(InspectTest, BuiltEntityWithoutOuterHeadersIsReadToo) {
  EXPECT_EQ(look(build_entity(request(Profile::kPmdfGzip))).messages, 2U);
  EXPECT_EQ(look(build_entity(request(Profile::kRfc2442))).messages, 2U);
}

TEST_F(InspectTest, NamesWhatIsWrong) {
  const std::string whole = mail_of(build_entity(request(Profile::kNative)));
  std::string bad_gzip = whole;
  bad_gzip[bad_gzip.find("H4sI") + 40] ^= 1;
  std::string two = whole.substr(0, whole.size() - 20);
  const struct {
    const char* name;
    std::string text;
  } kCases[] = {
      {"truncated", two},
      {"damaged gzip", bad_gzip},
      {"ordinary mail", "Subject: x\r\n\r\nhello\r\n"},
      {"nothing", ""},
      {"bad batch", "Content-Type: application/batch-SMTP\r\n\r\nFOO\r\n"},
  };
  for (const auto& c : kCases) {
    EXPECT_NE(look(c.text).problem, "") << c.name;
  }
}

TEST_F(InspectTest, BadManifestIsExplained) {
  const std::string text =
      "Content-Type: application/batch-SMTP\r\nBSMTP-Parcel: v=9\r\n\r\nEHLO a.b\r\n"
      "MAIL FROM:<\x1b[31m@x.y>\r\nRCPT TO:<a@b.c>\r\nDATA\r\n.\r\nQUIT\r\n";
  const Inspection seen = look(text);
  EXPECT_FALSE(seen.manifest.has_value());
  EXPECT_NE(seen.manifest_error, "");
  for (const std::string& sender : seen.senders) {
    EXPECT_EQ(sender.find('\x1b'), std::string::npos) << "terminal escapes are made harmless";
  }
}

TEST_F(InspectTest, WhatTheChildSaysIsNotTrusted) {
  const struct {
    const char* name;
    std::string text;
  } kBroken[] = {{"nothing", ""},
                 {"cut short", "version: 1\nproblem: x"},
                 {"a control character", "version: 1\nproblem: \x1b[2J\n"},
                 {"no key", "version: 1\nproblem\n"},
                 {"trouble", "version: 1\ntrouble: no memory\n"}};
  for (const auto& c : kBroken) {
    EXPECT_FALSE(parse_inspection(c.text).is_ok()) << c.name;
  }
  std::string text = "version: 1\nmanifest: v=9\ndigest: \xc2\x9b\nsignature: ";
  text += std::string(5000, 'x') + "\nmessages: many\n";
  for (int n = 1; n < 100; ++n) {
    text += "sender." + std::to_string(n) + ": a\nlayer." + std::to_string(n) + ": b\n";
  }
  const auto seen = parse_inspection(text);
  ASSERT_TRUE(seen.is_ok()) << seen.status().to_string();
  EXPECT_FALSE(seen->manifest.has_value());
  EXPECT_EQ(seen->digest.find('\x9b'), std::string::npos);
  EXPECT_LT(seen->signature_kind.size(), 600U);
  EXPECT_EQ(seen->messages, 0U);
  EXPECT_EQ(seen->senders.size(), 20U);
  EXPECT_EQ(seen->layers.size(), 8U);
}

TEST_F(InspectTest, AChildThatCrashesOrSaysTooMuchIsAVerdictAndTroubleIsNone) {
  dir.write("mail", "x");
  const os::File in = file("mail", os::kReadOnly);
  const auto run = [&](const std::function<Status(Sink&)>& work) {
    return run_confined(in, Sandbox::kAuto, 100, work);
  };
  EXPECT_EQ(run([](Sink& out) { return out.write("hello"); }).value(), "hello");
  EXPECT_TRUE(run([](Sink&) -> Status { std::abort(); }).status().is_permanent());
  EXPECT_TRUE(
      run([](Sink& out) { return out.write(std::string(101, 'x')); }).status().is_permanent());
  EXPECT_TRUE(run([](Sink&) { return Status::temporary("4.3.0", "no"); }).status().is_temporary());
  EXPECT_TRUE(run([](Sink&) -> Status { throw std::bad_alloc(); }).status().is_temporary());
  if (os::sandbox_support().complete()) {
    const auto opened = run([](Sink& out) {
      return out.write(::open("/etc/passwd", O_RDONLY) >= 0 ? "opened" : "not");
    });
    EXPECT_TRUE(opened.status().is_permanent()) << "an open in the cage";
  }
}

}  // namespace
}  // namespace bsmtp::parcel

// Log lines: ids first, values quoted only when needed, hostile text cannot forge a line.
#include "common/log/log.h"

#include <gtest/gtest.h>

#include "common/log/events.h"

namespace bsmtp::log {
namespace {

TEST(Log, FormatsKeyValuePairsAndLeavesEmptyOnesOut) {
  EXPECT_EQ(format("ID", "event", {{"a", "1"}, {"b", ""}, {"c", "two words"}, {"d", "q\"x"}}),
            "ID: event a=1 c=\"two words\" d=\"q\\\"x\"");
}

TEST(Log, ControlCharactersCannotForgeASecondLine) {
  const std::string line = format("ID", "event", {{"to", "a\r\nID2: delivered to=b\x1b[31m"}});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(line.find('\r'), std::string::npos);
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
}

TEST(Log, LevelFiltersAndSinkReceives) {
  auto sink = std::make_shared<CaptureSink>();
  use_sink(sink);
  set_level(Level::kWarn);
  enqueued("item", "QID", "remote1", "", "u@d", 2, 10);
  alarm("-", "disk full");
  set_level(Level::kInfo);
  enqueued("item", "QID", "remote1", "", "u@d", 2, 10);
  use_sink(nullptr);
  const auto lines = sink->lines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0], "-: alarm what=\"disk full\"");
  EXPECT_EQ(lines[1], "item: enqueued qid=QID peer=remote1 from=<> to=<u@d> nrcpt=2 size=10");
}

}  // namespace
}  // namespace bsmtp::log

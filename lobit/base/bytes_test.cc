#include "lobit/base/bytes.h"

#include <gtest/gtest.h>

namespace lobit {
namespace {

TEST(ParseBytes, KnowsBinaryAndDecimalUnits) {
  EXPECT_EQ(*parse_bytes("4096"), 4096u);
  EXPECT_EQ(*parse_bytes("64KiB"), 65536u);
  EXPECT_EQ(*parse_bytes("1.5GiB"), 1610612736u);
  EXPECT_EQ(*parse_bytes("1.5 gib"), 1610612736u);
  EXPECT_EQ(*parse_bytes("2GB"), 2000000000u);
  EXPECT_EQ(*parse_bytes("2G"), 2147483648u);
}

TEST(ParseBytes, PercentNeedsAWhole) {
  EXPECT_EQ(*parse_bytes("50%", 1000), 500u);
  EXPECT_EQ(parse_bytes("50%").error().code, ErrorCode::kInvalidArgument);
}

TEST(ParseBytes, RefusesWhatIsNotASize) {
  for (const char* text :
       {"", "MiB", "-1", "1e3", "12 parsecs", "1MiB2", "nan", "inf", "99999999999TiB", "0x10"}) {
    EXPECT_FALSE(parse_bytes(text).has_value()) << text;
  }
}

TEST(FormatBytes, RoundsToOneDigit) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(1048576), "1 MiB");
  EXPECT_EQ(format_bytes(1048575), "1 MiB");
  EXPECT_EQ(format_bytes(UINT64_MAX), "16 EiB");
}

}  // namespace
}  // namespace lobit

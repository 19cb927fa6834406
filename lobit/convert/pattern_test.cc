#include "lobit/convert/pattern.h"

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"

namespace lobit {
namespace {

bool found(std::string_view pattern, std::string_view subject) {
  return Pattern::compile(pattern).value().found_in(subject).value();
}

TEST(Pattern, IsSearchedAnywhere) {
  EXPECT_TRUE(found("ffn_.*weight", "blk.0.ffn_up.weight"));
  EXPECT_TRUE(found("", "anything"));
  EXPECT_TRUE(found("^blk\\.(0|1)\\.", "blk.1.attn_q.weight"));
  EXPECT_FALSE(found("^blk\\.(0|1)\\.", "blk.2.attn_q.weight"));
  EXPECT_FALSE(found("FFN", "blk.0.ffn_up.weight"));
  EXPECT_TRUE(found("(?i)FFN", "blk.0.ffn_up.weight"));
  EXPECT_TRUE(found("a(?!b)", "abac"));
}

TEST(Pattern, NamesMayHoldAnyByte) {
  EXPECT_TRUE(found("x$", std::string_view("\0\xFFx", 3)));
  EXPECT_FALSE(found("y", std::string_view("\0\xFFx", 3)));
}

TEST(Pattern, AMistakeIsToldWithItsPlace) {
  const auto pattern = Pattern::compile("ab(c");
  ASSERT_THAT(pattern, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(pattern.error().detail.offset, 4u);
  EXPECT_NE(pattern.error().message.find("'ab(c'"), std::string::npos);
  EXPECT_THAT(Pattern::compile("[z-a]"), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(Pattern::compile("\\C"), fails_with(ErrorCode::kInvalidArgument));
}

TEST(Pattern, BacktrackingWithoutEndIsALimit) {
  const Pattern pattern = Pattern::compile("^(a+)+$").value();
  EXPECT_THAT(pattern.found_in(std::string(60, 'a') + "b"), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(pattern.found_in("aaa").value(), true);  // and it works again
  const Pattern deep = Pattern::compile("^(a|b(?1))*c$").value();
  const auto result = deep.found_in(std::string(100'000, 'b'));
  EXPECT_TRUE(!result || !*result);
}

TEST(Pattern, Moves) {
  Pattern a = Pattern::compile("x").value();
  Pattern b = Pattern::compile("y").value();
  b = std::move(a);
  EXPECT_EQ(b.found_in("x").value(), true);
  EXPECT_EQ(b.found_in("y").value(), false);
}

}  // namespace
}  // namespace lobit

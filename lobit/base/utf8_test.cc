#include "lobit/base/utf8.h"

#include <gtest/gtest.h>

namespace lobit {
namespace {

TEST(Utf8, EveryCodePointRoundTrips) {
  for (uint32_t code_point = 0; code_point < 0x110000; ++code_point) {
    if (code_point >= 0xD800 && code_point <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, code_point);
    const size_t bytes = code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    ASSERT_EQ(text.size(), bytes) << code_point;
    ASSERT_EQ(utf8_character_bytes(text + "x"), bytes) << code_point;
    ASSERT_EQ(utf8_valid_prefix(text.substr(0, bytes - 1)), 0u) << code_point;
  }
}

TEST(Utf8, RefusesWhatTheStandardForbids) {
  for (const char* text : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80",
                           "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
                           "\xC3(", "\xE2\x82(", "\xF0\x9F\x98("}) {
    EXPECT_EQ(utf8_character_bytes(text), 0u);
    EXPECT_EQ(utf8_valid_prefix(std::string("ab") + text), 2u);
  }
  EXPECT_EQ(utf8_character_bytes(""), 0u);
  EXPECT_EQ(utf8_valid_prefix("gr\xC3\xBC\xC3\x9F"), 6u);
}

TEST(Quoted, ShowsNamesOnOneShortLine) {
  EXPECT_EQ(quoted("blk.0.attn_q"), "'blk.0.attn_q'");
  EXPECT_EQ(quoted(""), "''");
  EXPECT_EQ(quoted(std::string_view("a\0\n\x7F\xFF\xC2\x85z", 8)), "'a\\x00\\x0a\\x7f\\xff\\xc2\\x85z'");
  EXPECT_EQ(quoted("gr\xC3\xBC\xC3\x9F"), "'gr\xC3\xBC\xC3\x9F'");
  EXPECT_EQ(quoted("abc\xC3\xBC", 5), "'abc...'");
  EXPECT_LE(quoted(std::string(1 << 20, '\n')).size(), 90u);
}

}  // namespace
}  // namespace lobit

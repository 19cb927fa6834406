#include "lobit/report/text.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "lobit/report/number.h"

namespace lobit {
namespace {

TEST(Printable, KeepsOrdinaryText) {
  EXPECT_EQ(printable("blk.0.attn_q.weight"), "blk.0.attn_q.weight");
  EXPECT_EQ(printable("größe 重み 🙂"), "größe 重み 🙂");
}

TEST(Printable, SpellsOutWhatActsOnATerminal) {
  EXPECT_EQ(printable("a\x1b[2Jb\n\r\t\x7f"), "a\\x1b[2Jb\\x0a\\x0d\\x09\\x7f");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(printable("\u009b1m"), "\\x9b1m");  // CSI in one character
}

TEST(Printable, SpellsOutWhatDeceivesReaders) {
  EXPECT_EQ(printable("a\u202eb"), "a\\u{202e}b");
  EXPECT_EQ(printable("a\u200bb\ufeff"), "a\\u{200b}b\\u{feff}");
  EXPECT_EQ(printable("\u2028"), "\\u{2028}");
}

TEST(Printable, SpellsOutBytesThatAreNotUtf8) {
  EXPECT_EQ(printable("\x80z"), "\\x80z");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
  EXPECT_EQ(printable("\xe0\x80\x80"), "\\xe0\\x80\\x80");           // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
  EXPECT_EQ(printable("ab\xe9\x87"), "ab\\xe9\\x87");                // cut off
}

TEST(DisplayWidth, CountsColumns) {
  EXPECT_EQ(display_width(""), 0u);
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("größe"), 5u);
  EXPECT_EQ(display_width("重み"), 4u);
  EXPECT_EQ(display_width("e\u0301"), 1u);
  EXPECT_EQ(display_width("🙂"), 2u);
}

TEST(ShortenMiddle, KeepsBothEnds) {
  EXPECT_EQ(shorten_middle("abcdef", 6), "abcdef");
  EXPECT_EQ(shorten_middle("abcdefg", 6), "ab…efg");
  EXPECT_EQ(shorten_middle("abcdefg", 5), "ab…fg");
  EXPECT_EQ(shorten_middle("abcdefg", 1), "…");
}

TEST(ShortenMiddle, NeverCutsACharacterOrExceedsTheWidth) {
  const std::string text = "重み重み重み重み";
  for (size_t width = 1; width <= 16; ++width) {
    const std::string shorter = shorten_middle(text, width);
    EXPECT_LE(display_width(shorter), width);
    EXPECT_EQ(printable(shorter), shorter) << width;
  }
  EXPECT_EQ(shorten_middle(text, 6), "重…み");
}

TEST(FormatCount, GroupsThousands) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1,000");
  EXPECT_EQ(format_count(482344960), "482,344,960");
  EXPECT_EQ(format_count(UINT64_MAX), "18,446,744,073,709,551,615");
}

TEST(FormatCounted, AgreesWithTheNumber) {
  EXPECT_EQ(format_counted(0, "tensor"), "0 tensors");
  EXPECT_EQ(format_counted(1, "tensor"), "1 tensor");
  EXPECT_EQ(format_counted(1200, "tensor"), "1,200 tensors");
}

TEST(FormatFixed, RoundsAndNamesTheRest) {
  EXPECT_EQ(format_fixed(2.0625, 2), "2.06");
  EXPECT_EQ(format_fixed(-0.001, 2), "0.00");
  EXPECT_EQ(format_fixed(-0.4, 0), "0");
  EXPECT_EQ(format_fixed(-1.5, 1), "-1.5");
  EXPECT_EQ(format_fixed(std::numeric_limits<double>::infinity(), 2), "∞");
  EXPECT_EQ(format_fixed(-std::numeric_limits<double>::infinity(), 2), "-∞");
  EXPECT_EQ(format_fixed(std::numeric_limits<double>::quiet_NaN(), 2), "NaN");
}

TEST(FormatShort, KeepsThreeDigits) {
  EXPECT_EQ(format_short(0.000123456), "0.000123");
  EXPECT_EQ(format_short(1.5e-9), "1.5e-09");
  EXPECT_EQ(format_short(0), "0");
}

TEST(FormatPercent, NeverHidesASmallPart) {
  EXPECT_EQ(format_percent(1, 8), "12.5 %");
  EXPECT_EQ(format_percent(8, 8), "100.0 %");
  EXPECT_EQ(format_percent(1, 1e6), "<0.1 %");
  EXPECT_EQ(format_percent(999999, 1e6), ">99.9 %");
  EXPECT_EQ(format_percent(0, 1e6), "0.0 %");
  EXPECT_EQ(format_percent(0, 0), "-");
}

TEST(FormatRate, UsesDecimalUnits) {
  EXPECT_EQ(format_rate(2.3e9, 1), "2.30 GB/s");
  EXPECT_EQ(format_rate(967e6, 0.5), "1.93 GB/s");
  EXPECT_EQ(format_rate(999.6e6, 1), "1.00 GB/s");
  EXPECT_EQ(format_rate(123.4e6, 1), "123 MB/s");
  EXPECT_EQ(format_rate(12.34e6, 1), "12.3 MB/s");
  EXPECT_EQ(format_rate(5, 1), "5 B/s");
  EXPECT_EQ(format_rate(5, 0), "-");
}

TEST(FormatNanoseconds, KeepsTwoDigitsOfShortTimes) {
  EXPECT_EQ(format_nanoseconds(0), "0 ns");
  EXPECT_EQ(format_nanoseconds(640), "640 ns");
  EXPECT_EQ(format_nanoseconds(999.6), "1.0 us");
  EXPECT_EQ(format_nanoseconds(1536), "1.5 us");
  EXPECT_EQ(format_nanoseconds(22000), "22 us");
  EXPECT_EQ(format_nanoseconds(999'600), "1.0 ms");
  EXPECT_EQ(format_nanoseconds(2'340'000), "2.3 ms");
  EXPECT_EQ(format_nanoseconds(-500'000'000), "-500 ms");
  EXPECT_EQ(format_nanoseconds(1.24e9), "1.2 s");
  EXPECT_EQ(format_nanoseconds(185e9), "3 min 05 s");
  EXPECT_EQ(format_nanoseconds(std::nan("")), "NaN s");
}

TEST(FormatDuration, ChangesTheUnitWithTheLength) {
  EXPECT_EQ(format_duration(0.0000012), "1 us");
  EXPECT_EQ(format_duration(0.42), "420 ms");
  EXPECT_EQ(format_duration(0.9996), "1.0 s");
  EXPECT_EQ(format_duration(1.24), "1.2 s");
  EXPECT_EQ(format_duration(59.96), "1 min 00 s");
  EXPECT_EQ(format_duration(185), "3 min 05 s");
  EXPECT_EQ(format_duration(7380), "2 h 03 min");
  EXPECT_EQ(format_duration(3599.7), "1 h 00 min");
}

}  // namespace
}  // namespace lobit

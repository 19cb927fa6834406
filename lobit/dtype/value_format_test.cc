#include "lobit/dtype/value_format.h"

#include <gtest/gtest.h>

#include "lobit/dtype/dtype.h"

namespace lobit {
namespace {

using enum Encoding;

TEST(DType, HasANameThatParses) {
  for (const DType dtype : kAllDTypes) {
    EXPECT_EQ(parse_dtype(dtype_name(dtype)), dtype);
    EXPECT_EQ(dtype_of(default_encoding(dtype)), dtype);
  }
  EXPECT_EQ(parse_dtype("BitNet158"), DType::kBitNet158);
  EXPECT_EQ(parse_dtype("q8_0"), std::nullopt);
  EXPECT_EQ(parse_dtype(""), std::nullopt);
}

TEST(DType, OfAnEncodingIsNothingWhereNoneStandsForIt) {
  EXPECT_EQ(dtype_of(kTQ1_0), DType::kBitNet158);
  EXPECT_EQ(dtype_of(kQ4_1), std::nullopt);
  EXPECT_EQ(dtype_of(kRawI8), std::nullopt);
}

TEST(ValueFormat, HasAName) {
  EXPECT_EQ(to_string(ValueFormat{kQ8_0}), "q8_0");
  EXPECT_EQ(to_string(ValueFormat{kQ8_0, ScaleGroup::kRow}), "i8 per row");
  EXPECT_EQ(to_string(ValueFormat{kQ4_0, ScaleGroup::k64}), "i4 per 64");
  EXPECT_EQ(to_string(ValueFormat{kTQ2_0, ScaleGroup::kTensor}), "bitnet158 per tensor");
}

TEST(ValueFormat, ExistsInPlanarFormForFiveEncodings) {
  int planar = 0;
  for (const EncodingTraits& t : all_encodings()) {
    EXPECT_TRUE(is_valid({t.encoding}));
    if (is_valid({t.encoding, ScaleGroup::kRow})) ++planar;
  }
  EXPECT_EQ(planar, 5);
  EXPECT_FALSE(is_valid({kTQ1_0, ScaleGroup::k32}));
  EXPECT_FALSE(is_valid({static_cast<Encoding>(200)}));
  EXPECT_FALSE(is_valid({kQ8_0, static_cast<ScaleGroup>(9)}));
}

TEST(FormatLayout, OfPlanarFormats) {
  // Three rows of seven: 4 bytes of I4 codes each, 12 in all, then scales.
  const FormatLayout row = *format_layout({kQ4_0, ScaleGroup::kRow}, 3, 7);
  EXPECT_EQ(row, (FormatLayout{.row_bytes = 4,
                               .row_scales = 1,
                               .scale_offset = 12,
                               .scale_count = 3,
                               .scale_bytes = 12,
                               .bytes = 24}));
  // Two bytes of ternary codes each; six are filled up to eight.
  const FormatLayout tensor = *format_layout({kTQ2_0, ScaleGroup::kTensor}, 3, 7);
  EXPECT_EQ(tensor, (FormatLayout{
                        .row_bytes = 2, .scale_offset = 8, .scale_count = 1, .scale_bytes = 4, .bytes = 12}));
  // 100 values in groups of 32: the fourth has four.
  const FormatLayout groups = *format_layout({kQ1_0, ScaleGroup::k32}, 2, 100);
  EXPECT_EQ(groups, (FormatLayout{.row_bytes = 13,
                                  .row_scales = 4,
                                  .scale_offset = 28,
                                  .scale_count = 8,
                                  .scale_bytes = 32,
                                  .bytes = 60}));
}

// What the ternary dtype of four codes in a byte takes, and the packing at five in a byte.
TEST(FormatLayout, PayloadOfTernaryIsAQuarterOfTheValues) {
  for (uint64_t n = 1; n <= 257; ++n) {
    const FormatLayout layout = *format_layout({kTQ2_0, ScaleGroup::kTensor}, 1, n);
    EXPECT_EQ(layout.row_bytes, (n + 3) / 4);
    EXPECT_EQ(layout.bytes - layout.scale_offset, 4u);
  }
  // The densest block: 256 values in 54 bytes are 18.96 times less than F32, scale included.
  EXPECT_LE(256.0 * 4 / traits(kTQ1_0).block_bytes, 20.19);
}

TEST(FormatLayout, OfBlocksCountsTheirScales) {
  const FormatLayout q8 = *format_layout({kQ8_0}, 4, 64);
  EXPECT_EQ(q8, (FormatLayout{.row_bytes = 68, .scale_offset = 272, .scale_bytes = 16, .bytes = 272}));
  EXPECT_EQ(format_layout({kF16}, 4, 7)->bytes, 56u);
  EXPECT_EQ(format_layout({kF16}, 4, 7)->scale_bytes, 0u);
}

// The part of a block that is not scales is what its codes need.
TEST(FormatLayout, LeavesTheBitsOfTheCodes) {
  const auto code_bits = [](Encoding e) {
    return 8.0 * (traits(e).block_bytes - block_scale_bytes(e)) / traits(e).block_elements;
  };
  EXPECT_EQ(code_bits(kQ8_0), 8.0);
  EXPECT_EQ(code_bits(kQ4_1), 4.0);
  EXPECT_EQ(code_bits(kQ5_0), 5.0);
  EXPECT_EQ(code_bits(kQ1_0), 1.0);
  EXPECT_EQ(code_bits(kTQ2_0), 2.0);
  EXPECT_EQ(code_bits(kTQ1_0), 1.625);
  EXPECT_EQ(code_bits(kQ2_K), 2.0);
  EXPECT_EQ(code_bits(kQ3_K), 3.0);
  EXPECT_EQ(code_bits(kQ4_K), 4.0);
  EXPECT_EQ(code_bits(kQ5_K), 5.0);
  EXPECT_EQ(code_bits(kQ6_K), 6.0);
  EXPECT_EQ(code_bits(kQ8_K), 8.0);
}

TEST(FormatLayout, OfNothingIsNothing) {
  for (const ScaleGroup scales : {ScaleGroup::kRow, ScaleGroup::kTensor, ScaleGroup::k128}) {
    EXPECT_EQ(format_layout({kQ2_0, scales}, 0, 5), FormatLayout{});
    EXPECT_EQ(format_layout({kQ2_0, scales}, 5, 0), FormatLayout{});
  }
  EXPECT_EQ(format_layout({kQ8_0}, 0, 5), FormatLayout{});
}

TEST(FormatLayout, RefusesWhatDoesNotFit) {
  EXPECT_EQ(format_layout({kQ8_0}, 1, 33), std::nullopt);
  EXPECT_EQ(format_layout({kTQ1_0, ScaleGroup::kRow}, 1, 256), std::nullopt);
  const uint64_t big = uint64_t{1} << 62;
  EXPECT_EQ(format_layout({kF32}, 1, big), std::nullopt);
  EXPECT_EQ(format_layout({kF16}, big, 4), std::nullopt);
  EXPECT_EQ(format_layout({kQ8_0, ScaleGroup::kRow}, big, 1), std::nullopt);
  EXPECT_EQ(format_layout({kQ1_0, ScaleGroup::kTensor}, 1, UINT64_MAX), std::nullopt);
  EXPECT_EQ(format_layout({kQ1_0, ScaleGroup::k32}, UINT64_MAX, 1), std::nullopt);
}

TEST(ValueFormat, IsReadFromItsOwnTextAlone) {
  size_t formats = 0;
  for (const EncodingTraits& t : all_encodings()) {
    for (int scales = 0; scales < 8; ++scales) {
      const ValueFormat format{t.encoding, static_cast<ScaleGroup>(scales)};
      if (!is_valid(format)) continue;
      ++formats;
      EXPECT_EQ(parse_value_format(to_string(format)), format) << to_string(format);
    }
  }
  EXPECT_EQ(formats, static_cast<size_t>(kEncodingCount) + 5 * 6);
  for (const char* text : {"", "no format", "i8", "Q8_0", "q8_0 ", "i8 per", "i8 per 16", "tq1_0 per row"}) {
    EXPECT_EQ(parse_value_format(text), std::nullopt) << text;
  }
}

TEST(ValueFormat, SaysWhereRowsMayBeCut) {
  EXPECT_EQ(border_elements({kF32}), 1u);
  EXPECT_EQ(border_elements({kQ8_0}), 32u);
  EXPECT_EQ(border_elements({kQ8_0, ScaleGroup::kRow}), 1u);
  EXPECT_EQ(border_elements({kQ4_0, ScaleGroup::kTensor}), 2u);
  EXPECT_EQ(border_elements({kQ1_0, ScaleGroup::kRow}), 8u);
  EXPECT_EQ(border_elements({kTQ2_0, ScaleGroup::k128}), 128u);
}

}  // namespace
}  // namespace lobit

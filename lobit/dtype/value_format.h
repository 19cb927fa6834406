// ValueFormat: how all values of a tensor lie in memory. Most tensors are in a block encoding (or plain
// numbers), whose scales lie between the codes. The planar formats keep codes and scales apart, so that
// values whose rows do not divide by a block can be stored, and so that one scale can serve a row or the
// whole tensor, as NumPy programs do it.
//
// A planar tensor of R rows of C values is
//   1. R rows of packed codes, each from a byte border on, ceil(C * bits / 8) bytes long; what is left of a
//      row's last byte is 0;
//   2. zeros up to the next multiple of 4 bytes;
//   3. the scales, F32, little endian: one for each group of each row, one for each row, or one in all. The
//      last group of a row may be short. A tensor without values has no scales.
// Codes of a value q * scale, first value in the lowest bits:
//   I8 (kQ8_0)          8 bits: q, -127..127
//   I4 (kQ4_0)          4 bits: q + 8, q = -8..7
//   I2 (kQ2_0)          2 bits: q + 1, q = -1..2
//   I1 (kQ1_0)          1 bit: 1 for q = +1, 0 for q = -1
//   BitNet158 (kTQ2_0)  2 bits: q + 1, q = -1..1; 3 means nothing
//
// Plain values and pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/dtype/encoding.h"

namespace lobit {

// Which values share a scale.
enum class ScaleGroup : uint8_t {
  kBlock,  // as the encoding itself says: those of a block, or none
  // Planar:
  kRow,     // those of a row
  kTensor,  // all
  k32,      // so many neighbours of a row
  k64,
  k128,
  k256,
};

struct ValueFormat {
  Encoding encoding = Encoding::kF32;
  ScaleGroup scales = ScaleGroup::kBlock;

  bool is_planar() const { return scales != ScaleGroup::kBlock; }
  friend bool operator==(const ValueFormat&, const ValueFormat&) = default;
};

// "q8_0", "f16", "i8 per row", "i4 per 64", "bitnet158 per tensor"; "no format" for numbers that are none.
LOBIT_API std::string to_string(ValueFormat format);
// The format of which to_string() says just this; nothing for other text.
LOBIT_API std::optional<ValueFormat> parse_value_format(std::string_view text);

// Bits of a planar code; 0 for encodings that have no planar form.
LOBIT_API uint32_t planar_bits(Encoding encoding);

// Whether the format exists: every encoding with kBlock, the five with a planar form with every group.
LOBIT_API bool is_valid(ValueFormat format);

// Values of a group: 32 for k32, ..., the columns for kRow; for kTensor `elements`.
LOBIT_API uint64_t group_elements(ScaleGroup scales, uint64_t columns, uint64_t elements);

// A row may be cut where the number of values before the cut is a multiple of this: 1 for plain numbers, the
// block, the group of 32 to 256, and for planar formats without such groups the values of a byte. Of a format
// that is_valid().
LOBIT_API uint32_t border_elements(ValueFormat format);

// Bytes that a block spends on scales, minima and sums; 0 for plain numbers and for encodings that lobit only
// lists and copies.
LOBIT_API uint32_t block_scale_bytes(Encoding encoding);

// Where the parts of `rows` * `columns` values lie.
struct FormatLayout {
  uint64_t row_bytes = 0;     // from one row of codes (or blocks, or numbers) to the next
  uint64_t row_scales = 0;    // F32 scales of a row; 0 when there are none or one in all
  uint64_t scale_offset = 0;  // of the F32 scales from the first byte on
  uint64_t scale_count = 0;   // F32 scales in all; 0 for formats that are not planar
  uint64_t scale_bytes = 0;   // of all scales, those within blocks included
  uint64_t bytes = 0;         // all

  friend bool operator==(const FormatLayout&, const FormatLayout&) = default;
};

// Nothing when the format is not valid, when there are values and a row does not fill whole blocks, or when
// the bytes do not fit 63 bits.
LOBIT_API std::optional<FormatLayout> format_layout(ValueFormat format, uint64_t rows, uint64_t columns);

}  // namespace lobit

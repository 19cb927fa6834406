// Blocks put together from scales and integer codes, for whatever chooses those by another rule than the
// direct one of reference.h. Pure functions, safe from any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "lobit/base/export.h"
#include "lobit/dtype/encoding.h"

namespace lobit {

// The codes of an encoding whose values are scale * code: Q8_0 -127 to 127, Q4_0 -8 to 7, Q5_0 -16 to 15,
// Q2_0 -1 to 2, TQ2_0 and TQ1_0 -1 to 1. (A Q8_0 block can hold -128, which no encoder writes.)
struct CodeRange {
  int low;
  int high;

  bool is_symmetric() const { return low == -high; }
};

// Nothing for encodings with a minimum (Q4_1, Q5_1), without a zero (Q1_0), without blocks, and for those
// that lobit does not write.
LOBIT_API std::optional<CodeRange> code_range(Encoding encoding);

// One block of `to`, which has a code_range() that all `codes` (one for each value) lie in. `scale` is an
// F16; `block` may lie at any address.
LOBIT_API void store_block(Encoding to, uint16_t scale, const int8_t* codes, void* block);

// The highest code of an encoding whose values are scale * code + minimum, with codes from 0: 15 in Q4_1, 31
// in Q5_1. Nothing for every other encoding.
LOBIT_API std::optional<int> affine_top_code(Encoding encoding);

// One block of `to`, which has an affine_top_code() that no code (one for each value) is above. `scale` and
// `minimum` are F16; `block` may lie at any address.
LOBIT_API void store_affine_block(Encoding to, uint16_t scale, uint16_t minimum, const uint8_t* codes,
                                  void* block);

}  // namespace lobit

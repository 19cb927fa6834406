// Random bits by counter (Philox4x32-10; Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2,
// 3", 2011): any part of a stream can be made at once, on any thread, with the same bits at every SIMD level.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "lobit/base/export.h"

namespace lobit::kernels {

// One block: four random words from a counter and a key.
LOBIT_API std::array<uint32_t, 4> philox4x32(const std::array<uint32_t, 4>& counter,
                                             const std::array<uint32_t, 2>& key);

// out[i] = table[w] where w is 16-bit word first + i of the stream: block (first + i) / 8 has counter {low, high
// half of the block's number, low, high half of `stream`}, key {low, high half of `seed`}, and its words in order,
// low half first. `table` has 65,536 entries.
LOBIT_API void fill_from_table(uint64_t seed, uint64_t stream, uint64_t first, const uint16_t* table, uint16_t* out,
                               size_t n);

}  // namespace lobit::kernels

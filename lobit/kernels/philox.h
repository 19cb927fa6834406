// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"): random bits as a function of
// a counter. Any part of a stream can be made on its own, so that generated data does not depend on threads,
// pieces or the machine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "lobit/base/export.h"

namespace lobit::kernels {

using PhiloxBlock = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

// 128 random bits.
constexpr PhiloxBlock philox4x32(PhiloxBlock counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

// out[i] = table65536[word], where word is 16-bit word `first_index` + i of the stream. Block b of a stream
// has the counter {b, stream}, the key is the seed (each 64 bits, low word first), and gives words 8b to 8b +
// 7, the low half of each 32 bits first. Indices wrap at 2^64. The result is the same at every SIMD level.
LOBIT_API void fill_from_table(uint64_t seed, uint64_t stream, uint64_t first_index,
                               const uint16_t* table65536, uint16_t* out, size_t n);

}  // namespace lobit::kernels

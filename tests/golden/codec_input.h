// The input of the golden hashes of codecs: a pure function of the group's or block's number, made of integer
// arithmetic alone, so that every machine and compiler makes the same bits.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "lobit/dtype/block.h"
#include "lobit/dtype/encoding.h"

namespace lobit::golden {

// splitmix64: a sequence of well-mixed words from any seed.
class Words {
 public:
  explicit Words(uint64_t seed) : state_(seed * 0xD1342543DE82EF95u) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  // 0 to n - 1.
  int below(int n) { return static_cast<int>((next() >> 32) * static_cast<uint64_t>(n) >> 32); }

 private:
  uint64_t state_;
};

// 2^exponent, for exponents of normal numbers.
inline float power_of_two(int exponent) {
  return std::bit_cast<float>(static_cast<uint32_t>(exponent + 127) << 23);
}

// Sign and mantissa at random, magnitude in [2^exponent, 2^(exponent + 1)).
inline float random_float(Words& words, int exponent) {
  const auto word = static_cast<uint32_t>(words.next());
  return std::bit_cast<float>((word & 0x807FFFFFu) | static_cast<uint32_t>(exponent + 127) << 23);
}

inline float signed_zero(Words& words) {
  return words.below(2) == 0 ? 0.0f : -0.0f;
}

// Multiples of half a step, the step a power of two and the range a whole number of steps, so that scaled
// values are exact and half of them are ties; now and then one unit in the last place beside the tie.
inline void fill_with_ties(Words& words, std::span<float> values) {
  constexpr int kSteps[] = {1, 8, 15, 16, 31, 127};
  const int steps = kSteps[words.below(6)];
  const bool centred = steps != 15 && steps != 31;
  const int lowest = centred ? -2 * steps : 2 * words.below(40) - 40;
  const float half_step = power_of_two(words.below(20) - 16);
  for (float& v : values) {
    v = static_cast<float>(lowest + words.below((centred ? 4 : 2) * steps + 1)) * half_step;
    const int nudge = words.below(16);
    if (nudge < 2 && v != 0.0f)
      v = std::bit_cast<float>(std::bit_cast<uint32_t>(v) + (nudge == 0 ? 1u : ~0u));
  }
  const size_t at = static_cast<size_t>(words.below(static_cast<int>(values.size())));
  const bool negative_peak = words.below(2) == 0;
  values[at] = static_cast<float>(lowest) * (centred && !negative_peak ? -half_step : half_step);
  const size_t other = (at + 1) % values.size();
  if (!centred) values[other] = static_cast<float>(lowest + 2 * steps) * half_step;
}

// Roughly bell-shaped values of one magnitude, as weights are.
inline void fill_like_weights(Words& words, std::span<float> values) {
  const float unit = power_of_two(words.below(24) - 40);
  for (float& v : values) {
    int sum = -4 * 32768;
    for (int i = 0; i < 4; ++i) sum += words.below(65536);
    v = static_cast<float>(sum) * unit;
  }
}

// Neighbours of one value, so that the extent is a few units in its last place.
inline void fill_with_neighbours(Words& words, std::span<float> values) {
  const auto base = std::bit_cast<uint32_t>(random_float(words, words.below(20) - 10));
  for (float& v : values) v = std::bit_cast<float>(base + static_cast<uint32_t>(words.below(4)));
}

// The values of group `index`. Magnitudes are 0 or 1e-30 to 65504, so every scale fits F16 and no group is
// flushed.
inline void fill_group(uint64_t index, std::span<float> values) {
  Words words(index);
  const int exponent = words.below(110) - 99;
  const float one = random_float(words, exponent);
  const int kind = words.below(12);
  if (kind < 3) return fill_with_ties(words, values);
  if (kind < 5) return fill_like_weights(words, values);
  if (kind == 5) return fill_with_neighbours(words, values);
  for (float& v : values) {
    switch (kind) {
      case 6:  // one magnitude, 2^-99 to 2^11
        v = random_float(words, exponent);
        break;
      case 7:  // many magnitudes
        v = random_float(words, words.below(50) - 40);
        break;
      case 8:  // ternary
        v = one * static_cast<float>(words.below(3) - 1);
        break;
      case 9:  // zeros of both signs, sometimes with a few other values
        v = exponent % 2 == 0 && words.below(16) == 0 ? random_float(words, exponent) : signed_zero(words);
        break;
      case 10:  // constant
        v = one;
        break;
      default:  // the top of F16
        v = static_cast<float>(words.below(2 * 65504 + 1) - 65504);
        break;
    }
  }
}

// Makes the F16 bits of a scale finite.
inline uint16_t finite_half(uint16_t bits) {
  return (bits & 0x7C00u) == 0x7C00u ? static_cast<uint16_t>(bits & ~0x4000u) : bits;
}

template <typename Block>
void fill_random_block(uint64_t index, std::byte* out) {
  Words words(index ^ uint64_t{sizeof(Block)} << 40);
  std::byte bytes[sizeof(Block)];
  for (std::byte& b : bytes) b = static_cast<std::byte>(words.next() >> 56);
  Block block;
  std::memcpy(&block, bytes, sizeof block);
  if constexpr (sizeof(block.d) == sizeof(float)) {
    block.d = random_float(words, words.below(60) - 40);
  } else {
    block.d = finite_half(block.d);
  }
  if constexpr (requires { block.m; }) block.m = finite_half(block.m);
  if constexpr (requires { block.dmin; }) block.dmin = finite_half(block.dmin);
  std::memcpy(out, &block, sizeof block);
}

// Any bytes with finite scales: block `index` of an encoding that can_decode and is_block.
inline void fill_block(Encoding encoding, uint64_t index, std::byte* out) {
  switch (encoding) {
    case Encoding::kQ8_0:
      return fill_random_block<BlockQ8_0>(index, out);
    case Encoding::kQ4_0:
      return fill_random_block<BlockQ4_0>(index, out);
    case Encoding::kQ4_1:
      return fill_random_block<BlockQ4_1>(index, out);
    case Encoding::kQ5_0:
      return fill_random_block<BlockQ5_0>(index, out);
    case Encoding::kQ5_1:
      return fill_random_block<BlockQ5_1>(index, out);
    case Encoding::kQ2_0:
      return fill_random_block<BlockQ2_0>(index, out);
    case Encoding::kQ1_0:
      return fill_random_block<BlockQ1_0>(index, out);
    case Encoding::kTQ2_0:
      return fill_random_block<BlockTQ2_0>(index, out);
    case Encoding::kTQ1_0:
      return fill_random_block<BlockTQ1_0>(index, out);
    case Encoding::kQ2_K:
      return fill_random_block<BlockQ2_K>(index, out);
    case Encoding::kQ3_K:
      return fill_random_block<BlockQ3_K>(index, out);
    case Encoding::kQ4_K:
      return fill_random_block<BlockQ4_K>(index, out);
    case Encoding::kQ5_K:
      return fill_random_block<BlockQ5_K>(index, out);
    case Encoding::kQ6_K:
      return fill_random_block<BlockQ6_K>(index, out);
    case Encoding::kQ8_K:
      return fill_random_block<BlockQ8_K>(index, out);
    default:
      return;
  }
}

}  // namespace lobit::golden

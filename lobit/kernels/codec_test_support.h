// What the tests of the codec kernels share: values of every distribution, every SIMD level, guarded buffers.
// Not installed.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/dtype/encoding.h"
#include "lobit/kernels/simd.h"

namespace lobit::kernels {

using Floats = std::vector<float>;
using ByteVector = std::vector<uint8_t>;

inline constexpr size_t kGuard = 64;
inline constexpr uint8_t kGuardByte = 0xFF;  // 0xFFFFFFFF is a NaN, so a float that was not written shows

// Sets a level for a scope.
class AtLevel {
 public:
  explicit AtLevel(SimdLevel level) : before_(simd_level()) { EXPECT_TRUE(set_simd_level(level)); }
  ~AtLevel() { set_simd_level(before_); }
  AtLevel(const AtLevel&) = delete;
  AtLevel& operator=(const AtLevel&) = delete;

 private:
  SimdLevel before_;
};

inline size_t bytes_of(Encoding encoding, size_t count) {
  return static_cast<size_t>(encoded_bytes(encoding, count).value());
}

// A buffer with guard bytes on both sides and a start that is aligned to nothing.
struct Guarded {
  ByteVector memory;
  size_t size;
  explicit Guarded(size_t bytes) : memory(2 * kGuard + 1 + bytes, kGuardByte), size(bytes) {}
  explicit Guarded(const ByteVector& content) : Guarded(content.size()) {
    std::ranges::copy(content, data());
  }
  uint8_t* data() { return memory.data() + kGuard + 1; }
  bool intact() const {
    const auto is_guard = [](uint8_t b) { return b == kGuardByte; };
    return std::all_of(memory.begin(), memory.begin() + kGuard + 1, is_guard) &&
           std::all_of(memory.end() - kGuard, memory.end(), is_guard);
  }
};

inline float from_bits(uint32_t bits) {
  return std::bit_cast<float>(bits);
}

using Random = std::mt19937;

// One value of each distribution that weights, activations and bugs have.
using Draw = float (*)(Random&);
inline float uniform(Random& random) {
  return static_cast<float>(random()) * 0x1p-31f - 1.0f;
}
inline float normal(Random& random) {
  float sum = 0.0f;
  for (int i = 0; i < 6; ++i) sum += uniform(random);
  return sum * 0.02f;
}
inline float ternary(Random& random) {
  return static_cast<float>(static_cast<int>(random() % 3) - 1) * 0.037f;
}
inline float sparse(Random& random) {
  return random() % 16 == 0 ? normal(random) : (random() % 2 == 0 ? 0.0f : -0.0f);
}
inline float rectified(Random& random) {  // a minimum of zero, with either sign
  const float v = normal(random);
  return v > 0.0f ? v : (random() % 2 == 0 ? 0.0f : -0.0f);
}
inline float coarse(Random& random) {  // few values, so that extremes tie
  return static_cast<float>(static_cast<int>(random() % 9) - 4) * 0.25f;
}
inline float positive(Random& random) {
  return 3.0f + uniform(random);
}
inline float near_f16_limit(Random& random) {
  return uniform(random) * 70000.0f;
}
inline float near_scale_limit(Random& random) {  // scales of Q8_0 around 65504
  return uniform(random) * 8.33e6f;
}
inline float huge(Random& random) {
  return uniform(random) * 3.4e38f;
}
inline float tiny(Random& random) {  // extremes on both sides of kTinyGroup
  return uniform(random) * 1.05e-36f;
}
inline float subnormal(Random& random) {
  return from_bits(static_cast<uint32_t>(random()) & 0x807FFFFFu);
}
inline float any_finite(Random& random) {
  const uint32_t bits = static_cast<uint32_t>(random());
  return (bits & 0x7F800000u) == 0x7F800000u ? 0.0f : from_bits(bits);
}
inline constexpr Draw kDraws[] = {uniform, normal,    ternary,        sparse,           rectified,
                                  coarse,  positive,  near_f16_limit, near_scale_limit, huge,
                                  tiny,    subnormal, any_finite};

inline Floats draw(Draw next, size_t count, uint32_t seed) {
  Random random(seed);
  Floats values(count);
  for (float& v : values) v = next(random);
  return values;
}

}  // namespace lobit::kernels

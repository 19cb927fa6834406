#include "bench/kernels/inputs.h"

#include <algorithm>
#include <cstring>

#include "lobit/dtype/reference.h"

namespace lobit::bench {
namespace {

// SplitMix64: a counter through a mixing function.
uint64_t random_word(uint64_t index) {
  uint64_t z = (index + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

float heavy_tailed_value(uint64_t index) {
  const uint64_t word = random_word(2 * index);
  // The sum of four uniform 16-bit numbers: mean 131070, standard deviation 37837.
  const auto sum =
      static_cast<int32_t>((word & 0xFFFF) + (word >> 16 & 0xFFFF) + (word >> 32 & 0xFFFF) + (word >> 48));
  float value = static_cast<float>(sum - 131070) * (0.02f / 37837.0f);
  const uint64_t tail = random_word(2 * index + 1);
  // Lower bits of the word blur the grid of sums, so that ties are as rare as in real weights.
  value += static_cast<float>(tail >> 40) * 0x1p-45f;
  if (tail % 512 == 0) value *= static_cast<float>(2 + (tail >> 16) % 15);
  return value;
}

}  // namespace

std::vector<float> heavy_tailed(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = heavy_tailed_value(i);
  return values;
}

void repeat(std::vector<uint8_t>& bytes, size_t period) {
  for (size_t done = period; done < bytes.size();) {
    const size_t step = std::min(done, bytes.size() - done);
    std::memcpy(bytes.data() + done, bytes.data(), step);
    done += step;
  }
}

void fill_blocks(Encoding encoding, const std::vector<float>& values, std::vector<uint8_t>& bytes) {
  const EncodingTraits& to = traits(encoding);
  const size_t blocks = std::min(values.size() / to.block_elements, bytes.size() / to.block_bytes);
  const size_t period = blocks * to.block_bytes;
  if (encoding == Encoding::kF32) {
    std::memcpy(bytes.data(), values.data(), period);
  } else if (to.can_encode) {
    reference::encode(encoding, values.data(), bytes.data(), blocks * to.block_elements);
  } else {
    for (size_t i = 0; i < period; ++i) bytes[i] = static_cast<uint8_t>(random_word(i) & 0x3F);
  }
  repeat(bytes, period);
}

}  // namespace lobit::bench

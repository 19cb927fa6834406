// Decoders and encoders at every SIMD level must give what the reference gives and stay within their buffers.
// The input: what the blocks are, what their values are encoded to, where buffers begin, then the blocks.
// Every buffer is a heap block of its exact size, so that the address sanitizer sees a byte too many.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "lobit/base/check.h"
#include "lobit/base/fp_env.h"
#include "lobit/dtype/reference.h"
#include "lobit/kernels/codec.h"
#include "lobit/kernels/simd.h"

namespace {

using namespace lobit;  // NOLINT(google-build-using-namespace): a program of its own

// Bytes that end where their heap block ends and begin `shift` bytes after an aligned address.
class Bytes {
 public:
  Bytes(size_t size, size_t shift) : memory_(shift + size, uint8_t{0xA5}), shift_(shift) {}
  Bytes(std::span<const uint8_t> content, size_t shift) : Bytes(content.size(), shift) {
    std::ranges::copy(content, memory_.begin() + static_cast<ptrdiff_t>(shift));
  }
  uint8_t* data() { return memory_.data() + shift_; }
  // Kernels take floats at any address.
  float* floats() { return reinterpret_cast<float*>(data()); }
  size_t size() const { return memory_.size() - shift_; }
  bool operator==(const Bytes& other) const { return memory_ == other.memory_; }

 private:
  std::vector<uint8_t> memory_;
  size_t shift_;
};

// The same bits, or both NaN: which NaN comes out of a scale that is none is not defined.
bool same_values(Bytes& a, Bytes& b) {
  for (size_t at = 0; at < a.size(); at += sizeof(float)) {
    float x;
    float y;
    std::memcpy(&x, a.data() + at, sizeof x);
    std::memcpy(&y, b.data() + at, sizeof y);
    if (std::memcmp(&x, &y, sizeof x) != 0 && !(std::isnan(x) && std::isnan(y))) return false;
  }
  return true;
}

// Values of the blocks, found equal at every level.
Bytes decode(Encoding from, Bytes& blocks, size_t count, size_t shift) {
  Bytes expected(count * sizeof(float), shift);
  reference::decode(from, blocks.data(), expected.floats(), count);
  for (const SimdLevel level : simd_levels()) {
    LOBIT_CHECK(set_simd_level(level));
    const kernels::DecodeFn kernel = kernels::decoder(from);
    if (kernel == nullptr) continue;  // F32
    Bytes values(count * sizeof(float), shift);
    kernel(blocks.data(), values.floats(), count);
    LOBIT_CHECK(same_values(values, expected));
  }
  const size_t block_count = count / traits(from).block_elements;
  LOBIT_CHECK(reference::first_invalid_block(from, blocks.data(), block_count) <= block_count);
  return expected;
}

// `source` holds `count` values in `from`, which `values` are in F32.
void encode(Encoding from, Encoding to, Bytes& source, Bytes& values, size_t count, size_t shift) {
  const auto bytes = static_cast<size_t>(encoded_bytes(to, count).value());
  Bytes expected(bytes, shift);
  const EncodeCounts counts = reference::encode(to, values.floats(), expected.data(), count);
  for (const SimdLevel level : simd_levels()) {
    LOBIT_CHECK(set_simd_level(level));
    const kernels::EncodeFn kernel = kernels::encoder(from, to);
    LOBIT_CHECK(kernel != nullptr);
    Bytes blocks(bytes, shift);
    const EncodeCounts got = kernel(source.data(), blocks.data(), count);
    LOBIT_CHECK(got.unrepresentable == counts.unrepresentable && got.flushed == counts.flushed);
    LOBIT_CHECK(blocks == expected);
  }
}

// The encodings that `chosen` says yes to; `index` wraps.
Encoding pick(bool EncodingTraits::* chosen, uint8_t index) {
  std::vector<Encoding> encodings;
  for (const EncodingTraits& t : all_encodings()) {
    if (t.*chosen) encodings.push_back(t.encoding);
  }
  return encodings[index % encodings.size()];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kParameters = 3;
  if (size < kParameters) return 0;
  const ScopedFpEnv fp_env;
  const Encoding from = pick(&EncodingTraits::can_decode, data[0]);
  const Encoding to = pick(&EncodingTraits::can_encode, data[1]);
  const size_t shift = data[2] % 16;

  const EncodingTraits& f = traits(from);
  const size_t block_count = (size - kParameters) / f.block_bytes;
  const size_t count = block_count * f.block_elements;
  if (count == 0) return 0;
  Bytes blocks(std::span(data + kParameters, block_count * f.block_bytes), shift);
  const Bytes decoded = decode(from, blocks, count, shift);

  const size_t group = traits(to).block_elements;
  const size_t whole = count / group * group;
  if (whole == 0 || to == Encoding::kF32) return 0;
  Bytes copy = decoded;
  Bytes values(std::span(copy.data(), whole * sizeof(float)), shift);
  encode(Encoding::kF32, to, values, values, whole, shift);
  if (from != to && (from == Encoding::kF16 || from == Encoding::kBF16)) {
    Bytes source(std::span(blocks.data(), whole * f.block_bytes), shift);
    encode(from, to, source, values, whole, shift);
  }
  return 0;
}

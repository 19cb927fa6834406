// Recoder: turns a run of values from one encoding into another, through a fused kernel where there is one
// and through an F32 tile that stays in the first-level cache where there is none. The one place where
// encodings meet; stateless but for its tile, one per worker.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "lobit/base/result.h"
#include "lobit/dtype/encoding.h"
#include "lobit/dtype/reference.h"
#include "lobit/kernels/codec.h"
#include "lobit/quant/quantize_method.h"

namespace lobit {

struct RecodeSpec {
  Encoding from = Encoding::kF32;
  Encoding to = Encoding::kF32;
  // Set for BitNet's ternary rule: codes are clip(round(w / gamma), -1, 1), scales gamma.
  std::optional<float> gamma = {};
  bool saturate = false;
  QuantizeMethod method = QuantizeMethod::kDirect;  // one that quantizer() has for `to`; not used with gamma
};

struct RecodeCounts {
  EncodeCounts encode;
  uint64_t saturated = 0;

  RecodeCounts& operator+=(const RecodeCounts& other) {
    encode += other.encode;
    saturated += other.saturated;
    return *this;
  }
};

class Recoder {
 public:
  // Values in a tile: a multiple of every block.
  static constexpr size_t kTileElements = 4096;
  static constexpr size_t kTileBytes = kTileElements * sizeof(float);

  // `tile` holds kTileBytes, aligned for float, and outlives the object.
  explicit Recoder(std::span<std::byte> tile);

  // source -> target, `count` values, a multiple of both encodings' blocks. Both encodings are ones that
  // lobit converts between, and differ.
  RecodeCounts run(const RecodeSpec& spec, const std::byte* source, std::byte* target, size_t count);

  // The first value of source[count] (an index) that run() counted as unrepresentable, and the value itself.
  struct Offender {
    size_t index = 0;
    float value = 0;
  };
  std::optional<Offender> find_unrepresentable(const RecodeSpec& spec, const std::byte* source, size_t count);

 private:
  RecodeCounts run_tiles(const RecodeSpec& spec, const std::byte* source, std::byte* target, size_t count);
  float* tile_;
};

// Decodes source[count] tile by tile and calls use(values, first, n) for each. `tile` has room for
// Recoder::kTileElements. For an encoding that can_decode.
template <typename Use>
void for_each_tile(Encoding from, const std::byte* source, size_t count, float* tile, Use use) {
  const EncodingTraits& t = traits(from);
  const kernels::DecodeFn decode = kernels::decoder(from);
  for (size_t first = 0; first < count; first += Recoder::kTileElements) {
    const size_t n = std::min(Recoder::kTileElements, count - first);
    const std::byte* at = source + first / t.block_elements * t.block_bytes;
    if (decode != nullptr) {
      decode(at, tile, n);
    } else {
      std::memcpy(tile, at, n * sizeof(float));  // F32
    }
    use(tile, first, n);
  }
}

}  // namespace lobit

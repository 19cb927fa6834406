// Products of weight rows with a few rows of F32 activations. F32, F16 and BF16 are multiplied as they are
// read; blocks are decoded a tile at a time, which stays in the first cache.
#include <cstddef>

#include "lobit/kernels/codec.h"
#include "lobit/kernels/cpu/matmul_functions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/row_products.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/row_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

// How far ahead of the four streams lines are asked for.
constexpr size_t kAheadBytes = 1024;

// The sums of one tile of results, a vector for each until the end.
template <size_t kRows, size_t kActivations>
struct Sums {
  VF lanes[kRows][kActivations];

  HWY_INLINE Sums() {
    HWY_UNROLL(4)
    for (size_t r = 0; r < kRows; ++r) {
      HWY_UNROLL(4)
      for (size_t a = 0; a < kActivations; ++a) lanes[r][a] = hn::Zero(DF());
    }
  }

  // Adds the products of weights[r] and the activations from `first` on: `count` of them, whole vectors.
  template <Encoding kFrom>
  HWY_INLINE void add(const uint8_t* const* weights, const RowPass<kRows>& pass, size_t first, size_t count) {
    for (size_t k = 0; k < count; k += kLanes) {
      VF values[kActivations];
      HWY_UNROLL(4)
      for (size_t a = 0; a < kActivations; ++a) {
        values[a] = load_values<Encoding::kF32>(pass.activations + a * pass.activation_stride, first + k);
      }
      HWY_UNROLL(4)
      for (size_t r = 0; r < kRows; ++r) {
        const VF weight = load_values<kFrom>(weights[r], k);
        HWY_UNROLL(4)
        for (size_t a = 0; a < kActivations; ++a) lanes[r][a] = hn::MulAdd(weight, values[a], lanes[r][a]);
      }
    }
  }

  HWY_INLINE void store(float (&sums)[kRows][kActivations]) const {
    HWY_UNROLL(4)
    for (size_t r = 0; r < kRows; ++r) {
      HWY_UNROLL(4)
      for (size_t a = 0; a < kActivations; ++a) {
        sums[r][a] = hn::GetLane(hn::SumOfLanes(DF(), lanes[r][a]));
      }
    }
  }
};

template <Encoding kFrom>
struct PlainKernel {
  static constexpr size_t kBytes = kFrom == Encoding::kF32 ? 4 : 2;
  static constexpr size_t kPiece = 64 / kBytes;  // a line of weights

  HWY_INLINE explicit PlainKernel(const RowProducts& /*p*/) {}

  template <size_t kRows, size_t kActivations>
  HWY_INLINE void run(const RowPass<kRows>& pass, float (&out)[kRows][kActivations]) const {
    Sums<kRows, kActivations> sums;
    const uint8_t* weights[kRows];
    std::copy(pass.weights, pass.weights + kRows, weights);
    const size_t lines = pass.depth / kPiece * kPiece;
    size_t k = 0;
    for (; k < lines; k += kPiece) {
      HWY_UNROLL(4)
      for (size_t r = 0; r < kRows; ++r) hwy::Prefetch(weights[r] + kAheadBytes);
      sums.template add<kFrom>(weights, pass, k, kPiece);
      HWY_UNROLL(4)
      for (size_t r = 0; r < kRows; ++r) weights[r] += kPiece * kBytes;
    }
    const size_t whole = (pass.depth - k) / kLanes * kLanes;
    sums.template add<kFrom>(weights, pass, k, whole);
    sums.store(out);
    for (k += whole; k < pass.depth; ++k) add_value(pass, k, out);
  }

 private:
  // What lies beyond the last whole vector.
  template <size_t kRows, size_t kActivations>
  static HWY_INLINE void add_value(const RowPass<kRows>& pass, size_t k, float (&out)[kRows][kActivations]) {
    for (size_t r = 0; r < kRows; ++r) {
      const float weight = load_value<kFrom>(pass.weights[r], k);
      for (size_t a = 0; a < kActivations; ++a) {
        out[r][a] += weight * load_value<Encoding::kF32>(pass.activations + a * pass.activation_stride, k);
      }
    }
  }
};

class BlockKernel {
 public:
  HWY_INLINE explicit BlockKernel(const RowProducts& p)
      : decode_(decoder(p.encoding)), from_(traits(p.encoding)) {}

  template <size_t kRows, size_t kActivations>
  HWY_INLINE void run(const RowPass<kRows>& pass, float (&out)[kRows][kActivations]) const {
    alignas(64) float values[kRows][kTile];
    const uint8_t* tiles[kRows];
    for (size_t r = 0; r < kRows; ++r) tiles[r] = reinterpret_cast<const uint8_t*>(values[r]);
    Sums<kRows, kActivations> sums;
    for (size_t k = 0; k < pass.depth; k += kTile) {
      const size_t count = std::min(kTile, pass.depth - k);
      const size_t offset = k / from_.block_elements * from_.block_bytes;
      for (size_t r = 0; r < kRows; ++r) decode_(pass.weights[r] + offset, values[r], count);
      sums.template add<Encoding::kF32>(tiles, pass, k, count);
    }
    sums.store(out);
  }

 private:
  static constexpr size_t kTile = 512;  // a multiple of every block

  DecodeFn decode_;
  const EncodingTraits& from_;
};

RowProductsFn find_products(Encoding weights) {
  if (weights == Encoding::kF32) return multiply_rows<PlainKernel<Encoding::kF32>>;
  if (weights == Encoding::kF16) return multiply_rows<PlainKernel<Encoding::kF16>>;
  if (weights == Encoding::kBF16) return multiply_rows<PlainKernel<Encoding::kBF16>>;
  return traits(weights).can_decode ? multiply_rows<BlockKernel> : nullptr;
}

#else
RowProductsFn find_products(Encoding) {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

HWY_EXPORT(find_products);
RowProductsFn float_row_products(Encoding weights) {
  return HWY_DYNAMIC_DISPATCH(find_products)(weights);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

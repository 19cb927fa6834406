// Products of weight rows with a few rows of F32 activations. F32, F16, BF16, Q8_0 and Q4_0 are multiplied as
// they are read; other blocks are decoded a tile at a time, which stays in the first cache.
#include <cstddef>

#include "lobit/dtype/block.h"
#include "lobit/kernels/codec.h"
#include "lobit/kernels/cpu/matmul_functions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/row_products.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/decode-inl.h"
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

// The floats that four-bit codes under the scale 1 stand for.
HWY_INLINE VF nibble_values(VI codes) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  alignas(64) static constexpr float kValues[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};
  return hn::TableLookupLanes(hn::Load(DF(), kValues), hn::IndicesFromVec(DF(), codes));
#else
  return hn::ConvertTo(DF(), hn::Sub(codes, hn::Set(DI(), 8)));
#endif
}

// The codes of a block's values from j < 16 on, and from 16 + j on, as floats.
template <Encoding kFrom>
HWY_INLINE void load_codes(const uint8_t* block, size_t j, VF& low, VF& high) {
  if constexpr (kFrom == Encoding::kQ8_0) {
    const auto* qs = reinterpret_cast<const int8_t*>(block + offsetof(BlockQ8_0, qs)) + j;
    const hn::Rebind<int8_t, DI> d8;
    low = hn::ConvertTo(DF(), hn::PromoteTo(DI(), hn::LoadU(d8, qs)));
    high = hn::ConvertTo(DF(), hn::PromoteTo(DI(), hn::LoadU(d8, qs + 16)));
  } else {
    const uint8_t* qs = block + offsetof(BlockQ4_0, qs) + j;
    const VI bytes = hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<uint8_t, DI>(), qs));
    low = nibble_values(hn::And(bytes, hn::Set(DI(), 15)));
    high = nibble_values(hn::ShiftRight<4>(bytes));
  }
}

// Q8_0 and Q4_0: codes are multiplied as they are read, and a block's sum by its scale.
template <Encoding kFrom, class Block>
struct ScaledKernel {
  static constexpr size_t kBlock = 32;

  HWY_INLINE explicit ScaledKernel(const RowProducts& /*p*/) {}

  template <size_t kRows, size_t kActivations>
  HWY_INLINE void run(const RowPass<kRows>& pass, float (&out)[kRows][kActivations]) const {
    Sums<kRows, kActivations> sums;
    size_t offset = 0;
    for (size_t k = 0; k < pass.depth; k += kBlock, offset += sizeof(Block)) {
      HWY_UNROLL(4)
      for (size_t r = 0; r < kRows; ++r) {
        const uint8_t* const block = pass.weights[r] + offset;
        hwy::Prefetch(block + kAheadBytes);
        VF products[kActivations];
        HWY_UNROLL(4)
        for (size_t a = 0; a < kActivations; ++a) products[a] = hn::Zero(DF());
        HWY_UNROLL(4)
        for (size_t j = 0; j < kBlock / 2; j += kLanes) {
          VF low;
          VF high;
          load_codes<kFrom>(block, j, low, high);
          HWY_UNROLL(4)
          for (size_t a = 0; a < kActivations; ++a) {
            const uint8_t* const values = pass.activations + a * pass.activation_stride;
            products[a] = hn::MulAdd(low, load_values<Encoding::kF32>(values, k + j), products[a]);
            products[a] =
                hn::MulAdd(high, load_values<Encoding::kF32>(values, k + kBlock / 2 + j), products[a]);
          }
        }
        const VF scale = broadcast_half(block + offsetof(Block, d));
        HWY_UNROLL(4)
        for (size_t a = 0; a < kActivations; ++a) {
          sums.lanes[r][a] = hn::MulAdd(scale, products[a], sums.lanes[r][a]);
        }
      }
    }
    sums.store(out);
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
  if (weights == Encoding::kQ8_0) return multiply_rows<ScaledKernel<Encoding::kQ8_0, BlockQ8_0>>;
  if (weights == Encoding::kQ4_0) return multiply_rows<ScaledKernel<Encoding::kQ4_0, BlockQ4_0>>;
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

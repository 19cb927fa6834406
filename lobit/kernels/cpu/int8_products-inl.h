// The kernel of products of weight rows with a few rows of 8-bit activations, and what the codecs have in
// common that unpack a block's codes for it. The codes stay in registers and are multiplied as integers; the
// order of the activations (int8_activations()) is the one in which they come out. Included once per target.
#if defined(LOBIT_KERNELS_CPU_INT8_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_INT8_PRODUCTS_INL_H_
#undef LOBIT_KERNELS_CPU_INT8_PRODUCTS_INL_H_
#else
#define LOBIT_KERNELS_CPU_INT8_PRODUCTS_INL_H_
#endif

#include <cstddef>
#include <cstring>

#include "lobit/dtype/block.h"
#include "lobit/kernels/cpu/int8_dot-inl.h"
#include "lobit/kernels/cpu/row_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

// The activations of one block for kActivations rows, and their sums.
template <size_t kBytes, bool kSigned, size_t kActivations>
struct BlockDots {
  using Dot = ByteDot<kBytes, kSigned>;
  using V8 = typename Dot::V8;

  Dot dots[kActivations];
  const int8_t* activations[kActivations];

  HWY_INLINE BlockDots() {}  // g++ compiles a constructor of its own making for another target
  HWY_INLINE void begin(size_t a, int32_t start) { dots[a] = Dot(start); }

  // The product of `codes` with the activations from `first` on.
  HWY_INLINE void add(V8 codes, size_t first) {
    HWY_UNROLL(4)
    for (size_t a = 0; a < kActivations; ++a) dots[a].add(codes, activations[a] + first);
  }
};

template <class D, int kBits>
HWY_INLINE hn::Vec<D> shift_words(D d, hn::Vec<D> bytes) {
  if constexpr (kBits == 0) return bytes;
  const hn::Repartition<uint32_t, D> d32;
  return hn::BitCast(d, hn::ShiftRight<kBits>(hn::BitCast(d32, bytes)));
}

using D16 = hn::FixedTag<uint8_t, 16>;
using V16 = hn::Vec<D16>;

// use(codes, i) for the codes of `low`, the first of which is number i, and then of `high`: in one vector, if
// D's are that long.
template <class D, class Use>
HWY_INLINE void use_both(D d, V16 low, V16 high, size_t first, Use use) {
  if constexpr (hn::MaxLanes(D()) == 32) {
    use(hn::Combine(d, high, low), first);
  } else {
    use(low, first);
    use(high, first + 16);
  }
}

// Codecs of blocks:
//   Block, kValues
//   kBytes: codes that are unpacked together
//   kSigned: whether they have signs. Otherwise the sum begins with what the row of activations says.
//   add(block, dots): adds the products
// and, where that is not all, total(dots, a).
template <size_t kBytesTogether, bool kIsSigned = false>
struct BlockCodec {
  static constexpr size_t kBytes = kBytesTogether;
  static constexpr bool kSigned = kIsSigned;
  template <size_t n>
  using Dots = BlockDots<kBytes, kSigned, n>;

  template <class AllDots>
  static HWY_INLINE auto total(const AllDots& dots, size_t a) {
    return dots.dots[a].total();
  }
};

// A row of activations as int8_activations() writes it.
struct ActivationRow {
  const int8_t* codes;
  const float* scales;
  const int32_t* starts;

  HWY_INLINE ActivationRow(const uint8_t* row, size_t depth, size_t blocks)
      : codes(reinterpret_cast<const int8_t*>(row)),
        scales(reinterpret_cast<const float*>(row + depth)),
        starts(reinterpret_cast<const int32_t*>(row + depth + 4 * blocks)) {}
};

template <typename T>
HWY_INLINE T load_number(const T* numbers, size_t index) {
  T number;
  std::memcpy(&number, reinterpret_cast<const char*>(numbers) + index * sizeof(T), sizeof(T));
  return number;
}

template <class Codec>
class Int8Kernel {
 public:
  HWY_INLINE explicit Int8Kernel(const RowProducts& /*p*/) {}

  template <size_t kRows, size_t kActivations>
  HWY_INLINE void run(const RowPass<kRows>& pass, float (&out)[kRows][kActivations]) const {
    const size_t blocks = pass.depth / Codec::kValues;
    VS sums[kRows][kActivations];
    HWY_UNROLL(4)
    for (size_t r = 0; r < kRows; ++r) {
      HWY_UNROLL(4)
      for (size_t a = 0; a < kActivations; ++a) sums[r][a] = hn::Zero(DS());
    }
    for (size_t b = 0; b < blocks; ++b) {
      HWY_UNROLL(4)
      for (size_t r = 0; r < kRows; ++r) {
        const uint8_t* block = pass.weights[r] + b * sizeof(typename Codec::Block);
        hwy::Prefetch(block + kAheadBytes);
        add_block<kRows>(pass, block, b, blocks, sums[r]);
      }
    }
    HWY_UNROLL(4)
    for (size_t r = 0; r < kRows; ++r) {
      HWY_UNROLL(4)
      for (size_t a = 0; a < kActivations; ++a) {
        out[r][a] = hn::GetLane(hn::SumOfLanes(DS(), sums[r][a]));
      }
    }
  }

 private:
  using DS = hn::Repartition<float, CodesTag<Codec::kBytes>>;
  using VS = hn::Vec<DS>;
  static constexpr size_t kAheadBytes = 2048;

  template <size_t kRows, size_t kActivations>
  static HWY_INLINE void add_block(const RowPass<kRows>& pass, const uint8_t* block, size_t b, size_t blocks,
                                   VS (&sums)[kActivations]) {
    typename Codec::template Dots<kActivations> dots;
    HWY_UNROLL(4)
    for (size_t a = 0; a < kActivations; ++a) {
      const ActivationRow row(pass.activations + a * pass.activation_stride, pass.depth, blocks);
      dots.activations[a] = row.codes + b * Codec::kValues;
      dots.begin(a, Codec::kSigned && !LOBIT_HAS_BYTE_DOT ? 0 : load_number(row.starts, b));
    }
    Codec::add(block, dots);
    const uint8_t* scale = block + offsetof(typename Codec::Block, d);
    HWY_UNROLL(4)
    for (size_t a = 0; a < kActivations; ++a) {
      const ActivationRow row(pass.activations + a * pass.activation_stride, pass.depth, blocks);
      const VS both = scaled_half(DS(), scale, load_number(row.scales, b));
      sums[a] = hn::MulAdd(hn::ConvertTo(DS(), Codec::total(dots, a)), both, sums[a]);
    }
  }
};

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

// Products of rows of Q2_0 and Q1_0 with a few rows of 8-bit activations.
#include "lobit/kernels/cpu/matmul_functions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/int8_products_q2_q1.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/int8_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

// Calls use(bytes, i) with the sixteen bytes at `qs` shifted right by 0, 2, 4 and 6 bits: shift 2 * i / 16
// for the first. What comes from a byte's neighbour is above its lower two bits.
template <class Use>
HWY_INLINE void for_each_shift(const uint8_t* qs, Use use) {
  const CodesTag<64> d;
  constexpr size_t kWidth = hn::MaxLanes(CodesTag<64>());
  if constexpr (kWidth == 16) {
    const auto bytes = hn::LoadU(d, qs);
    use(bytes, 0);
    use(shift_words<decltype(d), 2>(d, bytes), 16);
    use(shift_words<decltype(d), 4>(d, bytes), 32);
    use(shift_words<decltype(d), 6>(d, bytes), 48);
  } else {
    alignas(64) static constexpr uint32_t kShifts[16] = {0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6};
    const hn::Repartition<uint32_t, decltype(d)> d32;
    const auto bytes = hn::BitCast(d32, hn::LoadDup128(d, qs));
    const auto shifted = hn::BitCast(d, bytes >> hn::Load(d32, kShifts));
    use(shifted, 0);
    if constexpr (kWidth == 32) use(shift_words<decltype(d), 4>(d, shifted), 32);
  }
}

struct Q2_0Dot : BlockCodec<64> {
  using Block = BlockQ2_0;
  static constexpr size_t kValues = 64;

  template <size_t n>
  static HWY_INLINE void add(const uint8_t* block, Dots<n>& dots) {
    const CodesTag<kBytes> d;
    for_each_shift(block + offsetof(Block, qs), [&](auto bytes, size_t first) HWY_ATTR {
      dots.add(hn::And(bytes, hn::Set(d, 3)), first);
    });
  }
};

// Codes 0 and 2: the bits in places 0, 2, 4, 6 of each byte first, then the others.
struct Q1_0Dot : BlockCodec<64> {
  using Block = BlockQ1_0;
  static constexpr size_t kValues = 128;

  template <size_t n>
  static HWY_INLINE void add(const uint8_t* block, Dots<n>& dots) {
    const CodesTag<kBytes> d;
    for_each_shift(block + offsetof(Block, qs), [&](auto bytes, size_t first) HWY_ATTR {
      const auto even = hn::And(bytes, hn::Set(d, 1));
      dots.add(hn::Add(even, even), first);
      dots.add(hn::And(bytes, hn::Set(d, 2)), 64 + first);
    });
  }
};

RowProductsFn find_products(Encoding weights) {
  switch (weights) {
    case Encoding::kQ2_0:
      return multiply_rows<Int8Kernel<Q2_0Dot>>;
    case Encoding::kQ1_0:
      return multiply_rows<Int8Kernel<Q1_0Dot>>;
    default:
      return nullptr;
  }
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
RowProductsFn q2_q1_int8_products(Encoding weights) {
  return HWY_DYNAMIC_DISPATCH(find_products)(weights);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

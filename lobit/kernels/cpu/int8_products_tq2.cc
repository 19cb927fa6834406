// Products of rows of TQ2_0 with a few rows of 8-bit activations.
#include "lobit/kernels/cpu/matmul_functions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/int8_products_tq2.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/int8_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

struct TQ2_0Dot : BlockCodec<64> {
  using Block = BlockTQ2_0;
  static constexpr size_t kValues = 256;

  template <size_t n>
  static HWY_INLINE void add(const uint8_t* block, Dots<n>& dots) {
    const CodesTag<kBytes> d;
    const auto mask = hn::Set(d, 3);
    HWY_UNROLL(4)
    for (size_t i = 0; i < 64; i += hn::MaxLanes(CodesTag<kBytes>())) {
      const auto bytes = hn::LoadU(d, block + offsetof(Block, qs) + i);
      dots.add(hn::And(bytes, mask), i);
      dots.add(hn::And(shift_words<decltype(d), 2>(d, bytes), mask), 64 + i);
      dots.add(hn::And(shift_words<decltype(d), 4>(d, bytes), mask), 128 + i);
      dots.add(hn::And(shift_words<decltype(d), 6>(d, bytes), mask), 192 + i);
    }
  }
};

RowProductsFn find_products(Encoding weights) {
  return weights == Encoding::kTQ2_0 ? multiply_rows<Int8Kernel<TQ2_0Dot>> : nullptr;
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
RowProductsFn tq2_int8_products(Encoding weights) {
  return HWY_DYNAMIC_DISPATCH(find_products)(weights);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

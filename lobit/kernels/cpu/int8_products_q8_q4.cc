// Products of rows of Q8_0 and Q4_0 with a few rows of 8-bit activations.
#include "lobit/kernels/cpu/matmul_functions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/int8_products_q8_q4.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/int8_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

struct Q8_0Dot : BlockCodec<32, true> {
  using Block = BlockQ8_0;
  static constexpr size_t kValues = 32;

  template <size_t n>
  static HWY_INLINE void add(const uint8_t* block, Dots<n>& dots) {
    const CodesTag<kBytes> d;
    HWY_UNROLL(2)
    for (size_t i = 0; i < kValues; i += hn::MaxLanes(CodesTag<kBytes>())) {
      dots.add(hn::LoadU(d, block + offsetof(Block, qs) + i), i);
    }
  }
};

struct Q4_0Dot : BlockCodec<32> {
  using Block = BlockQ4_0;
  static constexpr size_t kValues = 32;

  template <size_t n>
  static HWY_INLINE void add(const uint8_t* block, Dots<n>& dots) {
    const D16 d16;
    const auto low = hn::LoadU(d16, block + offsetof(Block, qs));
    const auto high = shift_words<D16, 4>(d16, low);
    use_both(CodesTag<kBytes>(), low, high, 0, [&](auto codes, size_t first) HWY_ATTR {
      dots.add(hn::And(codes, hn::Set(hn::DFromV<decltype(codes)>(), 15)), first);
    });
  }
};

RowProductsFn find_products(Encoding weights) {
  switch (weights) {
    case Encoding::kQ8_0:
      return multiply_rows<Int8Kernel<Q8_0Dot>>;
    case Encoding::kQ4_0:
      return multiply_rows<Int8Kernel<Q4_0Dot>>;
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
RowProductsFn q8_q4_int8_products(Encoding weights) {
  return HWY_DYNAMIC_DISPATCH(find_products)(weights);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

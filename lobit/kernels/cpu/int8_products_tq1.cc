// Products of rows of TQ1_0 with a few rows of 8-bit activations.
#include "lobit/kernels/cpu/matmul_functions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/int8_products_tq1.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/int8_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

// A byte v holds the digit floor(3 * v / 256), and 3 * v mod 256 the digits after it.
struct TQ1_0Dot : BlockCodec<32> {
  using Block = BlockTQ1_0;
  static constexpr size_t kValues = 256;

  using D = CodesTag<kBytes>;
  using V = hn::Vec<D>;

  template <class Vector>
  static HWY_INLINE Vector triple(Vector v) {
    return hn::Add(hn::Add(v, v), v);
  }

#if LOBIT_HAS_BYTE_DOT
  static constexpr uint8_t kBias = 0;
#else
  // Bytes are compared as signed ones. Three times a byte with this bias has it again.
  static constexpr uint8_t kBias = 0x80;
#endif

  // Codes 0, 1, 2 of v with the bias: v * 3 reaches 256 from 86 on and 512 from 171 on.
  static HWY_INLINE V digits(V v) {
    const hn::RebindToSigned<D> di;
    const auto number = hn::BitCast(di, v);
    const auto one = hn::VecFromMask(di, hn::Gt(number, hn::Set(di, 85 - 128)));
    const auto two = hn::VecFromMask(di, hn::Gt(number, hn::Set(di, 170 - 128)));
    return hn::BitCast(D(), hn::Neg(hn::Add(one, two)));
  }

  template <class DAny, class Vector>
  static HWY_INLINE Vector biased(DAny d, Vector v) {
    return kBias == 0 ? v : hn::Xor(v, hn::Set(d, kBias));
  }

  // The four bytes qh, then their second, third and fourth digits in front.
  static HWY_INLINE V16 last_digits(const uint8_t* qh) {
    const hn::FixedTag<uint32_t, 4> d32;
    uint32_t word;
    std::memcpy(&word, qh, sizeof(word));
    const V16 first = biased(D16(), hn::BitCast(D16(), hn::Set(d32, word)));
    const V16 second = triple(first);
    const V16 third = triple(second);
    const V16 fourth = triple(third);
    const hn::FixedTag<uint64_t, 2> d64;
    const auto lower = hn::InterleaveLower(d32, hn::BitCast(d32, first), hn::BitCast(d32, second));
    const auto upper = hn::InterleaveLower(d32, hn::BitCast(d32, third), hn::BitCast(d32, fourth));
    return hn::BitCast(D16(), hn::InterleaveLower(d64, hn::BitCast(d64, lower), hn::BitCast(d64, upper)));
  }

  // The digits of 240 values are in front of bytes as they lie, or after one or more multiplications with 3.
  // use(v, i): of v for the values from i on.
  template <class Use>
  static HWY_INLINE void for_each_digit(const uint8_t* block, Use use) {
    const uint8_t* qs = block + offsetof(Block, qs);
    HWY_UNROLL(2)
    for (size_t i = 0; i < 32; i += hn::MaxLanes(D())) {
      V v = biased(D(), hn::LoadU(D(), qs + i));
      HWY_UNROLL(5)
      for (size_t digit = 0; digit < 5; ++digit, v = triple(v)) use(v, 32 * digit + i);
    }
    const V16 first = biased(D16(), hn::LoadU(D16(), qs + 32));
    const V16 second = triple(first);
    const V16 third = triple(second);
    const V16 fourth = triple(third);
    const V16 fifth = triple(fourth);
    const V16 last = last_digits(block + offsetof(Block, qh));
    use_both(D(), first, second, 160, use);
    use_both(D(), third, fourth, 192, use);
    use_both(D(), fifth, last, 224, use);
  }

#if LOBIT_HAS_BYTE_DOT
  // digit = (3 * v - (3 * v mod 256)) / 256, so the sums of both products tell that of the digits: raw bytes
  // are multiplied, and the division is exact in every lane.
  template <size_t n>
  struct Dots {
    BlockDots<kBytes, kSigned, n> before;  // of v
    BlockDots<kBytes, kSigned, n> after;   // of 3 * v mod 256
    const int8_t* activations[n];
    int32_t starts[n];

    HWY_INLINE Dots() {}
    HWY_INLINE void begin(size_t a, int32_t start) {
      starts[a] = start;
      before.begin(a, 0);
      after.begin(a, 0);
    }
  };

  template <size_t n>
  static HWY_INLINE void add(const uint8_t* block, Dots<n>& dots) {
    std::copy(dots.activations, dots.activations + n, dots.before.activations);
    std::copy(dots.activations, dots.activations + n, dots.after.activations);
    for_each_digit(block, [&](V v, size_t first) HWY_ATTR {
      dots.before.add(v, first);
      dots.after.add(triple(v), first);
    });
  }

  template <size_t n>
  static HWY_INLINE auto total(const Dots<n>& dots, size_t a) {
    const auto difference = hn::Sub(triple(dots.before.dots[a].total()), dots.after.dots[a].total());
    return hn::Add(ByteDot<kBytes, kSigned>(dots.starts[a]).total(), hn::ShiftRight<8>(difference));
  }
#else
  template <size_t n>
  static HWY_INLINE void add(const uint8_t* block, Dots<n>& dots) {
    for_each_digit(block, [&](V v, size_t first) HWY_ATTR { dots.add(digits(v), first); });
  }
#endif
};

RowProductsFn find_products(Encoding weights) {
  return weights == Encoding::kTQ1_0 ? multiply_rows<Int8Kernel<TQ1_0Dot>> : nullptr;
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
RowProductsFn tq1_int8_products(Encoding weights) {
  return HWY_DYNAMIC_DISPATCH(find_products)(weights);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

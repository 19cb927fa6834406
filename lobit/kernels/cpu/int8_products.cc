// Products of weight rows with a few rows of 8-bit activations. The codes of a block are unpacked in
// registers and multiplied as integers; the order of the activations (int8_activations()) is the one in which
// the codes come out.
#include <array>
#include <cstddef>

#include "lobit/dtype/block.h"
#include "lobit/kernels/cpu/matmul_functions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/int8_products.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/int8_dot-inl.h"
#include "lobit/kernels/cpu/row_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
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

RowProductsFn find_products(Encoding weights) {
  switch (weights) {
    case Encoding::kQ8_0:
      return multiply_rows<Int8Kernel<Q8_0Dot>>;
    case Encoding::kQ4_0:
      return multiply_rows<Int8Kernel<Q4_0Dot>>;
    case Encoding::kQ2_0:
      return multiply_rows<Int8Kernel<Q2_0Dot>>;
    case Encoding::kQ1_0:
      return multiply_rows<Int8Kernel<Q1_0Dot>>;
    case Encoding::kTQ2_0:
      return multiply_rows<Int8Kernel<TQ2_0Dot>>;
    case Encoding::kTQ1_0:
      return multiply_rows<Int8Kernel<TQ1_0Dot>>;
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
RowProductsFn block_int8_products(Encoding weights) {
  return HWY_DYNAMIC_DISPATCH(find_products)(weights);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

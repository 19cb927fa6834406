// Element-wise operations of two operands in F16 or BF16, in one pass: through tiles of F32 the memory would
// wait for the arithmetic.
#include <algorithm>
#include <cstring>

#include "lobit/kernels/cpu/elementwise_families.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/elementwise_half.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/common-inl.h"
#include "lobit/kernels/cpu/elementwise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

// Values of a vector of halves that is as wide as one of floats.
constexpr size_t kHalves = 2 * kLanes;
using DH = hn::CappedTag<uint16_t, kHalves>;

template <Encoding kFormat>
class HalfReader {
 public:
  HWY_INLINE explicit HalfReader(HalfRun run) : values_(run.values), number_(hn::Set(DF(), run.number)) {}

  HWY_INLINE VF load(size_t i) const {
    return values_ == nullptr ? number_ : load_values<kFormat>(values_, i);
  }
  // The values from i on, `count` < kHalves of them, copied to where as many as a vector has may be read.
  HWY_INLINE HalfReader some(size_t i, size_t count, uint16_t* copy) const {
    HalfReader reader = *this;
    if (values_ == nullptr) return reader;
    std::memcpy(copy, values_ + i, count * sizeof(uint16_t));
    reader.values_ = copy;
    return reader;
  }

 private:
  const uint16_t* values_;
  VF number_;
};

template <Encoding kFormat>
HWY_INLINE VU16 to_half(VF value) {
  return kFormat == Encoding::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
}

// kHalves results from value i on.
template <class Op, Encoding kFormat>
HWY_INLINE hn::Vec<DH> results_at(const HalfReader<kFormat>& a, const HalfReader<kFormat>& b, size_t i) {
  const VU16 low = to_half<kFormat>(Op()(a.load(i), b.load(i)));
  const VU16 high = to_half<kFormat>(Op()(a.load(i + kLanes), b.load(i + kLanes)));
  return hn::Combine(DH(), high, low);
}

template <class Op, Encoding kFormat>
void some_results(const HalfReader<kFormat>& a, const HalfReader<kFormat>& b, size_t i, size_t count,
                  uint16_t* out) {
  HWY_ALIGN uint16_t copies[2][kHalves] = {};
  HWY_ALIGN uint16_t results[kHalves];
  hn::Store(results_at<Op>(a.some(i, count, copies[0]), b.some(i, count, copies[1]), 0), DH(), results);
  std::memcpy(out + i, results, count * sizeof(uint16_t));
}

template <class Op, Encoding kFormat>
void half_binary(HalfRun a, HalfRun b, uint16_t* out, size_t count, Store store) {
  const HalfReader<kFormat> left(a);
  const HalfReader<kFormat> right(b);
  size_t i = 0;
  if (store == Store::kPastCaches && reinterpret_cast<uintptr_t>(out) % sizeof(uint16_t) == 0) {
    // Such stores need whole, aligned vectors.
    constexpr size_t kBytes = kHalves * sizeof(uint16_t);
    const size_t misaligned = reinterpret_cast<uintptr_t>(out) % kBytes / sizeof(uint16_t);
    i = misaligned == 0 ? 0 : std::min(count, kHalves - misaligned);
    if (i != 0) some_results<Op>(left, right, 0, i, out);
    for (; i + kHalves <= count; i += kHalves) hn::Stream(results_at<Op>(left, right, i), DH(), out + i);
  }
  for (; i + kHalves <= count; i += kHalves) hn::StoreU(results_at<Op>(left, right, i), DH(), out + i);
  if (i < count) some_results<Op>(left, right, i, count - i, out);
}

template <Encoding kFormat>
HalfBinaryFn find_for(BinaryOp op) {
  constexpr HalfBinaryFn kFunctions[kBinaryOps] = {half_binary<AddOp, kFormat>, half_binary<SubOp, kFormat>,
                                                   half_binary<MulOp, kFormat>, half_binary<DivOp, kFormat>,
                                                   half_binary<MinOp, kFormat>, half_binary<MaxOp, kFormat>};
  return kFunctions[static_cast<size_t>(op)];
}

HalfBinaryFn find_half_binary(BinaryOp op, Encoding format) {
  return format == Encoding::kF16 ? find_for<Encoding::kF16>(op) : find_for<Encoding::kBF16>(op);
}

#else
HalfBinaryFn find_half_binary(BinaryOp, Encoding) {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

HWY_EXPORT(find_half_binary);

HalfBinaryFn vector_half_binary(BinaryOp op, Encoding format) {
  return HWY_DYNAMIC_DISPATCH(find_half_binary)(op, format);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

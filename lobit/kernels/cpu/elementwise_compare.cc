// Comparisons of F32 values to bytes of 0 and 1.
#include "lobit/kernels/cpu/elementwise_families.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/elementwise_compare.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/common-inl.h"
#include "lobit/kernels/cpu/elementwise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

template <CompareOp kOp>
HWY_INLINE VI holds(VF a, VF b) {
  const auto mask = [&]() HWY_ATTR {
    if constexpr (kOp == CompareOp::kEqual) return hn::Eq(a, b);
    if constexpr (kOp == CompareOp::kNotEqual) return hn::Not(hn::Eq(a, b));  // Ne says no of NaN
    if constexpr (kOp == CompareOp::kLess) return hn::Lt(a, b);
    if constexpr (kOp == CompareOp::kLessEqual) return hn::Le(a, b);
    if constexpr (kOp == CompareOp::kGreater) return hn::Gt(a, b);
    if constexpr (kOp == CompareOp::kGreaterEqual) return hn::Ge(a, b);
  };
  return hn::And(hn::BitCast(DI(), hn::VecFromMask(DF(), mask())), hn::Set(DI(), 1));
}

// 16 results at a time: what pack_bytes() takes.
constexpr size_t kStep = 16;
constexpr size_t kParts = kStep / kLanes;
static_assert(kParts <= kGroup);

template <CompareOp kOp>
void compare(Run<float> a, Run<float> b, uint8_t* out, size_t count) {
  const RunReader left(a);
  const RunReader right(b);
  size_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    VI lanes[kParts];
    for (size_t part = 0; part < kParts; ++part) {
      lanes[part] = holds<kOp>(left.load(i, part), right.load(i, part));
    }
    hn::StoreU(pack_bytes<uint8_t>(lanes), hn::FixedTag<uint8_t, 16>(), out + i);
  }
  HWY_ALIGN int32_t lanes[kLanes];
  while (i < count) {
    const size_t n = std::min(kLanes, count - i);
    const VI found = n == kLanes ? holds<kOp>(left.load(i), right.load(i))
                                 : holds<kOp>(left.load_some(i, n), right.load_some(i, n));
    hn::Store(found, DI(), lanes);
    for (size_t lane = 0; lane < n; ++lane) out[i + lane] = static_cast<uint8_t>(lanes[lane]);
    i += n;
  }
}

CompareFn find_compare(CompareOp op) {
  using enum CompareOp;
  constexpr CompareFn kFunctions[kCompareOps] = {compare<kEqual>,   compare<kNotEqual>,
                                                 compare<kLess>,    compare<kLessEqual>,
                                                 compare<kGreater>, compare<kGreaterEqual>};
  return kFunctions[static_cast<size_t>(op)];
}

#else
CompareFn find_compare(CompareOp) {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

HWY_EXPORT(find_compare);

CompareFn vector_compare(CompareOp op) {
  return HWY_DYNAMIC_DISPATCH(find_compare)(op);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

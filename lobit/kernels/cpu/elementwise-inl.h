// How the element-wise kernels go through their runs: whole vectors in groups, then single ones, then what is
// left as a part of a vector; and the operations of two vectors. Included once per target, after
// common-inl.h.
#if defined(LOBIT_KERNELS_CPU_ELEMENTWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_ELEMENTWISE_INL_H_
#undef LOBIT_KERNELS_CPU_ELEMENTWISE_INL_H_
#else
#define LOBIT_KERNELS_CPU_ELEMENTWISE_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lobit/kernels/cpu/common-inl.h"
#include "lobit/kernels/elementwise.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

// Vectors of a group.
inline constexpr size_t kGroup = 4;

// The first `count` < kLanes values; what lies behind them is not touched, and lanes without a value are 0.
HWY_INLINE VF load_some(const float* values, size_t count) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  return hn::MaskedLoad(hn::FirstN(DF(), count), DF(), values);
#else
  HWY_ALIGN float lanes[kLanes] = {};
  std::memcpy(lanes, values, count * sizeof(float));
  return hn::Load(DF(), lanes);
#endif
}

HWY_INLINE void store_some(VF v, float* values, size_t count) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  hn::BlendedStore(v, hn::FirstN(DF(), count), DF(), values);
#else
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, DF(), lanes);
  std::memcpy(values, lanes, count * sizeof(float));
#endif
}

// Reads a run: one that repeats from a group of copies of its value.
class RunReader {
 public:
  HWY_INLINE explicit RunReader(Run<float> run) : values_(run.values), step_(~size_t{0}) {
    if (!run.repeats) return;
    const VF value = hn::Set(DF(), load_value<Encoding::kF32>(run.values, 0));
    for (size_t i = 0; i < kGroup; ++i) hn::Store(value, DF(), copies_ + i * kLanes);
    values_ = copies_;
    step_ = 0;
  }
  RunReader(const RunReader&) = delete;
  RunReader& operator=(const RunReader&) = delete;

  // The vector `part` of the group that begins at value i.
  HWY_INLINE VF load(size_t i, size_t part = 0) const {
    return hn::LoadU(DF(), values_ + (i & step_) + part * kLanes);
  }
  HWY_INLINE VF load_some(size_t i, size_t count) const {
    return HWY_NAMESPACE::load_some(values_ + (i & step_), count);
  }

 private:
  const float* values_;
  size_t step_;  // all bits, or none
  HWY_ALIGN float copies_[kGroup * kLanes];
};

// Reads a run of bytes as a vector of -1 (not 0) and 0 for each.
class MaskReader {
 public:
  HWY_INLINE explicit MaskReader(Run<uint8_t> run) : values_(run.values), step_(~size_t{0}) {
    if (!run.repeats) return;
    std::memset(copies_, *run.values, sizeof(copies_));
    values_ = copies_;
    step_ = 0;
  }
  MaskReader(const MaskReader&) = delete;
  MaskReader& operator=(const MaskReader&) = delete;

  HWY_INLINE hn::Mask<DF> load(size_t i, size_t part = 0) const {
    return mask_of(values_ + (i & step_) + part * kLanes);
  }
  HWY_INLINE hn::Mask<DF> load_some(size_t i, size_t count) const {
    uint8_t bytes[kLanes] = {};
    std::memcpy(bytes, values_ + (i & step_), count);
    return mask_of(bytes);
  }

 private:
  static HWY_INLINE hn::Mask<DF> mask_of(const uint8_t* bytes) {
    const VI lanes = hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<uint8_t, DF>(), bytes));
    return hn::RebindMask(DF(), hn::Ne(lanes, hn::Zero(DI())));
  }

  const uint8_t* values_;
  size_t step_;
  uint8_t copies_[kGroup * kLanes];
};

// out[i] = op(values of the readers at i).
template <class Op, class... Readers>
HWY_INLINE void map_runs(const Op& op, float* out, size_t count, Store store, const Readers&... readers) {
  size_t i = 0;
  if (store == Store::kPastCaches) {
    // Such stores need whole, aligned vectors.
    const size_t misaligned = reinterpret_cast<uintptr_t>(out) % sizeof(VF) / sizeof(float);
    const size_t head = misaligned == 0 ? 0 : std::min(count, kLanes - misaligned);
    if (head != 0) store_some(op(readers.load_some(0, head)...), out, head);
    if (reinterpret_cast<uintptr_t>(out + head) % sizeof(VF) == 0) {
      for (i = head; i + kLanes <= count; i += kLanes) hn::Stream(op(readers.load(i)...), DF(), out + i);
    } else {
      i = head;
    }
  }
  for (; i + kGroup * kLanes <= count; i += kGroup * kLanes) {
    HWY_UNROLL(4)
    for (size_t part = 0; part < kGroup; ++part) {
      hn::StoreU(op(readers.load(i, part)...), DF(), out + i + part * kLanes);
    }
  }
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(op(readers.load(i)...), DF(), out + i);
  if (i < count) store_some(op(readers.load_some(i, count - i)...), out + i, count - i);
}

// Highway's Ne does not hold for NaN where AVX compares.
HWY_INLINE hn::Mask<DF> is_nan(VF v) {
  return hn::Not(hn::Eq(v, v));
}

struct AddOp {
  HWY_INLINE VF operator()(VF a, VF b) const { return hn::Add(a, b); }
};
struct SubOp {
  HWY_INLINE VF operator()(VF a, VF b) const { return hn::Sub(a, b); }
};
struct MulOp {
  HWY_INLINE VF operator()(VF a, VF b) const { return hn::Mul(a, b); }
};
struct DivOp {
  HWY_INLINE VF operator()(VF a, VF b) const { return hn::Div(a, b); }
};
struct MinOp {
  HWY_INLINE VF operator()(VF a, VF b) const { return hn::IfThenElse(hn::Or(hn::Lt(a, b), is_nan(a)), a, b); }
};
struct MaxOp {
  HWY_INLINE VF operator()(VF a, VF b) const { return hn::IfThenElse(hn::Or(hn::Gt(a, b), is_nan(a)), a, b); }
};

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

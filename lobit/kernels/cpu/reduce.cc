#include "lobit/kernels/reduce.h"

#include <cmath>
#include <limits>

#include "lobit/kernels/cpu/reduce_scalar.h"
#include "lobit/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/reduce.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

using DD = hn::CappedTag<double, 8>;
using DH = hn::Rebind<float, DD>;  // as many floats as DD has doubles
using VD = hn::Vec<DD>;
using VH = hn::Vec<DH>;

// How far ahead of the values that are read memory is asked for more, in values: a page, behind whose end the
// machine foresees nothing.
constexpr size_t kAhead = 1024;

constexpr size_t kWidth = HWY_LANES(float) / 2;
constexpr size_t kParts = kSumLanes / kWidth;
static_assert(kParts * kWidth == kSumLanes);

template <SumTerm kTerm>
HWY_INLINE VD terms_of(const float* values, VD center) {
  const VD x = hn::PromoteTo(DD(), hn::LoadU(DH(), values));
  if constexpr (kTerm == SumTerm::kValue) return x;
  if constexpr (kTerm == SumTerm::kMagnitude) return hn::Abs(x);
  if constexpr (kTerm == SumTerm::kSquare) return hn::Mul(x, x);
  const VD d = hn::Sub(x, center);
  return hn::Mul(d, d);
}

// The lanes of a run in registers. Terms of 0, which do not change a sum, fill up the last sixteen values of
// a run.
template <SumTerm kTerm>
HWY_INLINE void add_values(const float* values, size_t count, VD center, VD* sums) {
  const size_t whole = count - count % kSumLanes;
  for (size_t i = 0; i < whole; i += kSumLanes) {
    hwy::Prefetch(values + i + kAhead);
    HWY_UNROLL(8)
    for (size_t p = 0; p < kParts; ++p) {
      sums[p] = hn::Add(sums[p], terms_of<kTerm>(values + i + p * kWidth, center));
    }
  }
  if (whole == count) return;
  alignas(64) double terms[kSumLanes] = {};
  const double number = hn::GetLane(center);
  for (size_t i = whole; i < count; ++i) terms[i - whole] = term_of<kTerm>(values[i], number);
  for (size_t p = 0; p < kParts; ++p) sums[p] = hn::Add(sums[p], hn::Load(DD(), terms + p * kWidth));
}

template <SumTerm kTerm>
void add_run(const float* values, size_t count, double center, double* lanes) {
  VD sums[kParts];
  for (size_t p = 0; p < kParts; ++p) sums[p] = hn::LoadU(DD(), lanes + p * kWidth);
  add_values<kTerm>(values, count, hn::Set(DD(), center), sums);
  for (size_t p = 0; p < kParts; ++p) hn::StoreU(sums[p], DD(), lanes + p * kWidth);
}

template <SumTerm kTerm>
void sums_of_runs(const float* values, size_t runs, size_t count, double* sums) {
  for (size_t run = 0; run < runs; ++run, values += count) {
    VD parts[kParts];
    for (VD& part : parts) part = hn::Zero(DD());
    add_values<kTerm>(values, count, hn::Zero(DD()), parts);
    for (size_t half = kParts / 2; half > 0; half /= 2) {
      for (size_t p = 0; p < half; ++p) parts[p] = hn::Add(parts[p], parts[p + half]);
    }
    alignas(64) double lanes[kWidth];
    hn::Store(parts[0], DD(), lanes);
    sums[run] = total_of<kWidth>(lanes);
  }
}

// Rows that are taken together, so that results are loaded and stored once for them.
constexpr size_t kRowsTogether = 8;

// Asks for the line of values[column], once a line: the machine does not foresee how far rows are apart. It
// comes to the second cache, since so many rows crowd each other out of the first.
HWY_INLINE void prefetch_row(const float* values, size_t column) {
  constexpr size_t kLine = 64 / sizeof(float);
  if (column % kLine == 0) __builtin_prefetch(values + column, 0, 2);
}

template <SumTerm kTerm, size_t kRows>
HWY_INLINE void add_some_rows(const float* values, size_t stride, size_t columns, double* sums) {
  const VD none = hn::Zero(DD());
  const size_t whole = columns - columns % kWidth;
  for (size_t c = 0; c < whole; c += kWidth) {
    VD sum = hn::LoadU(DD(), sums + c);
    HWY_UNROLL(8)
    for (size_t r = 0; r < kRows; ++r) {
      prefetch_row(values + (r + kRows) * stride, c);
      sum = hn::Add(sum, terms_of<kTerm>(values + r * stride + c, none));
    }
    hn::StoreU(sum, DD(), sums + c);
  }
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t c = whole; c < columns; ++c) sums[c] += term_of<kTerm>(values[r * stride + c], 0.0);
  }
}

template <SumTerm kTerm>
void add_rows(const float* values, size_t rows, size_t stride, size_t columns, double* sums) {
  size_t r = 0;
  for (; r + kRowsTogether <= rows; r += kRowsTogether)
    add_some_rows<kTerm, kRowsTogether>(values + r * stride, stride, columns, sums);
  for (; r < rows; ++r) add_some_rows<kTerm, 1>(values + r * stride, stride, columns, sums);
}

template <size_t kRows>
HWY_INLINE void add_moments_of_some(const float* values, size_t stride, size_t whole, const float* shift,
                                    double* first, double* second) {
  for (size_t c = 0; c < whole; c += kWidth) {
    const VD about = hn::PromoteTo(DD(), hn::LoadU(DH(), shift + c));
    VD sum = hn::LoadU(DD(), first + c);
    VD squares = hn::LoadU(DD(), second + c);
    HWY_UNROLL(8)
    for (size_t r = 0; r < kRows; ++r) {
      prefetch_row(values + (r + kRows) * stride, c);
      const VD d = hn::Sub(hn::PromoteTo(DD(), hn::LoadU(DH(), values + r * stride + c)), about);
      sum = hn::Add(sum, d);
      squares = hn::Add(squares, hn::Mul(d, d));
    }
    hn::StoreU(sum, DD(), first + c);
    hn::StoreU(squares, DD(), second + c);
  }
}

void add_moments(const float* values, size_t rows, size_t stride, size_t columns, const float* shift,
                 double* first, double* second) {
  const size_t whole = columns - columns % kWidth;
  size_t r = 0;
  for (; r + kRowsTogether <= rows; r += kRowsTogether) {
    add_moments_of_some<kRowsTogether>(values + r * stride, stride, whole, shift, first, second);
  }
  for (; r < rows; ++r) add_moments_of_some<1>(values + r * stride, stride, whole, shift, first, second);
  scalar::add_moments(values + whole, rows, stride, columns - whole, shift + whole, first + whole,
                      second + whole);
}

// `best` where no value beats it: also where a value is NaN.
template <Extreme kWhich>
HWY_INLINE VF better_of(VF value, VF best) {
#if HWY_ARCH_X86
  // x86 takes the second operand when either is NaN.
  return kWhich == Extreme::kMin ? hn::Min(value, best) : hn::Max(value, best);
#else
  const auto wins = kWhich == Extreme::kMin ? hn::Lt(value, best) : hn::Gt(value, best);
  return hn::IfThenElse(wins, value, best);
#endif
}

// Where a or b is NaN: one comparison on x86.
HWY_INLINE hn::Mask<DF> either_nan(VF a, VF b) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  return hn::Mask<DF>{_mm512_cmp_ps_mask(a.raw, b.raw, _CMP_UNORD_Q)};
#elif HWY_TARGET == HWY_AVX2
  return hn::MaskFromVec(VF{_mm256_cmp_ps(a.raw, b.raw, _CMP_UNORD_Q)});
#elif HWY_TARGET == HWY_SSE4
  return hn::MaskFromVec(VF{_mm_cmpunord_ps(a.raw, b.raw)});
#else
  return hn::Or(hn::IsNaN(a), hn::IsNaN(b));
#endif
}

template <Extreme kWhich>
HWY_INLINE VF load_for(const float* values) {
  const VF v = hn::LoadU(DF(), values);
  return kWhich == Extreme::kMaxMagnitude ? hn::Abs(v) : v;
}

template <Extreme kWhich>
float extreme_of(const float* values, size_t count, float so_far) {
  constexpr size_t kStreams = 4;  // hide the latency of a comparison
  constexpr size_t kStep = kStreams * kLanes;
  VF best[kStreams];
  for (VF& b : best) b = hn::Set(DF(), so_far);
  auto nan = hn::IsNaN(best[0]);
  const size_t whole = count - count % kStep;
  for (size_t i = 0; i < whole; i += kStep) {
    VF v[kStreams];
    HWY_UNROLL(4)
    for (size_t s = 0; s < kStreams; ++s) {
      hwy::Prefetch(values + i + s * kLanes + kAhead);
      v[s] = load_for<kWhich>(values + i + s * kLanes);
      best[s] = better_of<kWhich>(v[s], best[s]);
    }
    nan = hn::Or(nan, hn::Or(either_nan(v[0], v[1]), either_nan(v[2], v[3])));
  }
  if (!hn::AllFalse(DF(), nan)) return std::numeric_limits<float>::quiet_NaN();
  const VF half = better_of<kWhich>(better_of<kWhich>(best[0], best[1]), better_of<kWhich>(best[2], best[3]));
  const VF one = kWhich == Extreme::kMin ? hn::MinOfLanes(DF(), half) : hn::MaxOfLanes(DF(), half);
  return scalar::extreme_of<kWhich>(values + whole, count - whole, hn::GetLane(one));
}

template <Extreme kWhich>
void extremes_of_runs(const float* values, size_t runs, size_t count, float* extremes) {
  for (size_t run = 0; run < runs; ++run, values += count) {
    extremes[run] = extreme_of<kWhich>(values, count, before_extreme(kWhich));
  }
}

// The rows behind these are asked for.
template <Extreme kWhich, size_t kRows>
HWY_INLINE void extreme_of_some_rows(const float* values, size_t stride, size_t whole, float* extremes) {
  for (size_t c = 0; c < whole; c += kLanes) {
    VF best = hn::LoadU(DF(), extremes + c);
    HWY_UNROLL(8)
    for (size_t r = 0; r < kRows; ++r) {
      prefetch_row(values + (r + kRows) * stride, c);
      const VF v = load_for<kWhich>(values + r * stride + c);
      best = hn::IfThenElse(hn::IsNaN(v), v, better_of<kWhich>(v, best));
    }
    hn::StoreU(best, DF(), extremes + c);
  }
}

template <Extreme kWhich>
void extreme_of_rows(const float* values, size_t rows, size_t stride, size_t columns, float* extremes) {
  const size_t whole = columns - columns % kLanes;
  size_t r = 0;
  for (; r + kRowsTogether <= rows; r += kRowsTogether) {
    extreme_of_some_rows<kWhich, kRowsTogether>(values + r * stride, stride, whole, extremes);
  }
  for (; r < rows; ++r) extreme_of_some_rows<kWhich, 1>(values + r * stride, stride, whole, extremes);
  scalar::extreme_of_rows<kWhich>(values + whole, rows, stride, columns - whole, extremes + whole);
}

size_t find_value(const float* values, size_t count, float value) {
  const VF sought = hn::Set(DF(), value);
  const bool nan = std::isnan(value);
  const size_t whole = count - count % kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    const VF v = hn::LoadU(DF(), values + i);
    const auto found = nan ? hn::IsNaN(v) : hn::Eq(v, sought);
    if (!hn::AllFalse(DF(), found)) return i + static_cast<size_t>(hn::FindFirstTrue(DF(), found));
  }
  return whole + scalar::find_value(values + whole, count - whole, value);
}

template <Extreme kWhich, size_t kRows>
HWY_INLINE void place_of_some_rows(const float* values, size_t stride, size_t whole, int32_t first,
                                   float* best, int32_t* places) {
  for (size_t c = 0; c < whole; c += kLanes) {
    VF winner = hn::LoadU(DF(), best + c);
    VI place = hn::LoadU(DI(), places + c);
    HWY_UNROLL(8)
    for (size_t r = 0; r < kRows; ++r) {
      prefetch_row(values + (r + kRows) * stride, c);
      const VF v = hn::LoadU(DF(), values + r * stride + c);
      const auto beats = kWhich == Extreme::kMin ? hn::Lt(v, winner) : hn::Gt(v, winner);
      const auto take = hn::Or(beats, hn::AndNot(hn::IsNaN(winner), hn::IsNaN(v)));
      winner = hn::IfThenElse(take, v, winner);
      place =
          hn::IfThenElse(hn::RebindMask(DI(), take), hn::Set(DI(), first + static_cast<int32_t>(r)), place);
    }
    hn::StoreU(winner, DF(), best + c);
    hn::StoreU(place, DI(), places + c);
  }
}

template <Extreme kWhich>
void place_of_rows(const float* values, size_t rows, size_t stride, size_t columns, int32_t first,
                   float* best, int32_t* places) {
  const size_t whole = columns - columns % kLanes;
  scalar::place_of_rows<kWhich>(values + whole, rows, stride, columns - whole, first, best + whole,
                                places + whole);
  size_t r = 0;
  for (; r + kRowsTogether <= rows; r += kRowsTogether) {
    place_of_some_rows<kWhich, kRowsTogether>(values + r * stride, stride, whole,
                                              first + static_cast<int32_t>(r), best, places);
  }
  for (; r < rows; ++r) {
    place_of_some_rows<kWhich, 1>(values + r * stride, stride, whole, first + static_cast<int32_t>(r), best,
                                  places);
  }
}

const ReduceKernels* find_reduce() {
  static constexpr ReduceKernels kKernels{
      {add_run<SumTerm::kValue>, add_run<SumTerm::kMagnitude>, add_run<SumTerm::kSquare>,
       add_run<SumTerm::kSquaredDeviation>},
      {add_rows<SumTerm::kValue>, add_rows<SumTerm::kMagnitude>, add_rows<SumTerm::kSquare>, nullptr},
      {sums_of_runs<SumTerm::kValue>, sums_of_runs<SumTerm::kMagnitude>, sums_of_runs<SumTerm::kSquare>,
       nullptr},
      add_moments,
      {extreme_of<Extreme::kMin>, extreme_of<Extreme::kMax>, extreme_of<Extreme::kMaxMagnitude>},
      {extremes_of_runs<Extreme::kMin>, extremes_of_runs<Extreme::kMax>,
       extremes_of_runs<Extreme::kMaxMagnitude>},
      {extreme_of_rows<Extreme::kMin>, extreme_of_rows<Extreme::kMax>,
       extreme_of_rows<Extreme::kMaxMagnitude>},
      find_value,
      {place_of_rows<Extreme::kMin>, place_of_rows<Extreme::kMax>, nullptr}};
  return &kKernels;
}

#else
const ReduceKernels* find_reduce() {
  return &scalar::kKernels;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {
namespace {

HWY_EXPORT(find_reduce);

const ReduceKernels& kernels_in_use() {
  if (simd_level() == SimdLevel::kScalar) return scalar::kKernels;
  return *HWY_DYNAMIC_DISPATCH(find_reduce)();
}

}  // namespace

double total(const SumLanes& lanes) {
  SumLanes sums = lanes;
  return total_of<kSumLanes>(sums.data());
}

void add_run(SumTerm term, const float* values, size_t count, double center, SumLanes& lanes) {
  kernels_in_use().add_run[static_cast<size_t>(term)](values, count, center, lanes.data());
}

void sums_of_runs(SumTerm term, const float* values, size_t runs, size_t count, double* sums) {
  kernels_in_use().sums_of_runs[static_cast<size_t>(term)](values, runs, count, sums);
}

void add_rows(SumTerm term, const float* values, size_t rows, size_t stride, size_t columns, double* sums) {
  kernels_in_use().add_rows[static_cast<size_t>(term)](values, rows, stride, columns, sums);
}

void add_moments(const float* values, size_t rows, size_t stride, size_t columns, const float* shift,
                 double* first, double* second) {
  kernels_in_use().add_moments(values, rows, stride, columns, shift, first, second);
}

float extreme_of(Extreme which, const float* values, size_t count, float so_far) {
  return kernels_in_use().extreme_of[static_cast<size_t>(which)](values, count, so_far);
}

void extremes_of_runs(Extreme which, const float* values, size_t runs, size_t count, float* extremes) {
  kernels_in_use().extremes_of_runs[static_cast<size_t>(which)](values, runs, count, extremes);
}

void extreme_of_rows(Extreme which, const float* values, size_t rows, size_t stride, size_t columns,
                     float* extremes) {
  kernels_in_use().extreme_of_rows[static_cast<size_t>(which)](values, rows, stride, columns, extremes);
}

size_t find_value(const float* values, size_t count, float value) {
  return kernels_in_use().find_value(values, count, value);
}

void place_of_rows(Extreme which, const float* values, size_t rows, size_t stride, size_t columns,
                   int32_t first, float* best, int32_t* places) {
  kernels_in_use().place_of_rows[static_cast<size_t>(which)](values, rows, stride, columns, first, best,
                                                             places);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

#include "lobit/kernels/measure.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "lobit/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/measure.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/common-inl.h"

// Once for all targets.
#ifndef LOBIT_KERNELS_CPU_MEASURE_ONCE_
#define LOBIT_KERNELS_CPU_MEASURE_ONCE_
namespace lobit::kernels {
namespace {

constexpr size_t kSums = 8;
using Sums = std::array<double, kSums>;

double total(const Sums& s) {
  return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

// Elements between two looks at the largest error, whose index is then searched for where it has grown.
constexpr size_t kPiece = 1024;

struct ErrorPiece {
  Sums signal{};
  Sums decoded{};
  Sums dot{};
  Sums error{};
  double max_abs_error = 0.0;
  uint64_t non_finite = 0;
};

struct StatsPiece {
  Sums sum{};
  Sums abs_sum{};
  Sums sum_squares{};
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
  uint64_t zeros = 0;
  uint64_t nans = 0;
  uint64_t infs = 0;
};

// Add `n` elements, a multiple of kSums and at most kPiece.
using AddErrorFn = void (*)(const float* original, const float* decoded, size_t n, ErrorPiece& piece);
using AddStatsFn = void (*)(const float* values, size_t n, StatsPiece& piece);

}  // namespace
}  // namespace lobit::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

using DD = hn::CappedTag<double, kSums>;
using DH = hn::Rebind<float, DD>;  // as many floats as DD has doubles
using DHI = hn::RebindToSigned<DH>;
using VD = hn::Vec<DD>;
using VH = hn::Vec<DH>;

constexpr size_t kWidth = HWY_LANES(float) / 2;
constexpr size_t kParts = kSums / kWidth;
static_assert(kParts * kWidth == kSums);

// The eight sums of a quantity.
class Accumulator {
 public:
  HWY_INLINE explicit Accumulator(Sums& sums) : memory_(sums) {
    for (size_t p = 0; p < kParts; ++p) parts_[p] = hn::LoadU(DD(), sums.data() + p * kWidth);
  }
  HWY_INLINE void add(size_t part, VD v) { parts_[part] = hn::Add(parts_[part], v); }
  HWY_INLINE void store() const {
    for (size_t p = 0; p < kParts; ++p) hn::StoreU(parts_[p], DD(), memory_.data() + p * kWidth);
  }

 private:
  Sums& memory_;
  VD parts_[kParts];
};

HWY_INLINE hn::Vec<DHI> magnitude(VH v) {
  return hn::And(hn::BitCast(DHI(), v), hn::Set(DHI(), 0x7FFFFFFF));
}

HWY_INLINE uint64_t sum_of(hn::Vec<DHI> counts) {
  return static_cast<uint64_t>(hn::GetLane(hn::SumOfLanes(DHI(), counts)));
}

void add_error(const float* original, const float* decoded, size_t n, ErrorPiece& piece) {
  Accumulator signal(piece.signal);
  Accumulator energy(piece.decoded);
  Accumulator dot(piece.dot);
  Accumulator error(piece.error);
  VD largest = hn::Zero(DD());
  auto excluded = hn::Zero(DHI());
  for (size_t i = 0; i < n; i += kSums) {
    HWY_UNROLL(4)
    for (size_t p = 0; p < kParts; ++p) {
      const VH a = hn::LoadU(DH(), original + i + p * kWidth);
      const VH b = hn::LoadU(DH(), decoded + i + p * kWidth);
      const auto finite = hn::Gt(hn::Set(DHI(), 0x7F800000), hn::Max(magnitude(a), magnitude(b)));
      excluded = hn::Add(excluded, hn::IfThenZeroElse(finite, hn::Set(DHI(), 1)));
      const VD x = hn::PromoteTo(DD(), hn::IfThenElseZero(hn::RebindMask(DH(), finite), a));
      const VD y = hn::PromoteTo(DD(), hn::IfThenElseZero(hn::RebindMask(DH(), finite), b));
      const VD e = hn::Sub(x, y);
      signal.add(p, hn::Mul(x, x));
      energy.add(p, hn::Mul(y, y));
      dot.add(p, hn::Mul(x, y));
      error.add(p, hn::Mul(e, e));
      largest = hn::Max(largest, hn::Abs(e));
    }
  }
  signal.store();
  energy.store();
  dot.store();
  error.store();
  piece.max_abs_error = hn::GetLane(hn::MaxOfLanes(DD(), largest));
  piece.non_finite += sum_of(excluded);
}

void add_stats(const float* values, size_t n, StatsPiece& piece) {
  Accumulator sum(piece.sum);
  Accumulator abs_sum(piece.abs_sum);
  Accumulator squares(piece.sum_squares);
  VH smallest = hn::Set(DH(), piece.min);
  VH largest = hn::Set(DH(), piece.max);
  auto zeros = hn::Zero(DHI());
  auto nans = hn::Zero(DHI());
  auto finites = hn::Zero(DHI());
  const auto inf = hn::Set(DHI(), 0x7F800000);
  for (size_t i = 0; i < n; i += kSums) {
    HWY_UNROLL(4)
    for (size_t p = 0; p < kParts; ++p) {
      const VH v = hn::LoadU(DH(), values + i + p * kWidth);
      const auto bits = magnitude(v);
      const auto is_finite = hn::Gt(inf, bits);
      const auto finite = hn::RebindMask(DH(), is_finite);
      zeros = hn::Sub(zeros, hn::VecFromMask(DHI(), hn::Eq(bits, hn::Zero(DHI()))));
      nans = hn::Sub(nans, hn::VecFromMask(DHI(), hn::Gt(bits, inf)));
      finites = hn::Sub(finites, hn::VecFromMask(DHI(), is_finite));
      smallest = hn::Min(smallest, hn::IfThenElse(finite, v, smallest));
      largest = hn::Max(largest, hn::IfThenElse(finite, v, largest));
      const VD x = hn::PromoteTo(DD(), hn::IfThenElseZero(finite, v));
      sum.add(p, x);
      abs_sum.add(p, hn::Abs(x));
      squares.add(p, hn::Mul(x, x));
    }
  }
  sum.store();
  abs_sum.store();
  squares.store();
  piece.min = hn::GetLane(hn::MinOfLanes(DH(), smallest));
  piece.max = hn::GetLane(hn::MaxOfLanes(DH(), largest));
  piece.zeros += sum_of(zeros);
  piece.nans += sum_of(nans);
  piece.infs += n - sum_of(nans) - sum_of(finites);
}

AddErrorFn find_add_error() {
  return add_error;
}
AddStatsFn find_add_stats() {
  return add_stats;
}

#else
AddErrorFn find_add_error() {
  return nullptr;
}
AddStatsFn find_add_stats() {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {
namespace {

HWY_EXPORT(find_add_error);
HWY_EXPORT(find_add_stats);

void add_error_scalar(const float* original, const float* decoded, size_t n, ErrorPiece& piece) {
  piece.max_abs_error = 0.0;
  for (size_t i = 0; i < n; ++i) {
    if (!std::isfinite(original[i]) || !std::isfinite(decoded[i])) {
      ++piece.non_finite;
      continue;
    }
    const double x = original[i];
    const double y = decoded[i];
    const double e = x - y;
    const size_t lane = i % kSums;
    piece.signal[lane] += x * x;
    piece.decoded[lane] += y * y;
    piece.dot[lane] += x * y;
    piece.error[lane] += e * e;
    piece.max_abs_error = std::max(piece.max_abs_error, std::fabs(e));
  }
}

void add_stats_scalar(const float* values, size_t n, StatsPiece& piece) {
  for (size_t i = 0; i < n; ++i) {
    const float v = values[i];
    if (std::isnan(v)) {
      ++piece.nans;
    } else if (std::isinf(v)) {
      ++piece.infs;
    } else {
      if (v == 0.0f) ++piece.zeros;
      piece.min = std::min(piece.min, v);
      piece.max = std::max(piece.max, v);
      const double x = v;
      piece.sum[i % kSums] += x;
      piece.abs_sum[i % kSums] += std::fabs(x);
      piece.sum_squares[i % kSums] += x * x;
    }
  }
}

AddErrorFn add_error_fn() {
  if (simd_level() == SimdLevel::kScalar) return add_error_scalar;
  const AddErrorFn fn = HWY_DYNAMIC_DISPATCH(find_add_error)();
  return fn != nullptr ? fn : add_error_scalar;
}

AddStatsFn add_stats_fn() {
  if (simd_level() == SimdLevel::kScalar) return add_stats_scalar;
  const AddStatsFn fn = HWY_DYNAMIC_DISPATCH(find_add_stats)();
  return fn != nullptr ? fn : add_stats_scalar;
}

// Where in a piece the error first is `error`.
size_t index_of_error(const float* original, const float* decoded, double error) {
  for (size_t i = 0;; ++i) {
    const double e = static_cast<double>(original[i]) - static_cast<double>(decoded[i]);
    if (std::fabs(e) == error) return i;
  }
}

}  // namespace

void accumulate_error(const float* original, const float* decoded, size_t n, ErrorSums& sums) {
  const AddErrorFn add = add_error_fn();
  const uint64_t first = sums.elements();
  ErrorPiece piece;
  const auto look_at_largest = [&](size_t i) {
    if (piece.max_abs_error <= sums.max_abs_error) return;
    sums.max_abs_error = piece.max_abs_error;
    sums.max_error_index = first + i + index_of_error(original + i, decoded + i, piece.max_abs_error);
  };
  const size_t whole = n / kSums * kSums;
  for (size_t i = 0; i < whole; i += kPiece) {
    add(original + i, decoded + i, std::min(kPiece, whole - i), piece);
    look_at_largest(i);
  }
  if (whole < n) {
    add_error_scalar(original + whole, decoded + whole, n - whole, piece);
    look_at_largest(whole);
  }
  sums.count += n - piece.non_finite;
  sums.non_finite += piece.non_finite;
  sums.signal += total(piece.signal);
  sums.decoded += total(piece.decoded);
  sums.dot += total(piece.dot);
  sums.error += total(piece.error);
}

ErrorSums& ErrorSums::operator+=(const ErrorSums& next) {
  if (next.max_abs_error > max_abs_error) {
    max_abs_error = next.max_abs_error;
    max_error_index = elements() + next.max_error_index;
  }
  count += next.count;
  non_finite += next.non_finite;
  signal += next.signal;
  decoded += next.decoded;
  dot += next.dot;
  error += next.error;
  return *this;
}

void accumulate_stats(const float* values, size_t n, ValueStats& stats) {
  const AddStatsFn add = add_stats_fn();
  StatsPiece piece;
  const size_t whole = n / kSums * kSums;
  for (size_t i = 0; i < whole; i += kPiece) add(values + i, std::min(kPiece, whole - i), piece);
  if (whole < n) add_stats_scalar(values + whole, n - whole, piece);  // zeros would be counted
  stats += {.count = n,
            .zeros = piece.zeros,
            .nans = piece.nans,
            .infs = piece.infs,
            .sum = total(piece.sum),
            .abs_sum = total(piece.abs_sum),
            .sum_squares = total(piece.sum_squares),
            .min = piece.min + 0.0f,  // -0 becomes +0
            .max = piece.max + 0.0f};
}

ValueStats& ValueStats::operator+=(const ValueStats& next) {
  count += next.count;
  zeros += next.zeros;
  nans += next.nans;
  infs += next.infs;
  sum += next.sum;
  abs_sum += next.abs_sum;
  sum_squares += next.sum_squares;
  min = std::min(min, next.min);
  max = std::max(max, next.max);
  return *this;
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

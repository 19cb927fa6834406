#include "lobit/kernels/normalize.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <type_traits>

#include "lobit/kernels/reference_elementwise.h"
#include "lobit/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/normalize.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/common-inl.h"
#include "lobit/kernels/cpu/math-inl.h"

// Once for all targets.
#ifndef LOBIT_KERNELS_CPU_NORMALIZE_ONCE_
#define LOBIT_KERNELS_CPU_NORMALIZE_ONCE_
namespace lobit::kernels {
namespace {

// Every kernel for one target.
struct NormalizeKernels {
  void (*exp_run)(const float*, size_t, float, float*, double*);
  void (*add_exp_rows)(const float*, size_t, size_t, size_t, const float*, double*);
  void (*scale_run)(const float*, size_t, float, float*);
  void (*share_rows)(const float*, size_t, size_t, size_t, const float*, const float*, float*, Store);
  void (*subtract_run)(const float*, size_t, float, float, float*);
  void (*subtract_row)(const float*, size_t, const float*, const float*, float*);
  void (*normalize_run)(const float*, size_t, double, double, const float*, const float*, float*);
  void (*rotate_neighbours)(const float*, size_t, const float*, const float*, float*);
  void (*rotate_halves)(const float*, size_t, const float*, const float*, float*);
};

namespace scalar {

void exp_run(const float* values, size_t count, float shift, float* out, double* lanes) {
  for (size_t i = 0; i < count; ++i) {
    out[i] = reference::unary(UnaryOp::kExp, values[i] - shift);
    lanes[i % kSumLanes] += static_cast<double>(out[i]);
  }
}

void add_exp_rows(const float* values, size_t rows, size_t stride, size_t columns, const float* shifts,
                  double* sums) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < columns; ++c) {
      sums[c] += static_cast<double>(reference::unary(UnaryOp::kExp, values[r * stride + c] - shifts[c]));
    }
  }
}

void scale_run(const float* values, size_t count, float factor, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = values[i] * factor;
}

void share_rows(const float* values, size_t rows, size_t stride, size_t columns, const float* shifts,
                const float* factors, float* out, Store) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < columns; ++c) {
      const size_t i = r * stride + c;
      out[i] = reference::unary(UnaryOp::kExp, values[i] - shifts[c]) * factors[c];
    }
  }
}

void subtract_run(const float* values, size_t count, float first, float second, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = (values[i] - first) - second;
}

void subtract_row(const float* values, size_t count, const float* first, const float* second, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = (values[i] - first[i]) - second[i];
}

void normalize_run(const float* values, size_t count, double mean, double factor, const float* weights,
                   const float* biases, float* out) {
  for (size_t i = 0; i < count; ++i) {
    const auto normal = static_cast<float>((static_cast<double>(values[i]) - mean) * factor);
    const float weighted = normal * weights[i];
    out[i] = biases == nullptr ? weighted : weighted + biases[i];
  }
}

void rotate_neighbours(const float* values, size_t pairs, const float* cosines, const float* sines,
                       float* out) {
  for (size_t i = 0; i < pairs; ++i) {
    const float x = values[2 * i];
    const float y = values[2 * i + 1];
    out[2 * i] = x * cosines[i] - y * sines[i];
    out[2 * i + 1] = x * sines[i] + y * cosines[i];
  }
}

// The second half lies `half` values behind the first.
void rotate_apart(const float* values, size_t half, size_t pairs, const float* cosines, const float* sines,
                  float* out) {
  for (size_t i = 0; i < pairs; ++i) {
    const float x = values[i];
    const float y = values[i + half];
    out[i] = x * cosines[i] - y * sines[i];
    out[i + half] = x * sines[i] + y * cosines[i];
  }
}

void rotate_halves(const float* values, size_t pairs, const float* cosines, const float* sines, float* out) {
  rotate_apart(values, pairs, pairs, cosines, sines, out);
}

constexpr NormalizeKernels kKernels{exp_run,       add_exp_rows,      scale_run,
                                    share_rows,    subtract_run,      subtract_row,
                                    normalize_run, rotate_neighbours, rotate_halves};

}  // namespace scalar
}  // namespace
}  // namespace lobit::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

using DD = hn::CappedTag<double, 8>;
using DH = hn::Rebind<float, DD>;  // as many floats as DD has doubles: half a vector
using VD = hn::Vec<DD>;
using VH = hn::Vec<DH>;

constexpr size_t kWidth = HWY_LANES(float) / 2;
constexpr size_t kParts = kSumLanes / kWidth;
static_assert(kParts * kWidth == kSumLanes);

// out = exp of a pack, and sums[p] += half a vector of it each.
template <size_t kCount>
HWY_INLINE void exp_pack(const FloatPack<kCount>& x, float* out, VD* sums) {
  const FloatPack<kCount> e = HWY_NAMESPACE::exp(x);
  HWY_UNROLL(4)
  for (size_t i = 0; i < kCount; ++i) {
    hn::StoreU(e.v[i], DF(), out + i * kLanes);
    VD* const parts = sums + 2 * i % kParts;
    parts[0] = hn::Add(parts[0], hn::PromoteTo(DD(), hn::LowerHalf(DH(), e.v[i])));
    parts[1] = hn::Add(parts[1], hn::PromoteTo(DD(), hn::UpperHalf(DH(), e.v[i])));
  }
}

void exp_run(const float* values, size_t count, float shift, float* out, double* lanes) {
  constexpr size_t kVectors = kSumLanes / kLanes;
  VD sums[kParts];
  for (size_t p = 0; p < kParts; ++p) sums[p] = hn::LoadU(DD(), lanes + p * kWidth);
  size_t i = 0;
  for (; i + kPack * kLanes <= count; i += kPack * kLanes) {
    exp_pack(load_pack<kPack>(values + i) - shift, out + i, sums);
  }
  for (; i + kSumLanes <= count; i += kSumLanes) {
    exp_pack(load_pack<kVectors>(values + i) - shift, out + i, sums);
  }
  if (i < count) {
    // What fills up the last sixteen becomes 0 and does not change a sum.
    std::array<float, kSumLanes> rest;
    rest.fill(-std::numeric_limits<float>::infinity());
    std::memcpy(rest.data(), values + i, (count - i) * sizeof(float));
    exp_pack(load_pack<kVectors>(rest.data()) - shift, rest.data(), sums);
    std::memcpy(out + i, rest.data(), (count - i) * sizeof(float));
  }
  for (size_t p = 0; p < kParts; ++p) hn::StoreU(sums[p], DD(), lanes + p * kWidth);
}

template <size_t kValue>
using Number = std::integral_constant<size_t, kValue>;

// Calls use(Number<rows>, Number<vectors>, row, column) for blocks that make up the whole vectors of rows: of
// a pack, as long as there is one.
template <class Use>
HWY_INLINE void for_each_block(size_t rows, size_t columns, const Use& use) {
  size_t r = 0;
  for (; r + kPack <= rows; r += kPack) {
    for (size_t c = 0; c + kLanes <= columns; c += kLanes) use(Number<kPack>(), Number<1>(), r, c);
  }
  for (; r < rows; ++r) {
    size_t c = 0;
    for (; c + kPack * kLanes <= columns; c += kPack * kLanes) use(Number<1>(), Number<kPack>(), r, c);
    for (; c + kLanes <= columns; c += kLanes) use(Number<1>(), Number<1>(), r, c);
  }
}

// exp(values - shifts) of kRows rows of kVectors vectors; the rows behind them are asked for.
template <size_t kRows, size_t kVectors>
HWY_INLINE FloatPack<kRows * kVectors> exp_block(const float* values, size_t stride, const float* shifts) {
  FloatPack<kRows * kVectors> x;
  HWY_UNROLL(4)
  for (size_t i = 0; i < kRows * kVectors; ++i) {
    const float* const vector = values + i / kVectors * stride + i % kVectors * kLanes;
    if constexpr (kRows > 1) hwy::Prefetch(vector + kRows * stride);
    x.v[i] = hn::Sub(hn::LoadU(DF(), vector), hn::LoadU(DF(), shifts + i % kVectors * kLanes));
  }
  return HWY_NAMESPACE::exp(x);
}

template <size_t kRows, size_t kVectors>
HWY_INLINE void add_exp_block(const float* values, size_t stride, const float* shifts, double* sums) {
  const FloatPack<kRows * kVectors> e = exp_block<kRows, kVectors>(values, stride, shifts);
  HWY_UNROLL(4)
  for (size_t v = 0; v < kVectors; ++v, sums += kLanes) {
    VD low = hn::LoadU(DD(), sums);
    VD high = hn::LoadU(DD(), sums + kWidth);
    HWY_UNROLL(4)
    for (size_t r = 0; r < kRows; ++r) {
      const VF row = e.v[r * kVectors + v];
      low = hn::Add(low, hn::PromoteTo(DD(), hn::LowerHalf(DH(), row)));
      high = hn::Add(high, hn::PromoteTo(DD(), hn::UpperHalf(DH(), row)));
    }
    hn::StoreU(low, DD(), sums);
    hn::StoreU(high, DD(), sums + kWidth);
  }
}

void add_exp_rows(const float* values, size_t rows, size_t stride, size_t columns, const float* shifts,
                  double* sums) {
  for_each_block(rows, columns, [&](auto block_rows, auto block_vectors, size_t r, size_t c) HWY_ATTR {
    add_exp_block<block_rows, block_vectors>(values + r * stride + c, stride, shifts + c, sums + c);
  });
  const size_t whole = columns - columns % kLanes;
  scalar::add_exp_rows(values + whole, rows, stride, columns - whole, shifts + whole, sums + whole);
}

template <size_t kRows, size_t kVectors>
HWY_INLINE void share_block(const float* values, size_t stride, const float* shifts, const float* factors,
                            bool past_caches, float* out) {
  const FloatPack<kRows * kVectors> e = exp_block<kRows, kVectors>(values, stride, shifts);
  HWY_UNROLL(4)
  for (size_t i = 0; i < kRows * kVectors; ++i) {
    const size_t column = i % kVectors * kLanes;
    const VF share = hn::Mul(e.v[i], hn::LoadU(DF(), factors + column));
    float* const to = out + i / kVectors * stride + column;
    past_caches ? hn::Stream(share, DF(), to) : hn::StoreU(share, DF(), to);
  }
}

void share_rows(const float* values, size_t rows, size_t stride, size_t columns, const float* shifts,
                const float* factors, float* out, Store store) {
  const bool aligned = (reinterpret_cast<uintptr_t>(out) | (stride * sizeof(float))) % sizeof(VF) == 0;
  const bool past_caches = store == Store::kPastCaches && aligned;
  for_each_block(rows, columns, [&](auto block_rows, auto block_vectors, size_t r, size_t c) HWY_ATTR {
    const size_t at = r * stride + c;
    share_block<block_rows, block_vectors>(values + at, stride, shifts + c, factors + c, past_caches,
                                           out + at);
  });
  const size_t whole = columns - columns % kLanes;
  scalar::share_rows(values + whole, rows, stride, columns - whole, shifts + whole, factors + whole,
                     out + whole, store);
}

void scale_run(const float* values, size_t count, float factor, float* out) {
  const VF by = hn::Set(DF(), factor);
  const size_t whole = count - count % kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(DF(), values + i), by), DF(), out + i);
  }
  scalar::scale_run(values + whole, count - whole, factor, out + whole);
}

void subtract_run(const float* values, size_t count, float first, float second, float* out) {
  const VF a = hn::Set(DF(), first);
  const VF b = hn::Set(DF(), second);
  const size_t whole = count - count % kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    hn::StoreU(hn::Sub(hn::Sub(hn::LoadU(DF(), values + i), a), b), DF(), out + i);
  }
  scalar::subtract_run(values + whole, count - whole, first, second, out + whole);
}

void subtract_row(const float* values, size_t count, const float* first, const float* second, float* out) {
  const size_t whole = count - count % kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    const VF apart = hn::Sub(hn::LoadU(DF(), values + i), hn::LoadU(DF(), first + i));
    hn::StoreU(hn::Sub(apart, hn::LoadU(DF(), second + i)), DF(), out + i);
  }
  scalar::subtract_row(values + whole, count - whole, first + whole, second + whole, out + whole);
}

template <bool kBiased>
HWY_INLINE void normalize_vectors(const float* values, size_t whole, VD mean, VD factor, const float* weights,
                                  const float* biases, float* out) {
  for (size_t i = 0; i < whole; i += kWidth) {
    const VD x = hn::PromoteTo(DD(), hn::LoadU(DH(), values + i));
    const VH normal = hn::DemoteTo(DH(), hn::Mul(hn::Sub(x, mean), factor));
    VH result = hn::Mul(normal, hn::LoadU(DH(), weights + i));
    if constexpr (kBiased) result = hn::Add(result, hn::LoadU(DH(), biases + i));
    hn::StoreU(result, DH(), out + i);
  }
}

void normalize_run(const float* values, size_t count, double mean, double factor, const float* weights,
                   const float* biases, float* out) {
  const VD means = hn::Set(DD(), mean);
  const VD factors = hn::Set(DD(), factor);
  const size_t whole = count - count % kWidth;
  if (biases == nullptr) {
    normalize_vectors<false>(values, whole, means, factors, weights, biases, out);
  } else {
    normalize_vectors<true>(values, whole, means, factors, weights, biases, out);
  }
  scalar::normalize_run(values + whole, count - whole, mean, factor, weights + whole,
                        biases == nullptr ? nullptr : biases + whole, out + whole);
}

void rotate_neighbours(const float* values, size_t pairs, const float* cosines, const float* sines,
                       float* out) {
  const size_t whole = pairs - pairs % kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    VF x;
    VF y;
    hn::LoadInterleaved2(DF(), values + 2 * i, x, y);
    const VF c = hn::LoadU(DF(), cosines + i);
    const VF s = hn::LoadU(DF(), sines + i);
    hn::StoreInterleaved2(hn::Sub(hn::Mul(x, c), hn::Mul(y, s)), hn::Add(hn::Mul(x, s), hn::Mul(y, c)), DF(),
                          out + 2 * i);
  }
  scalar::rotate_neighbours(values + 2 * whole, pairs - whole, cosines + whole, sines + whole,
                            out + 2 * whole);
}

void rotate_halves(const float* values, size_t pairs, const float* cosines, const float* sines, float* out) {
  const size_t whole = pairs - pairs % kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    const VF x = hn::LoadU(DF(), values + i);
    const VF y = hn::LoadU(DF(), values + i + pairs);
    const VF c = hn::LoadU(DF(), cosines + i);
    const VF s = hn::LoadU(DF(), sines + i);
    hn::StoreU(hn::Sub(hn::Mul(x, c), hn::Mul(y, s)), DF(), out + i);
    hn::StoreU(hn::Add(hn::Mul(x, s), hn::Mul(y, c)), DF(), out + i + pairs);
  }
  scalar::rotate_apart(values + whole, pairs, pairs - whole, cosines + whole, sines + whole, out + whole);
}

const NormalizeKernels* find_normalize() {
  static constexpr NormalizeKernels kKernels{exp_run,       add_exp_rows,      scale_run,
                                             share_rows,    subtract_run,      subtract_row,
                                             normalize_run, rotate_neighbours, rotate_halves};
  return &kKernels;
}

#else
const NormalizeKernels* find_normalize() {
  return &scalar::kKernels;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {
namespace {

HWY_EXPORT(find_normalize);

const NormalizeKernels& kernels_in_use() {
  if (simd_level() == SimdLevel::kScalar) return scalar::kKernels;
  return *HWY_DYNAMIC_DISPATCH(find_normalize)();
}

}  // namespace

void exp_run(const float* values, size_t count, float shift, float* out, SumLanes& lanes) {
  kernels_in_use().exp_run(values, count, shift, out, lanes.data());
}

void add_exp_rows(const float* values, size_t rows, size_t stride, size_t columns, const float* shifts,
                  double* sums) {
  kernels_in_use().add_exp_rows(values, rows, stride, columns, shifts, sums);
}

void scale_run(const float* values, size_t count, float factor, float* out) {
  kernels_in_use().scale_run(values, count, factor, out);
}

void share_rows(const float* values, size_t rows, size_t stride, size_t columns, const float* shifts,
                const float* factors, float* out, Store store) {
  kernels_in_use().share_rows(values, rows, stride, columns, shifts, factors, out, store);
}

void subtract_run(const float* values, size_t count, float first, float second, float* out) {
  kernels_in_use().subtract_run(values, count, first, second, out);
}

void subtract_row(const float* values, size_t count, const float* first, const float* second, float* out) {
  kernels_in_use().subtract_row(values, count, first, second, out);
}

void normalize_run(const float* values, size_t count, double mean, double factor, const float* weights,
                   const float* biases, float* out) {
  kernels_in_use().normalize_run(values, count, mean, factor, weights, biases, out);
}

void rotate_neighbours(const float* values, size_t pairs, const float* cosines, const float* sines,
                       float* out) {
  kernels_in_use().rotate_neighbours(values, pairs, cosines, sines, out);
}

void rotate_halves(const float* values, size_t pairs, const float* cosines, const float* sines, float* out) {
  kernels_in_use().rotate_halves(values, pairs, cosines, sines, out);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

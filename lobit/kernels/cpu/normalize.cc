#include "lobit/kernels/normalize.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

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
  void (*exp_row)(const float*, size_t, const float*, float*, double*);
  void (*scale_run)(const float*, size_t, float, float*);
  void (*scale_row)(const float*, size_t, const float*, float*);
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

void exp_row(const float* values, size_t count, const float* shifts, float* out, double* sums) {
  for (size_t i = 0; i < count; ++i) {
    out[i] = reference::unary(UnaryOp::kExp, values[i] - shifts[i]);
    sums[i] += static_cast<double>(out[i]);
  }
}

void scale_run(const float* values, size_t count, float factor, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = values[i] * factor;
}

void scale_row(const float* values, size_t count, const float* factors, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = values[i] * factors[i];
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

constexpr NormalizeKernels kKernels{exp_run,       exp_row,           scale_run,
                                    scale_row,     subtract_run,      subtract_row,
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

template <size_t kCount>
HWY_INLINE void exp_row_pack(const float* values, const float* shifts, float* out, double* sums) {
  const FloatPack<kCount> e = HWY_NAMESPACE::exp(load_pack<kCount>(values) - load_pack<kCount>(shifts));
  HWY_UNROLL(4)
  for (size_t i = 0; i < kCount; ++i, sums += kLanes) {
    hn::StoreU(e.v[i], DF(), out + i * kLanes);
    const VD low = hn::PromoteTo(DD(), hn::LowerHalf(DH(), e.v[i]));
    const VD high = hn::PromoteTo(DD(), hn::UpperHalf(DH(), e.v[i]));
    hn::StoreU(hn::Add(hn::LoadU(DD(), sums), low), DD(), sums);
    hn::StoreU(hn::Add(hn::LoadU(DD(), sums + kWidth), high), DD(), sums + kWidth);
  }
}

void exp_row(const float* values, size_t count, const float* shifts, float* out, double* sums) {
  size_t i = 0;
  for (; i + kPack * kLanes <= count; i += kPack * kLanes) {
    exp_row_pack<kPack>(values + i, shifts + i, out + i, sums + i);
  }
  for (; i + kLanes <= count; i += kLanes) exp_row_pack<1>(values + i, shifts + i, out + i, sums + i);
  scalar::exp_row(values + i, count - i, shifts + i, out + i, sums + i);
}

void scale_run(const float* values, size_t count, float factor, float* out) {
  const VF by = hn::Set(DF(), factor);
  const size_t whole = count - count % kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(DF(), values + i), by), DF(), out + i);
  }
  scalar::scale_run(values + whole, count - whole, factor, out + whole);
}

void scale_row(const float* values, size_t count, const float* factors, float* out) {
  const size_t whole = count - count % kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(DF(), values + i), hn::LoadU(DF(), factors + i)), DF(), out + i);
  }
  scalar::scale_row(values + whole, count - whole, factors + whole, out + whole);
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
  static constexpr NormalizeKernels kKernels{exp_run,       exp_row,           scale_run,
                                             scale_row,     subtract_run,      subtract_row,
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

void exp_row(const float* values, size_t count, const float* shifts, float* out, double* sums) {
  kernels_in_use().exp_row(values, count, shifts, out, sums);
}

void scale_run(const float* values, size_t count, float factor, float* out) {
  kernels_in_use().scale_run(values, count, factor, out);
}

void scale_row(const float* values, size_t count, const float* factors, float* out) {
  kernels_in_use().scale_row(values, count, factors, out);
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

// Operations on each value of F32 runs, and those of two runs for halves too, with runtime SIMD dispatch.
// Kernels know pointers and counts only; they do not allocate, do not fail and may run on any number of
// threads. `out` may be an input (in place); otherwise the runs do not overlap. No pointer needs alignment at
// a SIMD level; the scalar level wants numbers where numbers of their size may lie. The default
// floating-point environment is expected (ScopedFpEnv).
//
// Every level gives the same bits, wherever a run begins or is cut: there is no fused multiply-add, and the
// functions are lobit's own, defined by lobit/kernels/reference_elementwise.h. A NaN may be another NaN.
//
// Largest errors against the exact result, in units of its last place (ulp), subnormals included:
//   add, sub, mul, div, sqrt      0.5 (rounded to nearest even, as IEEE 754 says)
//   exp, log, rsqrt               1.5
//   tanh, sigmoid                 3
//   gelu, gelu_tanh, silu         for x >= 0 6; for x < 0, where the result falls off like an exponential
//                                 function, a share of 2^-22 (4 + x^2) of it and 2^-140
// Values without end: exp(-inf) = 0, log(0) = -inf, log of less than -0 is NaN, rsqrt(0) = inf and
// rsqrt(-0) = -inf, silu and both gelu of -inf are -0. NaN gives NaN everywhere, also in min, max (as NumPy's
// minimum and maximum), relu and clamp; comparisons with it are false, != is true.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lobit/base/export.h"
#include "lobit/dtype/encoding.h"

namespace lobit::kernels {

enum class BinaryOp : uint8_t { kAdd, kSub, kMul, kDiv, kMin, kMax };
inline constexpr size_t kBinaryOps = 6;

enum class UnaryOp : uint8_t {
  kNeg,
  kAbs,
  kExp,
  kLog,
  kSqrt,
  kRsqrt,  // 1 / sqrt(x)
  kTanh,
  kSigmoid,      // 1 / (1 + exp(-x))
  kSilu,         // x * sigmoid(x)
  kGelu,         // x * (1 + erf(x / sqrt(2))) / 2
  kGeluTanh,     // x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2
  kRelu,         // 0 for x < 0, else x
  kSquaredRelu,  // relu(x)^2
};
inline constexpr size_t kUnaryOps = 13;

enum class CompareOp : uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };
inline constexpr size_t kCompareOps = 6;

// `count` values, or one that stands for all of them.
template <typename T>
struct Run {
  const T* values = nullptr;
  bool repeats = false;
};

// Where results are stored. Past the caches, lines of `out` are not read before they are written: faster for
// outputs that no cache holds, slower for others and in place. Other threads may see such results only after
// the one that made them called flush_stores(), which takes so long that it is not done for every run.
enum class Store : uint8_t { kCached, kPastCaches };
LOBIT_API void flush_stores();

// F16 or BF16 values, or one number for all of them.
struct HalfRun {
  const uint16_t* values = nullptr;
  float number = 0.0f;  // without values
};

using BinaryFn = void (*)(Run<float> a, Run<float> b, float* out, size_t count, Store store);
// The same for values of one half format: computed in F32, and rounded as the codecs round.
using HalfBinaryFn = void (*)(HalfRun a, HalfRun b, uint16_t* out, size_t count, Store store);
using UnaryFn = void (*)(const float* values, float* out, size_t count, Store store);
// `low` for values below it, `high` for values above it.
using ClampFn = void (*)(const float* values, float low, float high, float* out, size_t count, Store store);
// 1 where it holds, else 0.
using CompareFn = void (*)(Run<float> a, Run<float> b, uint8_t* out, size_t count);
// a where the mask is not 0, else b.
using SelectFn = void (*)(Run<uint8_t> mask, Run<float> a, Run<float> b, float* out, size_t count,
                          Store store);

// The kernels for the SIMD level in use.
LOBIT_API BinaryFn binary_kernel(BinaryOp op);
// `format` is kF16 or kBF16.
LOBIT_API HalfBinaryFn half_binary_kernel(BinaryOp op, Encoding format);
LOBIT_API UnaryFn unary_kernel(UnaryOp op);
LOBIT_API ClampFn clamp_kernel();
LOBIT_API CompareFn compare_kernel(CompareOp op);
LOBIT_API SelectFn select_kernel();

}  // namespace lobit::kernels

// What softmax, the norms and rotary embedding do to F32 values, with runtime SIMD dispatch. Every SIMD level
// gives the same bits: nothing is fused, sums are those of lobit/kernels/reduce.h, and exp is that of
// lobit/kernels/elementwise.h.
//
// A run belongs to one result of a reduction, so that its values share a shift or a factor; in a row each
// value has its own. Results may be written over the values that they are made of, and nowhere else among
// them. Kernels know pointers and counts only; they do not allocate, do not fail and may run on any number of
// threads. Values need only the alignment of float. The default floating-point environment is expected
// (ScopedFpEnv).
#pragma once

#include <cstddef>

#include "lobit/base/export.h"
#include "lobit/kernels/elementwise.h"
#include "lobit/kernels/reduce.h"

namespace lobit::kernels {

// out = exp(values - shift), which is added to the run's lanes as add_run() does. `shift` is above -inf.
LOBIT_API void exp_run(const float* values, size_t count, float shift, float* out, SumLanes& lanes);
// The same sums for `rows` rows of `columns` values, `stride` values apart, with a shift and a sum for each
// column, to which rows are added one after the other.
LOBIT_API void add_exp_rows(const float* values, size_t rows, size_t stride, size_t columns,
                            const float* shifts, double* sums);

// out = values * factor.
LOBIT_API void scale_run(const float* values, size_t count, float factor, float* out);
// out = exp(values - shifts) * factors for such rows, which are `stride` values apart in `out` too. What is
// stored past the caches other threads see after flush_stores().
LOBIT_API void share_rows(const float* values, size_t rows, size_t stride, size_t columns,
                          const float* shifts, const float* factors, float* out, Store store);

// out = (values - first) - second.
LOBIT_API void subtract_run(const float* values, size_t count, float first, float second, float* out);
LOBIT_API void subtract_row(const float* values, size_t count, const float* first, const float* second,
                            float* out);

// out = (values - mean) * factor, in F64, rounded, then * weights + biases in F32. No biases: nullptr.
LOBIT_API void normalize_run(const float* values, size_t count, double mean, double factor,
                             const float* weights, const float* biases, float* out);

// Turns points (values[2i], values[2i + 1]) by the angles of which the cosines and sines are given.
LOBIT_API void rotate_neighbours(const float* values, size_t pairs, const float* cosines, const float* sines,
                                 float* out);
// Turns points (values[i], values[i + pairs]).
LOBIT_API void rotate_halves(const float* values, size_t pairs, const float* cosines, const float* sines,
                             float* out);

}  // namespace lobit::kernels

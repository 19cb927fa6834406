// The frame of the products of weight rows with a few rows of activations. Four rows of weights that lie a
// quarter of the call's rows apart are walked together: four far streams use more of the memory's channels
// than one or than four neighbours. Included once per target.
#if defined(LOBIT_KERNELS_CPU_ROW_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_ROW_PRODUCTS_INL_H_
#undef LOBIT_KERNELS_CPU_ROW_PRODUCTS_INL_H_
#else
#define LOBIT_KERNELS_CPU_ROW_PRODUCTS_INL_H_
#endif

#include <algorithm>

#include "lobit/kernels/cpu/common-inl.h"
#include "lobit/kernels/matmul.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

inline constexpr size_t kStreams = 4;
inline constexpr size_t kMostTogether = 4;  // rows of activations that one pass over the weights serves

// The weights of one pass, and what they are multiplied with.
template <size_t kRows>
struct RowPass {
  const uint8_t* weights[kRows];
  const uint8_t* activations;  // the first row
  size_t activation_stride;
  size_t depth;
};

// kernel.run(pass, sums) gives sums[r][m], a tile of kRows x kActivations results; kRows is kStreams or 1.
template <size_t kRows, size_t kActivations, class Kernel>
HWY_INLINE void run_tile(const Kernel& kernel, RowPass<kRows> pass, const RowProducts& p, size_t row,
                         size_t row_step, size_t m) {
  float sums[kRows][kActivations];
  pass.activations = static_cast<const uint8_t*>(p.activations) + m * p.activation_stride;
  kernel.run(pass, sums);
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t a = 0; a < kActivations; ++a) {
      p.out[(m + a) * p.out_stride + row + r * row_step] = sums[r][a];
    }
  }
}

template <size_t kRows, class Kernel>
HWY_INLINE void run_rows(const Kernel& kernel, const RowProducts& p, size_t row, size_t row_step) {
  RowPass<kRows> pass{};
  const auto* weights = static_cast<const uint8_t*>(p.weights);
  for (size_t r = 0; r < kRows; ++r) pass.weights[r] = weights + (row + r * row_step) * p.weight_stride;
  pass.activation_stride = p.activation_stride;
  pass.depth = p.depth;
  size_t m = 0;
  for (; m + kMostTogether <= p.activation_rows; m += kMostTogether) {
    run_tile<kRows, kMostTogether>(kernel, pass, p, row, row_step, m);
  }
  if (p.activation_rows - m == 3) run_tile<kRows, 3>(kernel, pass, p, row, row_step, m);
  if (p.activation_rows - m == 2) run_tile<kRows, 2>(kernel, pass, p, row, row_step, m);
  if (p.activation_rows - m == 1) run_tile<kRows, 1>(kernel, pass, p, row, row_step, m);
}

// RowProductsFn of a Kernel, which is made from the call.
template <class Kernel>
void multiply_rows(const RowProducts& p) {
  const Kernel kernel(p);
  const size_t quarter = p.weight_rows / kStreams;
  for (size_t row = 0; row < quarter; ++row) run_rows<kStreams>(kernel, p, row, quarter);
  for (size_t row = quarter * kStreams; row < p.weight_rows; ++row) run_rows<1>(kernel, p, row, 0);
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

// OpenBLAS, taken at run time from the shared library that NumPy brings, so that the benchmark builds without
// it and both are measured in one process. One thread.
#pragma once

#include <cstdint>
#include <string>

#include "lobit/base/result.h"

namespace lobit::bench {

class BlasPeer {
 public:
  // Opens a library with 64-bit integers and scipy's names. It stays open until the program ends.
  static Result<BlasPeer> open(const std::string& path);

  // out[m][n] = a[m][k] * b[n][k]^T, rows one after the other.
  void multiply(const float* a, const float* b, float* out, int64_t m, int64_t n, int64_t k) const;
  // out[n] = b[n][k] * x[k]
  void multiply_vector(const float* b, const float* x, float* out, int64_t n, int64_t k) const;

 private:
  using Sgemm = void (*)(int order, int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k,
                         float alpha, const float* a, int64_t a_stride, const float* b, int64_t b_stride,
                         float beta, float* out, int64_t out_stride);
  using Sgemv = void (*)(int order, int transpose, int64_t m, int64_t n, float alpha, const float* a,
                         int64_t a_stride, const float* x, int64_t x_step, float beta, float* y,
                         int64_t y_step);

  BlasPeer() = default;
  Sgemm sgemm_ = nullptr;
  Sgemv sgemv_ = nullptr;
};

}  // namespace lobit::bench

#include "bench/ops/blas_peer.h"

#include <dlfcn.h>

namespace lobit::bench {
namespace {

// CBLAS_ORDER and CBLAS_TRANSPOSE.
constexpr int kRowMajor = 101;
constexpr int kAsItIs = 111;
constexpr int kTransposed = 112;

template <typename Function>
Status find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) return fail(ErrorCode::kUnsupported, std::string("OpenBLAS lacks ") + name);
  return {};
}

}  // namespace

Result<BlasPeer> BlasPeer::open(const std::string& path) {
  void* library = path.empty() ? nullptr : dlopen(path.c_str(), RTLD_NOW);
  if (library == nullptr) {
    return fail(ErrorCode::kNotFound, path.empty() ? "NumPy is not installed" : std::string(dlerror()));
  }
  BlasPeer peer;
  void (*set_threads)(int) = nullptr;
  LOBIT_RETURN_IF_ERROR(find(library, "scipy_cblas_sgemm64_", peer.sgemm_));
  LOBIT_RETURN_IF_ERROR(find(library, "scipy_cblas_sgemv64_", peer.sgemv_));
  LOBIT_RETURN_IF_ERROR(find(library, "scipy_openblas_set_num_threads64_", set_threads));
  set_threads(1);
  return peer;
}

void BlasPeer::multiply(const float* a, const float* b, float* out, int64_t m, int64_t n, int64_t k) const {
  sgemm_(kRowMajor, kAsItIs, kTransposed, m, n, k, 1.0f, a, k, b, k, 0.0f, out, n);
}

void BlasPeer::multiply_vector(const float* b, const float* x, float* out, int64_t n, int64_t k) const {
  sgemv_(kRowMajor, kAsItIs, n, k, 1.0f, b, k, x, 1, 0.0f, out, 1);
}

}  // namespace lobit::bench

// lobit_bench_matmul: times matrix products on one thread beside OpenBLAS, ggml's dot products and the
// memory, and prints a JSON object. Run by script/bench ops, which describes the figures.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/kernels/ggml_peer.h"
#include "bench/kernels/limits.h"
#include "bench/kernels/sampling.h"
#include "bench/ops/blas_peer.h"
#include "bench/program.h"
#include "bench/simd_option.h"
#include <nlohmann/json.hpp>

#include "lobit/lobit.h"

namespace lobit::bench {
namespace {

// What cannot fail here: the sizes are fixed.
template <typename T>
T sure(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "lobit_bench_matmul: %s\n", result.error().message.c_str());
  std::exit(1);
}
void sure(const Status& status) {
  if (status) return;
  std::fprintf(stderr, "lobit_bench_matmul: %s\n", status.error().message.c_str());
  std::exit(1);
}

constexpr ops::MatmulOptions kWeights{.transpose_b = ops::TransposeB::kYes};
constexpr ops::MatmulOptions kInt8{.transpose_b = ops::TransposeB::kYes,
                                   .activations = ops::ActivationType::kInt8};

class MatmulBench {
 public:
  MatmulBench(const Sampling& sampling, std::string only, const std::string& ggml, const std::string& blas)
      : sampling_(sampling), only_(std::move(only)) {
    if (Result<GgmlPeer> peer = GgmlPeer::open(ggml)) ggml_ = *peer;
    if (Result<BlasPeer> peer = BlasPeer::open(blas)) blas_ = *peer;
  }

  nlohmann::json run(bool quick) {
    for (const int64_t n : {64, 256, 512, 1024, 2048}) {
      if (!quick || n < 2048) square(n);
    }
    few_rows(32);
    using enum Encoding;
    for (const Encoding weights : {kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_K, kQ2_0, kQ1_0, kTQ2_0, kTQ1_0}) {
      vector(weights, false);
      if (kernels::int8_activations(weights) != nullptr) vector(weights, true);
    }
    return {{"simd", simd_level_name(simd_level())}, {"cases", cases_}};
  }

 private:
  Tensor random(int64_t rows, int64_t columns) {
    return sure(Tensor::random(sure(Shape::create({rows, columns})), DType::kF32, *pool_,
                               {.distribution = Distribution::kNormal}));
  }

  bool wanted(const std::string& name) const { return name.find(only_) != std::string::npos; }

  // `work` in the unit's own measure: operations or bytes.
  void add(const std::string& name, const char* metric, const char* unit, double work,
           std::vector<Contestant> contestants) {
    std::fprintf(stderr, "%s\n", name.c_str());
    sample_in_turns(contestants, sampling_);
    nlohmann::json found = {{"case", name}, {"metric", metric}, {"unit", unit}, {"work", work}};
    for (const Contestant& contestant : contestants) found["seconds"][contestant.name] = contestant.seconds;
    cases_.push_back(found);
  }

  void product(const std::string& name, int64_t m, int64_t n, int64_t k) {
    if (!wanted(name)) return;
    const Tensor a = random(m, k);
    const Tensor b = random(n, k);
    Tensor out = random(m, n);
    std::vector<Contestant> contestants = {
        {"ours", [&] { sure(ops::matmul(a, b, out, context_, kWeights)); }}};
    std::vector<float> sums(static_cast<size_t>(m * n));
    if (blas_) {
      const float* x = sure(a.values<float>()).data();
      const float* y = sure(b.values<float>()).data();
      contestants.push_back({"openblas", [&, x, y] { blas_->multiply(x, y, sums.data(), m, n, k); }});
    }
    const double operations = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
    add(name, "product of F32 matrices", "GFLOP/s", operations, std::move(contestants));
  }

  void square(int64_t n) {
    const std::string size = std::to_string(n);
    product("f32 " + size + " x " + size + " x " + size, n, n, n);
  }

  void few_rows(int64_t m) { product("f32 " + std::to_string(m) + " x 4096 x 4096", m, 4096, 4096); }

  // More than the caches hold. Rows are copies of the first few, which no kernel can know.
  Tensor weights_of(Encoding encoding, Buffer& memory) {
    constexpr size_t kTargetBytes = size_t{96} << 20;
    constexpr size_t kOwnRows = 32;
    const size_t row_bytes = static_cast<size_t>(encoded_bytes(encoding, kDepth).value());
    const size_t rows = kTargetBytes / row_bytes / 64 * 64;
    memory = sure(Buffer::allocate(*pool_, rows * row_bytes));
    const std::span<std::byte> bytes = memory.bytes();
    std::ranges::fill(bytes, std::byte{0x21});
    const Tensor own = random(kOwnRows, kDepth);
    const float* values = sure(own.values<float>()).data();
    if (const kernels::EncodeFn encode = kernels::encoder(Encoding::kF32, encoding)) {
      encode(values, bytes.data(), kOwnRows * kDepth);
    } else if (encoding == Encoding::kF32) {
      std::copy_n(reinterpret_cast<const std::byte*>(values), kOwnRows * row_bytes, bytes.begin());
    }
    for (size_t at = kOwnRows * row_bytes; at < bytes.size(); ++at)
      bytes[at] = bytes[at - kOwnRows * row_bytes];
    const int64_t extents[] = {static_cast<int64_t>(rows), kDepth};
    return sure(Tensor::borrow(bytes, sure(Shape::create(extents)), ValueFormat{encoding}, *pool_));
  }

  void vector(Encoding encoding, bool int8) {
    const std::string name = std::string(encoding_name(encoding)) + " weights, " + (int8 ? "int8" : "f32");
    if (!wanted(name)) return;
    Buffer bytes;
    const Tensor b = weights_of(encoding, bytes);
    const Tensor a = random(1, kDepth);
    const auto rows = static_cast<size_t>(b.shape()[0]);
    Tensor out = random(1, b.shape()[0]);
    const float* x = sure(a.values<float>()).data();
    std::vector<float> sums(rows);
    std::vector<Contestant> contestants = {
        {"ours", [&] { sure(ops::matmul(a, b, out, context_, int8 ? kInt8 : kWeights)); }},
        {"memory", [&] { read_all(bytes.data(), bytes.size() / 1024 * 1024); }}};
    if (ggml_ && ggml_->dot(encoding) != nullptr) {
      contestants.push_back({"ggml", [&] { ggml_rows(encoding, x, bytes.bytes(), sums); }});
    }
    if (blas_ && encoding == Encoding::kF32) {
      const auto* y = reinterpret_cast<const float*>(bytes.data());
      contestants.push_back({"openblas", [&, y] {
                               blas_->multiply_vector(y, x, sums.data(), static_cast<int64_t>(rows), kDepth);
                             }});
    }
    add(name, "product with a vector", "GB/s of weights", static_cast<double>(bytes.size()),
        std::move(contestants));
  }

  void ggml_rows(Encoding encoding, const float* x, std::span<const std::byte> bytes,
                 std::vector<float>& sums) const {
    std::vector<float> activations(kDepth);
    ggml_->convert_activations(encoding, x, activations.data(), kDepth);
    const size_t row_bytes = bytes.size() / sums.size();
    const GgmlPeer::Dot dot = ggml_->dot(encoding);
    for (size_t row = 0; row < sums.size(); ++row) {
      dot(kDepth, &sums[row], 0, bytes.data() + row * row_bytes, 0, activations.data(), 0, 1);
    }
  }

  static constexpr int64_t kDepth = 4096;

  const Sampling sampling_;
  const std::string only_;  // part of a case's name
  std::optional<GgmlPeer> ggml_;
  std::optional<BlasPeer> blas_;
  std::unique_ptr<HybridMemoryPool> pool_ = sure(HybridMemoryPool::create());
  OpContext context_{.memory = pool_.get()};
  nlohmann::json cases_ = nlohmann::json::array();
};

int run(const std::vector<std::string>& arguments) {
  std::string ggml;
  std::string blas;
  std::string only;
  std::string simd;
  bool quick = false;
  const Option known[] = {
      {"--peer", &ggml}, {"--blas", &blas}, {"--only", &only}, {"--simd", &simd}, {"--quick", &quick}};
  if (!read_options(arguments, known) || !choose_simd(simd)) {
    std::fprintf(stderr,
                 "usage: lobit_bench_matmul [--peer FOLDER] [--blas LIBRARY] [--only PART] [--simd LEVEL] "
                 "[--quick]\n");
    return 2;
  }
  return print_result(MatmulBench({.rounds = quick ? 3u : 9u}, only, ggml, blas).run(quick));
}

}  // namespace
}  // namespace lobit::bench

int main(int argc, char** argv) {
  return lobit::bench::run({argv + 1, argv + argc});
}

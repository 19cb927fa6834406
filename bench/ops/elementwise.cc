// lobit_bench_elementwise: times operations on each value of tensors that the caches hold and of tensors that
// they do not, beside the kernels alone and what the memory allows, and prints a JSON object: "cases", each
// with its name, the bytes that it must move, and the seconds of a call for every contestant. One thread
// unless --threads says more.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "bench/kernels/limits.h"
#include "bench/kernels/sampling.h"
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
  std::fprintf(stderr, "lobit_bench_elementwise: %s\n", result.error().message.c_str());
  std::exit(1);
}

class ElementwiseBench {
 public:
  ElementwiseBench(const Sampling& sampling, std::string only, size_t threads)
      : sampling_(sampling), only_(std::move(only)), threads_(sure(ThreadPool::create(threads))) {
    context_.memory = pool_.get();
    context_.threads = &threads_;
  }

  nlohmann::json run() {
    // Rows and columns for the first cache, the second, and none.
    const int64_t sizes[][2] = {{8, 128}, {128, 256}, {4096, 4096}};
    for (const auto& [rows, columns] : sizes) {
      both_ways(rows, columns);
      broadcasts(rows, columns);
      formats(rows, columns);
      functions(rows, columns);
    }
    return {{"simd", simd_level_name(simd_level())}, {"cases", cases_}};
  }

 private:
  // The limits are those of what NumPy gets.
  Tensor values(int64_t rows, int64_t columns, DType type = DType::kF32) {
    return sure(Tensor::random(sure(Shape::create({rows, columns})), type, *pool_, {.low = 0.1f}));
  }

  void add(const std::string& name, const Tensor& out, std::vector<Contestant> contestants, uint64_t read) {
    const std::string title = name + ", " + out.shape().to_string();
    if (title.find(only_) == std::string::npos) return;
    sample_in_turns(contestants, sampling_);
    nlohmann::json found{
        {"case", title}, {"metric", "bytes"}, {"unit", "GB/s"}, {"work", read + out.size_bytes()}};
    for (const Contestant& contestant : contestants) found["seconds"][contestant.name] = contestant.seconds;
    cases_.push_back(found);
  }

  // A contestant that is an operation to be given `out`.
  template <typename Call>
  Contestant into(const Call& call) {
    return {"ours", [call] {
              if (const Status done = call(); !done) {
                std::fprintf(stderr, "lobit_bench_elementwise: %s\n", done.error().message.c_str());
                std::exit(1);
              }
            }};
  }

  void both_ways(int64_t rows, int64_t columns) {
    const Tensor a = values(rows, columns);
    const Tensor b = values(rows, columns);
    Tensor out = values(rows, columns);
    Tensor own = values(rows, columns);
    const float* const left = sure(a.values<float>()).data();
    const float* const right = sure(b.values<float>()).data();
    float* const to = sure(out.mutable_values<float>()).data();
    const size_t count = out.elements();
    const kernels::BinaryFn kernel = kernels::binary_kernel(kernels::BinaryOp::kAdd);
    std::vector<Contestant> contestants{
        into([&] { return ops::add(a, b, out, context_); }),
        {"new tensor", [&] { static_cast<void>(sure(ops::add(a, b, context_))); }},
        {"kernel", [=] { kernel({left}, {right}, to, count, kernels::Store::kCached); }},
        {"kernel past caches", [=] { kernel({left}, {right}, to, count, kernels::Store::kPastCaches); }},
        {"memory", [=] {
           read_all(left, count * sizeof(float));
           read_all(right, count * sizeof(float));
           fill_all(to, count * sizeof(float));
         }}};
    add("a + b", out, std::move(contestants), 2 * out.size_bytes());
    add("a += b", own, {into([&] { return ops::add(own, b, own, context_); })}, 2 * out.size_bytes());
    const Tensor turned = sure(values(columns, rows).transpose());
    add("a + transposed b", out, {into([&] { return ops::add(a, turned, out, context_); })},
        2 * out.size_bytes());
  }

  void broadcasts(int64_t rows, int64_t columns) {
    const Tensor a = values(rows, columns);
    const Tensor row = values(1, columns);
    const Tensor column = values(rows, 1);
    Tensor out = values(rows, columns);
    add("a + row", out, {into([&] { return ops::add(a, row, out, context_); })}, a.size_bytes());
    add("a + column", out, {into([&] { return ops::add(a, column, out, context_); })}, a.size_bytes());
    add("a + 1", out, {into([&] { return ops::add(a, 1.0f, out, context_); })}, a.size_bytes());
  }

  void formats(int64_t rows, int64_t columns) {
    for (const DType type : {DType::kF16, DType::kBF16}) {
      const Tensor a = values(rows, columns, type);
      const Tensor b = values(rows, columns, type);
      Tensor out = values(rows, columns, type);
      add("a + b in " + std::string(dtype_name(type)), out,
          {into([&] { return ops::add(a, b, out, context_); })}, 2 * a.size_bytes());
    }
    const Tensor a = values(rows, columns);
    const Tensor b = sure(Tensor::random(a.shape(), Encoding::kQ8_0, *pool_));
    Tensor out = values(rows, columns);
    add("a + b of q8_0", out, {into([&] { return ops::add(a, b, out, context_); })},
        a.size_bytes() + b.size_bytes());
    Tensor mask = sure(ops::less(a, 0.0f, context_));
    add("a < 0", mask, {into([&] { return ops::less(a, 0.0f, mask, context_); })}, a.size_bytes());
    add("where", out, {into([&] { return ops::where(mask, a, 0.0f, out, context_); })},
        a.size_bytes() + mask.size_bytes());
  }

  void functions(int64_t rows, int64_t columns) {
    const Tensor x = values(rows, columns);
    Tensor out = values(rows, columns);
    const std::pair<const char*, ops::UnaryOp> all[] = {
        {"exp", ops::UnaryOp::kExp},   {"log", ops::UnaryOp::kLog},   {"sqrt", ops::UnaryOp::kSqrt},
        {"tanh", ops::UnaryOp::kTanh}, {"gelu", ops::UnaryOp::kGelu}, {"silu", ops::UnaryOp::kSilu},
        {"relu", ops::UnaryOp::kRelu}, {"abs", ops::UnaryOp::kAbs}};
    for (const auto& [name, op] : all) {
      add(name, out, {into([&, function = op] { return ops::unary(function, x, out, context_); })},
          x.size_bytes());
    }
  }

  const Sampling sampling_;
  const std::string only_;  // part of a case's name
  std::unique_ptr<HybridMemoryPool> pool_ = sure(HybridMemoryPool::create());
  ThreadPool threads_;
  OpContext context_;
  nlohmann::json cases_ = nlohmann::json::array();
};

int run(const std::vector<std::string>& arguments) {
  size_t rounds = 9;
  size_t threads = 1;
  std::string only;
  std::string simd;
  const Option known[] = {
      {"--rounds", &rounds}, {"--threads", &threads}, {"--only", &only}, {"--simd", &simd}};
  if (!read_options(arguments, known) || rounds == 0 || threads == 0 || !choose_simd(simd)) {
    std::fprintf(stderr,
                 "usage: lobit_bench_elementwise [--rounds N] [--threads N] [--only PART] [--simd LEVEL]\n");
    return 2;
  }
  return print_result(ElementwiseBench({.rounds = rounds}, only, threads).run());
}

}  // namespace
}  // namespace lobit::bench

int main(int argc, char** argv) {
  return lobit::bench::run({argv + 1, argv + argc});
}

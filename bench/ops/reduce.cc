// lobit_bench_reduce: times reductions, softmax and the norms on one thread beside what the memory allows,
// and prints a JSON object {"simd", "cases": [{case, op, shape, axis, metric, unit, work, seconds}]}; an axis
// of -1 stands for all. `seconds` are those of one call of "ours" and of reading ("memory") or copying the
// bytes.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/kernels/limits.h"
#include "bench/kernels/sampling.h"
#include "bench/program.h"
#include "bench/simd_option.h"
#include <nlohmann/json.hpp>

#include "lobit/lobit.h"

namespace lobit::bench {
namespace {

// What cannot fail here: the shapes are fixed.
template <typename T>
T sure(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "lobit_bench_reduce: %s\n", result.error().message.c_str());
  std::exit(1);
}
void sure(const Status& status) {
  if (status) return;
  std::fprintf(stderr, "lobit_bench_reduce: %s\n", status.error().message.c_str());
  std::exit(1);
}

struct Case {
  std::vector<int64_t> shape;
  int axis;  // -1: all
};

class ReduceBench {
 public:
  ReduceBench(const Sampling& sampling, std::string only) : sampling_(sampling), only_(std::move(only)) {}

  nlohmann::json run(bool quick) {
    const int64_t many = quick ? 1024 : 4096;
    const Case reductions[] = {{{4096}, -1},      {{65'536}, -1},  {{many, 8192}, -1}, {{many, 8192}, 0},
                               {{many, 8192}, 1}, {{256, 256}, 0}, {{256, 256}, 1}};
    for (const Case& c : reductions) reduce(c);
    const Case maps[] = {{{16, 1024}, 1}, {{many, 4096}, 1}, {{many, 4096}, 0}, {{4, 128'256}, 1}};
    for (const Case& c : maps) normalize(c);
    return {{"simd", simd_level_name(simd_level())}, {"cases", cases_}};
  }

 private:
  Tensor values(const Case& c) {
    return sure(Tensor::random(sure(Shape::create(c.shape)), DType::kF32, *pool_,
                               {.distribution = Distribution::kNormal}));
  }

  void add(const std::string& op, const Case& c, uint64_t work, std::function<void()> ours,
           std::function<void()> limit) {
    std::string name = op + " " + sure(Shape::create(c.shape)).to_string();
    name += c.axis < 0 ? " over all" : " over axis " + std::to_string(c.axis);
    if (name.find(only_) == std::string::npos) return;
    std::vector<Contestant> contestants = {{"ours", std::move(ours)}, {"memory", std::move(limit)}};
    sample_in_turns(contestants, sampling_);
    nlohmann::json found = {{"case", name}, {"op", op},       {"shape", c.shape}, {"axis", c.axis},
                            {"metric", op}, {"unit", "GB/s"}, {"work", work}};
    for (const Contestant& contestant : contestants) found["seconds"][contestant.name] = contestant.seconds;
    cases_.push_back(found);
  }

  void reduce(const Case& c) {
    using ops::KeepAxes;
    const Tensor x = values(c);
    const std::vector<size_t> axes =
        c.axis < 0 ? std::vector<size_t>() : std::vector<size_t>{static_cast<size_t>(c.axis)};
    const auto once = [&](const std::string& op, auto reduction) {
      add(
          op, c, x.size_bytes(), [=, this] { static_cast<void>(sure(reduction(x, axes, context_))); },
          [x] { read_all(sure(x.bytes()).data(), x.size_bytes()); });
    };
    once("sum", [](const Tensor& t, ops::Axes a, const OpContext& context) {
      return ops::sum(t, a, KeepAxes::kDrop, context);
    });
    once("max", [](const Tensor& t, ops::Axes a, const OpContext& context) {
      return ops::max(t, a, KeepAxes::kDrop, context);
    });
    once("argmax", [](const Tensor& t, ops::Axes a, const OpContext& context) {
      return ops::argmax(t, a, KeepAxes::kDrop, context);
    });
    once("var", [](const Tensor& t, ops::Axes a, const OpContext& context) {
      return ops::var(t, a, KeepAxes::kDrop, 0, context);
    });
  }

  void normalize(const Case& c) {
    const Tensor x = values(c);
    const auto axis = static_cast<size_t>(c.axis);
    const Tensor weight = sure(Tensor::ones(sure(Shape::create({c.shape[1]})), DType::kF32, *pool_));
    Tensor out = values(c);
    Tensor copy = values(c);
    const auto once = [&](const std::string& op, const std::function<void()>& ours) {
      add(op, c, 2 * x.size_bytes(), ours,
          [&] { copy_all(sure(x.bytes()).data(), sure(copy.mutable_bytes()).data(), x.size_bytes()); });
    };
    once("softmax", [&] { sure(ops::softmax(x, axis, out, context_)); });
    if (c.axis != 1) return;
    once("rms_norm", [&] { sure(ops::rms_norm(x, weight, 1e-5f, out, context_)); });
    once("layer_norm", [&] { sure(ops::layer_norm(x, weight, weight, 1e-5f, out, context_)); });
  }

  const Sampling sampling_;
  const std::string only_;  // part of a case's name
  std::unique_ptr<HybridMemoryPool> pool_ = sure(HybridMemoryPool::create());
  OpContext context_{.memory = pool_.get()};
  nlohmann::json cases_ = nlohmann::json::array();
};

int run(const std::vector<std::string>& arguments) {
  std::string only;
  std::string simd;
  bool quick = false;
  const Option known[] = {{"--only", &only}, {"--simd", &simd}, {"--quick", &quick}};
  if (!read_options(arguments, known) || !choose_simd(simd)) {
    std::fprintf(stderr, "usage: lobit_bench_reduce [--only PART] [--simd LEVEL] [--quick]\n");
    return 2;
  }
  return print_result(ReduceBench({.rounds = quick ? 3u : 9u}, only).run(quick));
}

}  // namespace
}  // namespace lobit::bench

int main(int argc, char** argv) {
  return lobit::bench::run({argv + 1, argv + argc});
}

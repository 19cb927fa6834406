// lobit_bench_engine: times the conversion engine beside the kernel alone and a plain loop over ggml's row
// functions, and prints a JSON object. Run by script/bench engine, which describes the figures.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/kernels/ggml_peer.h"
#include "bench/kernels/sampling.h"
#include "bench/program.h"
#include <nlohmann/json.hpp>

#include "lobit/lobit.h"

namespace lobit::bench {
namespace {

// What cannot fail here: the sizes are fixed.
template <typename T>
T sure(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "lobit_bench_engine: %s\n", result.error().message.c_str());
  std::exit(1);
}

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};

class EngineBench {
 public:
  EngineBench(const Sampling& sampling, const std::string& peer) : sampling_(sampling) {
    if (!peer.empty()) ggml_ = sure(GgmlPeer::open(peer));
    ConversionConfig config;
    config.default_quality = ConversionQuality::kFast;
    engine_ = sure(ConversionEngine::create(config, *pool_));
    config.worker_threads = 1;
    alone_ = sure(ConversionEngine::create(config, *pool_));
  }

  nlohmann::json run() {
    for (const DType to : {DType::kF16, DType::kI8, DType::kI4, DType::kBitNet158}) large(to);
    for (const DType to : {DType::kF16, DType::kI8}) batch(to);
    for (const DType to : {DType::kF16, DType::kI8}) tiny(to);
    return {{"cases", cases_}};
  }

 private:
  Tensor weights(int64_t rows, int64_t columns, uint64_t seed = 0) {
    const int64_t extents[] = {rows, columns};
    const RandomOptions normal{.seed = seed, .distribution = Distribution::kNormal, .deviation = 0.02f};
    return sure(Tensor::random(sure(Shape::create(extents)), DType::kF32, *pool_, normal));
  }

  // What a program does without the library: memory for the result, then the row function.
  void ggml_once(Encoding to, const Tensor& tensor) const {
    const std::span<const float> values = sure(tensor.values<float>());
    const std::unique_ptr<void, FreeMemory> out(std::malloc(encoded_bytes(to, values.size()).value()));
    const auto convert = ggml_->cpu_from_float(to);
    if (convert != nullptr) {
      convert(values.data(), out.get(), static_cast<int64_t>(values.size()));
    } else {
      ggml_->quantize(to, values.data(), out.get(), values.size(), tensor.shape().row_elements());
    }
  }

  void add(const std::string& name, std::vector<Contestant> contestants, uint64_t bytes, size_t count,
           const nlohmann::json& more = nlohmann::json::object()) {
    sample_in_turns(contestants, sampling_);
    nlohmann::json found = more;
    found["case"] = name;
    found["bytes"] = bytes;
    found["count"] = count;
    for (const Contestant& contestant : contestants) found["seconds"][contestant.name] = contestant.seconds;
    cases_.push_back(found);
  }

  // 16 MiB of F32.
  void large(DType to) {
    const Tensor tensor = weights(2048, 2048);
    const auto once = [&](ConversionEngine& engine) {
      return [&engine, &tensor, to] { static_cast<void>(sure(engine.convert(tensor, to))); };
    };
    std::vector<Contestant> contestants = {
        {"convert", once(*engine_)},
        {"convert, one thread", once(*alone_)},
        {"streaming", [&] { static_cast<void>(sure(engine_->streaming_convert(tensor, to, 256 << 10))); }},
        {"copy", [&] { static_cast<void>(sure(tensor.clone(*pool_))); }},
        {"copy, then in place", [&] {
           Tensor copy = sure(tensor.clone(*pool_));
           static_cast<void>(sure(engine_->convert(std::move(copy), to)));
         }}};
    if (ggml_) contestants.push_back({"ggml", [&] { ggml_once(default_encoding(to), tensor); }});
    const StrategyInfo info = engine_->strategy_info(DType::kF32, to, tensor.shape());
    add("f32 to " + std::string(dtype_name(to)) + ", 2048 x 2048", std::move(contestants),
        tensor.size_bytes(), 1, {{"predicted", info.estimated_time_ms / 1e3}});
  }

  void batch(DType to) {
    std::vector<Tensor> tensors;
    for (uint64_t i = 0; i < 1000; ++i) tensors.push_back(weights(64, 64, i));
    std::vector<Contestant> contestants = {
        {"batch", [&] { static_cast<void>(sure(engine_->batch_convert(tensors, to))); }},
        {"one by one", [&] {
           for (const Tensor& tensor : tensors) static_cast<void>(sure(engine_->convert(tensor, to)));
         }}};
    if (ggml_) {
      contestants.push_back({"ggml", [&] {
                               for (const Tensor& tensor : tensors) ggml_once(default_encoding(to), tensor);
                             }});
    }
    add("f32 to " + std::string(dtype_name(to)) + ", 1000 of 64 x 64", std::move(contestants),
        tensors.size() * tensors[0].size_bytes(), tensors.size());
  }

  // 32 values, where the call is all that takes time.
  void tiny(DType to) {
    constexpr size_t kCalls = 100;
    const Tensor tensor = weights(1, 32);
    const float* const values = sure(tensor.values<float>()).data();
    std::vector<std::byte> out(256);
    const kernels::EncodeFn kernel = kernels::encoder(Encoding::kF32, default_encoding(to));
    std::vector<Contestant> contestants = {
        {"convert",
         [&] {
           for (size_t i = 0; i < kCalls; ++i) static_cast<void>(sure(engine_->convert(tensor, to)));
         }},
        {"result alone",
         [&] {
           for (size_t i = 0; i < kCalls; ++i) {
             static_cast<void>(sure(Tensor::empty(tensor.shape(), to, *pool_)));
           }
         }},
        {"kernel alone", [&] {
           for (size_t i = 0; i < kCalls; ++i) static_cast<void>(kernel(values, out.data(), 32));
         }}};
    add("f32 to " + std::string(dtype_name(to)) + ", 32 values", std::move(contestants), tensor.size_bytes(),
        kCalls);
  }

  const Sampling sampling_;
  std::optional<GgmlPeer> ggml_;
  std::unique_ptr<HybridMemoryPool> pool_ = sure(HybridMemoryPool::create());
  std::unique_ptr<ConversionEngine> engine_;
  std::unique_ptr<ConversionEngine> alone_;
  nlohmann::json cases_ = nlohmann::json::array();
};

int run(const std::vector<std::string>& arguments) {
  std::string peer;
  size_t rounds = 9;
  const Option known[] = {{"--peer", &peer}, {"--rounds", &rounds}};
  if (!read_options(arguments, known) || rounds == 0) {
    std::fprintf(stderr, "usage: lobit_bench_engine [--peer FOLDER] [--rounds N]\n");
    return 2;
  }
  return print_result(EngineBench({.rounds = rounds}, peer).run());
}

}  // namespace
}  // namespace lobit::bench

int main(int argc, char** argv) {
  return lobit::bench::run({argv + 1, argv + argc});
}

// A model's weights through a pipeline, F32 -> F16 -> I8 -> I4, and what it costs in size and accuracy beside
// the direct way. Going there gradually is no gain: each stage rounds once more.
#include <cstdio>
#include <string>
#include <vector>

#include "lobit/lobit.h"

namespace {

lobit::Result<std::vector<lobit::Tensor>> make_weights(lobit::MemoryResource& pool) {
  const int64_t extents[] = {256, 512};
  LOBIT_TRY(const lobit::Shape shape, lobit::Shape::create(extents));
  std::vector<lobit::Tensor> weights;
  for (uint64_t layer = 0; layer < 4; ++layer) {
    const lobit::RandomOptions normal{
        .seed = layer, .distribution = lobit::Distribution::kNormal, .deviation = 0.02f};
    LOBIT_TRY(lobit::Tensor weight, lobit::Tensor::random(shape, lobit::DType::kF32, pool, normal));
    weight.set_name("blk." + std::to_string(layer) + ".weight");
    weights.push_back(std::move(weight));
  }
  return weights;
}

lobit::Result<double> signal_to_noise(lobit::ConversionEngine& engine, const lobit::Tensor& original,
                                      const lobit::Tensor& stored) {
  LOBIT_TRY(const lobit::Tensor decoded, engine.convert(stored, lobit::DType::kF32));
  LOBIT_TRY(const auto x, original.values<float>());
  LOBIT_TRY(const auto y, decoded.values<float>());
  lobit::kernels::ErrorSums sums;
  lobit::kernels::accumulate_error(x.data(), y.data(), x.size(), sums);
  return lobit::distortion(sums).sqnr_db;
}

lobit::Status run() {
  LOBIT_TRY(const auto pool, lobit::HybridMemoryPool::create());
  LOBIT_TRY(const auto engine,
            lobit::ConversionEngine::create(lobit::ConversionConfig::high_precision(), *pool));
  LOBIT_TRY(const std::vector<lobit::Tensor> weights, make_weights(*pool));

  using enum lobit::ConversionStrategy;
  lobit::ConversionPipeline pipeline = engine->create_pipeline()
                                           .add_stage_with_strategy(lobit::DType::kF16, kInPlace)
                                           .add_stage_with_strategy(lobit::DType::kI8, kStreaming)
                                           .add_stage_with_strategy(lobit::DType::kI4, kStreaming)
                                           .optimize();
  LOBIT_TRY(const std::vector<lobit::Tensor> quantized, pipeline.execute_batch(weights));

  uint64_t original_bytes = 0;
  uint64_t quantized_bytes = 0;
  for (const lobit::Tensor& tensor : weights) original_bytes += tensor.size_bytes();
  for (const lobit::Tensor& tensor : quantized) quantized_bytes += tensor.size_bytes();
  const double ratio = static_cast<double>(original_bytes) / static_cast<double>(quantized_bytes);
  std::printf("compression %.2fx, %llu bytes saved\n", ratio,
              static_cast<unsigned long long>(original_bytes - quantized_bytes));

  LOBIT_TRY(const lobit::Tensor direct, engine->convert(weights[0], lobit::DType::kI4));
  LOBIT_TRY(const double gradual_db, signal_to_noise(*engine, weights[0], quantized[0]));
  LOBIT_TRY(const double direct_db, signal_to_noise(*engine, weights[0], direct));
  std::printf("signal to noise: %.2f dB in stages, %.2f dB directly\n", gradual_db, direct_db);
  if (ratio < 7.1 || direct_db < gradual_db) {
    return lobit::fail(lobit::ErrorCode::kInvalidArgument, "the numbers are not what they should be");
  }
  return {};
}

}  // namespace

int main() {
  const lobit::Status status = run();
  if (!status) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return status ? 0 : 1;
}

// What to do when a conversion fails, is slow, loses too much or is asked of a device that is not there.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "lobit/lobit.h"

namespace {

using lobit::DType;
using lobit::ErrorCode;

lobit::Status check(bool good, const char* what) {
  if (good) return {};
  return lobit::fail(ErrorCode::kInvalidArgument, std::string("expected ") + what);
}

lobit::Result<lobit::Tensor> weights(lobit::MemoryResource& pool) {
  const int64_t extents[] = {256, 256};
  LOBIT_TRY(const lobit::Shape shape, lobit::Shape::create(extents));
  return lobit::Tensor::random(shape, DType::kF32, pool,
                               {.distribution = lobit::Distribution::kNormal, .deviation = 0.02f});
}

// Out of memory: a tensor that is not needed any more gives its own memory to the result.
lobit::Status out_of_memory(lobit::MemoryResource& pool) {
  lobit::ConversionConfig config;
  config.max_memory_usage = 64 << 10;
  LOBIT_TRY(const auto engine, lobit::ConversionEngine::create(config, pool));
  LOBIT_TRY(lobit::Tensor tensor, weights(pool));
  const auto refused = engine->convert(tensor, DType::kI8);
  LOBIT_RETURN_IF_ERROR(
      check(!refused && refused.error().code == ErrorCode::kLimit, "a limit that is too small"));
  std::printf("refused: %s\n", refused.error().message.c_str());
  LOBIT_RETURN_IF_ERROR(engine->in_place_convert(tensor, DType::kI8));
  std::printf("in place: %s\n", tensor.to_string().c_str());
  return {};
}

// Slow: what will be done, how long it should take, and how long it took.
lobit::Status too_slow(lobit::ConversionEngine& engine, const lobit::Tensor& tensor) {
  const lobit::StrategyInfo info = engine.strategy_info(DType::kF32, DType::kI8, tensor.shape());
  std::printf("%s\n", info.description().c_str());
  LOBIT_RETURN_IF_ERROR(engine.convert(tensor, DType::kI8));
  const lobit::ConversionEvent event = engine.recent_events(1)[0];
  std::printf("took %.3f ms with %llu chunks\n", event.duration_ms(),
              static_cast<unsigned long long>(event.chunks));
  return check(event.strategy == info.strategy, "the strategy that was told");
}

// Precision: the quality decides how well the scales fit; intermediate steps only round once more.
lobit::Status too_inexact(lobit::ConversionEngine& engine, const lobit::Tensor& tensor) {
  std::vector<double> errors;
  for (const auto quality : {lobit::ConversionQuality::kFast, lobit::ConversionQuality::kBalanced,
                             lobit::ConversionQuality::kPrecise}) {
    LOBIT_TRY(const lobit::Tensor stored, engine.convert_with_quality(tensor, DType::kI4, quality));
    LOBIT_TRY(const lobit::Tensor decoded, engine.convert(stored, DType::kF32));
    LOBIT_TRY(const auto x, tensor.values<float>());
    LOBIT_TRY(const auto y, decoded.values<float>());
    lobit::kernels::ErrorSums sums;
    lobit::kernels::accumulate_error(x.data(), y.data(), x.size(), sums);
    errors.push_back(sums.error);
    std::printf("%-8s %.2f dB\n", std::string(lobit::conversion_quality_name(quality)).c_str(),
                lobit::distortion(sums).sqnr_db);
  }
  return check(errors[1] < errors[0] && errors[2] <= errors[1], "less error with more quality");
}

// Devices: ask first, and convert where it can be done.
lobit::Status wrong_device(lobit::ConversionEngine& engine, const lobit::Tensor& tensor) {
  const lobit::Device cuda{lobit::DeviceKind::kCuda, 0};
  if (!engine.is_conversion_supported(DType::kF32, DType::kI8, cuda)) {
    std::printf("not supported on %s; converting on %s\n", lobit::device_name(cuda).c_str(),
                lobit::device_name(tensor.device()).c_str());
  }
  LOBIT_RETURN_IF_ERROR(engine.convert(tensor, DType::kI8));
  return check(engine.is_conversion_supported(DType::kF32, DType::kI8, tensor.device()),
               "support on the cpu");
}

// Failures leave an event behind that says what went wrong.
lobit::Status look_at_events(lobit::ConversionEngine& engine, lobit::MemoryResource& pool) {
  const int64_t extents[] = {1, 32};
  LOBIT_TRY(const lobit::Shape shape, lobit::Shape::create(extents));
  LOBIT_TRY(const lobit::Tensor bad, lobit::Tensor::full(shape, INFINITY, DType::kF32, pool));
  LOBIT_RETURN_IF_ERROR(check(!engine.convert(bad, DType::kI8), "an error for Inf"));
  for (const lobit::ConversionEvent& event : engine.recent_events(5)) {
    if (!event.success) std::printf("failed: %s\n", event.error_message.c_str());
  }
  const lobit::MemoryUsage usage = pool.usage();
  std::printf("pool: %llu bytes allocated of %llu committed\n",
              static_cast<unsigned long long>(usage.allocated),
              static_cast<unsigned long long>(usage.committed));
  return check(engine.stats().error_stats.data_loss == 1, "one data loss");
}

lobit::Status run() {
  LOBIT_TRY(const auto pool, lobit::HybridMemoryPool::create());
  LOBIT_TRY(const auto engine, lobit::ConversionEngine::create({}, *pool));
  LOBIT_TRY(const lobit::Tensor tensor, weights(*pool));
  LOBIT_RETURN_IF_ERROR(out_of_memory(*pool));
  LOBIT_RETURN_IF_ERROR(too_slow(*engine, tensor));
  LOBIT_RETURN_IF_ERROR(too_inexact(*engine, tensor));
  LOBIT_RETURN_IF_ERROR(wrong_device(*engine, tensor));
  return look_at_events(*engine, *pool);
}

}  // namespace

int main() {
  const lobit::Status status = run();
  if (!status) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return status ? 0 : 1;
}

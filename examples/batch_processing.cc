// A thousand small tensors in one call: how long it takes, and that every result is there.
#include <chrono>
#include <cstdio>
#include <vector>

#include "lobit/lobit.h"

namespace {

lobit::Status run() {
  LOBIT_TRY(const auto pool, lobit::HybridMemoryPool::create());
  LOBIT_TRY(const auto engine,
            lobit::ConversionEngine::create(lobit::ConversionConfig::high_performance(), *pool));
  const int64_t extents[] = {64, 64};
  LOBIT_TRY(const lobit::Shape shape, lobit::Shape::create(extents));
  std::vector<lobit::Tensor> tensors;
  for (uint64_t i = 0; i < 1000; ++i) {
    LOBIT_TRY(lobit::Tensor tensor, lobit::Tensor::random(shape, lobit::DType::kF32, *pool, {.seed = i}));
    tensors.push_back(std::move(tensor));
  }

  lobit::BatchReport report;
  const auto start = std::chrono::steady_clock::now();
  LOBIT_TRY(const std::vector<lobit::Tensor> results,
            engine->batch_convert(tensors, lobit::DType::kF16, {.report = &report}));
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  std::printf("%zu tensors in %zu batches, %.2f ms, %.0f tensors/s\n", results.size(), report.batches.size(),
              time.count() * 1e3, static_cast<double>(results.size()) / time.count());

  const lobit::ConversionMetrics stats = engine->stats();
  std::printf("%llu conversions, %.1f %% succeeded, %.4f ms on average\n",
              static_cast<unsigned long long>(stats.total_conversions), stats.success_rate(),
              stats.average_time_ms());
  bool complete = results.size() == tensors.size() && stats.successes == tensors.size();
  for (const lobit::Tensor& result : results) complete = complete && result.dtype() == lobit::DType::kF16;
  if (complete) return {};
  return lobit::fail(lobit::ErrorCode::kInvalidArgument, "results are missing");
}

}  // namespace

int main() {
  const lobit::Status status = run();
  if (!status) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return status ? 0 : 1;
}

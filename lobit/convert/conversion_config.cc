#include "lobit/convert/conversion_config.h"

#include <fmt/format.h>

namespace lobit {
namespace {

constexpr uint64_t kKiB = 1 << 10;
constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;

Status at_least_one(std::string_view field, uint64_t value) {
  if (value > 0) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("conversion config: {}: expected at least 1, found 0", field));
}

}  // namespace

ConversionConfig ConversionConfig::low_memory() {
  ConversionConfig config;
  config.default_strategy = ConversionStrategy::kStreaming;
  config.max_memory_usage = 256 * kMiB;
  config.worker_threads = 1;
  config.streaming = {256 * kKiB, 1, kMiB, 10 * kMiB};
  config.batch.max_batch_size = 8;
  config.batch.max_batch_memory = 64 * kMiB;
  config.batch.enable_parallel_processing = false;
  config.batch.batch_worker_threads = 1;
  return config;
}

ConversionConfig ConversionConfig::high_performance() {
  const size_t cores = ThreadPool::default_threads();
  ConversionConfig config;
  config.default_quality = ConversionQuality::kFast;
  config.max_memory_usage = 4 * kGiB;
  config.worker_threads = 2 * cores;
  config.streaming = {4 * kMiB, cores, 16 * kMiB, 500 * kMiB};
  config.batch.max_batch_size = 128;
  config.batch.max_batch_memory = kGiB;
  config.batch.batch_worker_threads = 2 * cores;
  return config;
}

ConversionConfig ConversionConfig::high_precision() {
  ConversionConfig config;
  config.default_quality = ConversionQuality::kPrecise;
  config.streaming.chunk_size = 512 * kKiB;
  config.streaming.parallel_chunks = 1;
  config.batch.max_batch_size = 16;
  config.batch.sort_by_size = false;
  config.batch.enable_parallel_processing = false;
  config.batch.batch_worker_threads = 1;
  return config;
}

Status validate(const StreamingConfig& config) {
  LOBIT_RETURN_IF_ERROR(at_least_one("streaming.chunk_size", config.chunk_size));
  LOBIT_RETURN_IF_ERROR(at_least_one("streaming.parallel_chunks", config.parallel_chunks));
  if (config.buffer_size >= config.chunk_size) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("conversion config: streaming.buffer_size: expected at least streaming.chunk_size, "
                          "{} bytes, found {}",
                          config.chunk_size, config.buffer_size),
              {.required = config.chunk_size, .available = config.buffer_size});
}

Status validate(const BatchConfig& config) {
  LOBIT_RETURN_IF_ERROR(at_least_one("batch.max_batch_size", config.max_batch_size));
  LOBIT_RETURN_IF_ERROR(at_least_one("batch.max_batch_memory", config.max_batch_memory));
  return at_least_one("batch.batch_worker_threads", config.batch_worker_threads);
}

Status ConversionConfig::validate() const {
  LOBIT_RETURN_IF_ERROR(at_least_one("max_memory_usage", max_memory_usage));
  LOBIT_RETURN_IF_ERROR(at_least_one("worker_threads", worker_threads));
  LOBIT_RETURN_IF_ERROR(lobit::validate(streaming));
  return lobit::validate(batch);
}

}  // namespace lobit

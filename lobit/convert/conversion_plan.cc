#include "lobit/convert/conversion_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "lobit/base/check.h"
#include "lobit/convert/budget.h"
#include "lobit/convert/conversion_speed.h"
#include "lobit/convert/tensor_job.h"

namespace lobit {
namespace {

struct Cost {
  double seconds = 0;
  uint64_t new_bytes = 0;
};

// What every call takes however small the tensor is.
constexpr double kCallSeconds = 5e-7;

// Of one thread: what the kernel takes for values in its cache, or the memory to bring values and results.
double work_seconds(const ConversionQuery& query, const ConversionConfig& config) {
  constexpr uint64_t kCached = uint64_t{1} << 20;
  const double kernel = static_cast<double>(query.shape.elements()) *
                        seconds_per_element(query.from, query.to, quantize_method(config.default_quality));
  const uint64_t moved = query.from_bytes + stored_bytes(query.to, query.shape);
  if (moved <= kCached) return kernel;
  return std::max(kernel, static_cast<double>(moved) * memory_speed().seconds_per_moved_byte);
}

// Threads that have a chunk to work on.
double threads_at_work(uint64_t bytes, uint64_t chunk_bytes, size_t threads) {
  const uint64_t chunks = std::max<uint64_t>(1, bytes / std::max<uint64_t>(1, chunk_bytes));
  return static_cast<double>(std::min<uint64_t>({chunks, threads, ThreadPool::default_threads()}));
}

Cost into_new_storage(const ConversionQuery& query, const ConversionConfig& config, double threads) {
  const uint64_t bytes = stored_bytes(query.to, query.shape);
  // What the resource keeps is not touched for the first time.
  const auto untouched = static_cast<double>(bytes - std::min(bytes, query.free_bytes));
  const double first_touch = untouched == 0 ? 0 : untouched * memory_speed().seconds_per_new_byte;
  return {(work_seconds(query, config) + first_touch) / threads + kCallSeconds, bytes};
}

struct StrategyRow {
  ConversionStrategy strategy;
  // Whether kAuto takes it.
  bool (*fits)(const ConversionQuery& query, const ConversionConfig& config);
  Cost (*cost)(const ConversionQuery& query, const ConversionConfig& config);
};

bool is_large(const ConversionQuery& query, const ConversionConfig& config) {
  return query.from_bytes > config.streaming.streaming_threshold;
}

Status in_place_allowed(const ConversionQuery& query) {
  const uint64_t capacity = (query.from_bytes + 63) / 64 * 64;
  return check_in_place(query.from, query.to, query.shape, capacity);
}

constexpr StrategyRow kStrategies[] = {
    {ConversionStrategy::kZeroCopy,
     [](const ConversionQuery& query, const ConversionConfig&) { return query.same; },
     [](const ConversionQuery&, const ConversionConfig&) { return Cost{kCallSeconds, 0}; }},
    {ConversionStrategy::kInPlace,
     [](const ConversionQuery& query, const ConversionConfig& config) {
       return query.may_overwrite && !is_large(query, config) && in_place_allowed(query).has_value();
     },
     [](const ConversionQuery& query, const ConversionConfig& config) {
       // Segments leave the first, sequential part small.
       const double threads = threads_at_work(query.from_bytes, 2 * kUsualChunkBytes, config.worker_threads);
       const auto layout = format_layout(query.to, query.shape.rows(), query.shape.row_elements());
       return Cost{work_seconds(query, config) / threads + kCallSeconds, layout->scale_count * sizeof(float)};
     }},
    {ConversionStrategy::kStreaming, is_large,
     [](const ConversionQuery& query, const ConversionConfig& config) {
       const StreamingConfig& stream = config.streaming;
       return into_new_storage(query, config,
                               threads_at_work(query.from_bytes, stream.chunk_size,
                                               std::min(stream.parallel_chunks, config.worker_threads)));
     }},
    {ConversionStrategy::kStandard, [](const ConversionQuery&, const ConversionConfig&) { return true; },
     [](const ConversionQuery& query, const ConversionConfig& config) {
       return into_new_storage(query, config,
                               threads_at_work(query.from_bytes, kUsualChunkBytes, config.worker_threads));
     }},
};

const StrategyRow& row_of(ConversionStrategy strategy) {
  const auto* const row = std::ranges::find(kStrategies, strategy, &StrategyRow::strategy);
  LOBIT_CHECK(row != std::end(kStrategies));
  return *row;
}

}  // namespace

uint64_t stored_bytes(ValueFormat format, const Shape& shape) {
  const auto layout = format_layout(format, shape.rows(), shape.row_elements());
  LOBIT_CHECK(layout.has_value());
  return layout->bytes;
}

Result<ConversionStrategy> choose_strategy(const ConversionQuery& query, ConversionStrategy wanted,
                                           const ConversionConfig& config) {
  if (query.same) return ConversionStrategy::kZeroCopy;
  switch (wanted) {
    case ConversionStrategy::kAuto:
      return std::ranges::find_if(kStrategies,
                                  [&](const StrategyRow& row) { return row.fits(query, config); })
          ->strategy;
    case ConversionStrategy::kZeroCopy:
      return fail(ErrorCode::kUnsupported,
                  fmt::format("zero copy: {} cannot become {}: expected one dtype, found values that change "
                              "(bit_view() shows the same bits as another format)",
                              to_string(query.from), to_string(query.to)),
                  {.from = to_string(query.from), .to = to_string(query.to)});
    case ConversionStrategy::kInPlace:
      LOBIT_RETURN_IF_ERROR(in_place_allowed(query));
      return query.may_overwrite ? ConversionStrategy::kInPlace : ConversionStrategy::kStandard;
    case ConversionStrategy::kStreaming:
    case ConversionStrategy::kStandard:
      break;
  }
  return wanted;
}

StrategyInfo describe_conversion(const ConversionQuery& query, ConversionStrategy strategy,
                                 const ConversionConfig& config) {
  const Cost cost = row_of(strategy).cost(query, config);
  const uint64_t from = query.from_bytes;
  const uint64_t to = stored_bytes(query.same ? query.from : query.to, query.shape);
  StrategyInfo info;
  info.strategy = strategy;
  info.is_supported = true;
  info.estimated_time_ms = cost.seconds * 1e3;
  info.memory_overhead_bytes = (cost.new_bytes + 63) / 64 * 64;
  info.compression_ratio = to == 0 ? 1 : static_cast<double>(from) / static_cast<double>(to);
  info.is_zero_copy = strategy == ConversionStrategy::kZeroCopy;
  info.is_in_place = strategy == ConversionStrategy::kInPlace;
  return info;
}

}  // namespace lobit

#include "lobit/convert/conversion_engine.h"

#include <fmt/format.h>

#include "lobit/convert/conversion_context_internal.h"
#include "lobit/convert/conversion_plan.h"

namespace lobit {

using detail::ConversionContext;
using detail::ConversionRequest;

namespace {

ConversionRequest request_of(ConversionContext& context, const RunControl& control) {
  return {.strategy = context.config.default_strategy,
          .quality = context.config.default_quality,
          .control = &control,
          .memory = context.memory};
}

Status check_chunk_size(uint64_t chunk_size) {
  if (chunk_size > 0) return {};
  return fail(ErrorCode::kInvalidArgument, "streaming: chunk_size: expected at least 1 byte, found 0");
}

}  // namespace

Result<std::unique_ptr<ConversionEngine>> ConversionEngine::create(const ConversionConfig& config,
                                                                   MemoryResource& pool,
                                                                   const PressureMonitor* pressure) {
  LOBIT_TRY(auto context, ConversionContext::create(config, &pool, pressure));
  return std::unique_ptr<ConversionEngine>(new ConversionEngine(std::move(context)));
}

ConversionEngine::ConversionEngine(std::shared_ptr<ConversionContext> context)
    : context_(std::move(context)) {}
ConversionEngine::~ConversionEngine() = default;

const ConversionConfig& ConversionEngine::config() const {
  return context_->config;
}

Result<Tensor> ConversionEngine::convert(const Tensor& tensor, FormatChoice to, const RunControl& control) {
  return detail::convert_tensor(*context_, tensor, to, request_of(*context_, control));
}

Result<Tensor> ConversionEngine::convert(Tensor&& tensor, FormatChoice to, const RunControl& control) {
  return detail::convert_consumed(*context_, std::move(tensor), to, request_of(*context_, control));
}

Result<Tensor> ConversionEngine::convert_with_quality(const Tensor& tensor, FormatChoice to,
                                                      ConversionQuality quality, const RunControl& control) {
  ConversionRequest request = request_of(*context_, control);
  request.quality = quality;
  return detail::convert_tensor(*context_, tensor, to, request);
}

Result<std::vector<Tensor>> ConversionEngine::batch_convert(std::span<const Tensor> tensors, FormatChoice to,
                                                            const BatchOptions& options) {
  std::vector<detail::BatchEntry> entries;
  entries.reserve(tensors.size());
  for (const Tensor& tensor : tensors) entries.push_back({&tensor, to});
  return detail::convert_batch(*context_, entries, request_of(*context_, options.control), options.report);
}

Result<std::vector<Tensor>> ConversionEngine::batch_convert_mixed(std::span<const BatchRequest> requests,
                                                                  const BatchOptions& options) {
  std::vector<detail::BatchEntry> entries;
  entries.reserve(requests.size());
  for (const BatchRequest& request : requests) entries.push_back({&request.tensor, request.to});
  return detail::convert_batch(*context_, entries, request_of(*context_, options.control), options.report);
}

Result<Tensor> ConversionEngine::zero_copy_convert(const Tensor& tensor, FormatChoice to) {
  const RunControl control;
  ConversionRequest request = request_of(*context_, control);
  request.strategy = ConversionStrategy::kZeroCopy;
  return detail::convert_tensor(*context_, tensor, to, request);
}

Status ConversionEngine::in_place_convert(Tensor& tensor, FormatChoice to, const RunControl& control) {
  return detail::convert_where_it_lies(*context_, tensor, to, request_of(*context_, control));
}

Result<Tensor> ConversionEngine::streaming_convert(const Tensor& tensor, FormatChoice to, uint64_t chunk_size,
                                                   const RunControl& control) {
  ConversionRequest request = request_of(*context_, control);
  request.strategy = ConversionStrategy::kStreaming;
  request.chunk_bytes = chunk_size;
  request.refusal = check_chunk_size(chunk_size);
  return detail::convert_tensor(*context_, tensor, to, request);
}

Result<FileStreamFacts> ConversionEngine::streaming_convert(const FileValues& from, const FileTarget& to,
                                                            uint64_t chunk_size, const RunControl& control) {
  ConversionRequest request = request_of(*context_, control);
  request.chunk_bytes = chunk_size;
  return detail::convert_file(*context_, from, to, request);
}

ConversionPipeline ConversionEngine::create_pipeline() {
  return ConversionPipeline(context_);
}

StrategyInfo ConversionEngine::strategy_info(DType from, DType to, const Shape& shape, Device device,
                                             SourceUse use) const {
  if (!is_conversion_supported(from, to, device)) return {};
  const ConversionConfig& config = context_->config;
  ConversionQuery query{.from = default_format(from, shape),
                        .to = default_format(to, shape),
                        .shape = shape,
                        .same = from == to};
  const auto source = format_layout(query.from, shape.rows(), shape.row_elements());
  // More bytes than can be counted have no layout.
  if (!source || !format_layout(query.to, shape.rows(), shape.row_elements())) return {};
  query.from_bytes = source->bytes;
  const MemoryUsage memory = context_->memory->usage();
  query.free_bytes = memory.committed - std::min(memory.committed, memory.used);
  query.may_overwrite = use == SourceUse::kConsumed;
  const auto strategy = choose_strategy(query, config.default_strategy, config);
  if (!strategy) return {};
  return describe_conversion(query, *strategy, config);
}

bool ConversionEngine::is_conversion_supported(DType from, DType to, Device device) const {
  // Sharing needs no work on the device; values change on the CPU alone.
  if (from == to) return device == context_->memory->device() || device.kind == DeviceKind::kCpu;
  const bool on_cpu = device.kind == DeviceKind::kCpu && context_->memory->device() == device;
  return on_cpu && traits(default_encoding(from)).can_decode && traits(default_encoding(to)).can_encode;
}

ConversionMetrics ConversionEngine::stats() const {
  ConversionMetrics metrics = context_->stats.metrics();
  metrics.memory_stats.current_usage = context_->account.held();
  metrics.memory_stats.peak_memory_usage = context_->account.peak();
  return metrics;
}

void ConversionEngine::clear_stats() {
  context_->stats.clear();
  context_->account.reset_peak();
}

std::vector<ConversionEvent> ConversionEngine::recent_events(size_t count) const {
  return context_->stats.recent_events(count);
}

}  // namespace lobit

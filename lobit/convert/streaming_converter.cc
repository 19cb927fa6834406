#include "lobit/convert/streaming_converter.h"

#include "lobit/convert/conversion_context_internal.h"

namespace lobit {

using detail::ConversionContext;

Result<StreamingConverter> StreamingConverter::create(const StreamingConfig& config) {
  ConversionConfig all;
  all.streaming = config;
  all.worker_threads = std::max<size_t>(1, config.parallel_chunks);
  all.max_memory_usage = UINT64_MAX;
  all.enable_metrics = false;
  LOBIT_TRY(auto context, ConversionContext::create(std::move(all), nullptr));
  return StreamingConverter(std::move(context));
}

StreamingConverter::StreamingConverter(std::shared_ptr<ConversionContext> context)
    : context_(std::move(context)) {}

Result<Tensor> StreamingConverter::stream_convert(const Tensor& tensor, FormatChoice to, MemoryResource& pool,
                                                  const RunControl& control) const {
  const bool streams = tensor.size_bytes() >= context_->config.streaming.streaming_threshold;
  return detail::convert_tensor(
      *context_, tensor, to,
      {.strategy = streams ? ConversionStrategy::kStreaming : ConversionStrategy::kStandard,
       .control = &control,
       .memory = &pool});
}

Result<FileStreamFacts> StreamingConverter::stream_convert(const FileValues& from, const FileTarget& to,
                                                           MemoryResource& pool,
                                                           const RunControl& control) const {
  return detail::convert_file(*context_, from, to, {.control = &control, .memory = &pool});
}

}  // namespace lobit

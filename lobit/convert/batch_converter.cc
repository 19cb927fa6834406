#include "lobit/convert/batch_converter.h"

#include "lobit/convert/conversion_context_internal.h"

namespace lobit {

using detail::ConversionContext;

Result<BatchConverter> BatchConverter::create(const BatchConfig& config) {
  ConversionConfig all;
  all.batch = config;
  all.worker_threads = std::max<size_t>(1, config.enable_parallel_processing ? config.batch_worker_threads : 1);
  all.max_memory_usage = UINT64_MAX;
  all.enable_metrics = false;
  LOBIT_TRY(auto context, ConversionContext::create(std::move(all), nullptr));
  return BatchConverter(std::move(context));
}

BatchConverter::BatchConverter(std::shared_ptr<ConversionContext> context) : context_(std::move(context)) {}

Result<std::vector<Tensor>> BatchConverter::batch_convert(std::span<const Tensor> tensors, FormatChoice to,
                                                          MemoryResource& pool,
                                                          const BatchOptions& options) const {
  std::vector<detail::BatchEntry> entries;
  entries.reserve(tensors.size());
  for (const Tensor& tensor : tensors) entries.push_back({&tensor, to});
  return detail::convert_batch(*context_, entries, {.control = &options.control, .memory = &pool},
                               options.report);
}

}  // namespace lobit

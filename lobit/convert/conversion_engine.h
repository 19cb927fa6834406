// ConversionEngine: converts tensors between all dtypes. Chooses how (shared, in place, streamed, into new
// memory), keeps within a memory limit, works with all threads and counts what it did. One engine serves any
// number of threads: its worker threads go to whoever asks first, and who comes while they are busy converts
// by itself. The pool and the pressure monitor belong to the caller and outlive the engine; results are the
// caller's and may outlive the engine, but not the pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/convert/batch_queue.h"
#include "lobit/convert/chunks.h"
#include "lobit/convert/conversion_config.h"
#include "lobit/convert/conversion_event.h"
#include "lobit/convert/conversion_metrics.h"
#include "lobit/convert/conversion_pipeline.h"
#include "lobit/convert/conversion_strategy.h"
#include "lobit/convert/streaming_converter.h"
#include "lobit/device/device.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/memory/pressure_monitor.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

namespace detail {
struct ConversionContext;
}

// A tensor and what it is to become.
struct BatchRequest {
  Tensor tensor;
  FormatChoice to;
};

struct BatchOptions {
  RunControl control = {};
  BatchReport* report = nullptr;  // gets what was in work together
};

class LOBIT_API ConversionEngine {
 public:
  // Results and buffers come from `pool`. With a monitor, batches shrink and pipelines forget while memory is
  // short. kInvalidArgument names the field; kOutOfMemory when the system refuses a thread.
  static Result<std::unique_ptr<ConversionEngine>> create(const ConversionConfig& config,
                                                          MemoryResource& pool,
                                                          const PressureMonitor* pressure = nullptr);
  ~ConversionEngine();
  ConversionEngine(const ConversionEngine&) = delete;
  ConversionEngine& operator=(const ConversionEngine&) = delete;

  const ConversionConfig& config() const;

  // A tensor of the same shape, name and tags in another format: a dtype stands for its default format for
  // the shape, and is met by any format of its values, which are then shared. Errors: kDataLoss (a value that
  // does not fit, unless the configuration saturates) and kCorrupt name the element; kUnsupported and kDevice
  // name both sides; kLimit, before any work, when max_memory_usage is too small; kOutOfMemory;
  // kCancelled.
  Result<Tensor> convert(const Tensor& tensor, FormatChoice to, const RunControl& control = {});
  // The same of a tensor that is not needed any more: its memory is used again where that works.
  Result<Tensor> convert(Tensor&& tensor, FormatChoice to, const RunControl& control = {});
  Result<Tensor> convert_with_quality(const Tensor& tensor, FormatChoice to, ConversionQuality quality,
                                      const RunControl& control = {});

  // Results in the order of the tensors. What can be said beforehand (unsupported, too large together) is
  // said before any work. The error is that of the first bad tensor: "tensor 3: ...", detail.index 3; the
  // tensors behind it are not converted, and nothing stays allocated.
  Result<std::vector<Tensor>> batch_convert(std::span<const Tensor> tensors, FormatChoice to,
                                            const BatchOptions& options = {});
  Result<std::vector<Tensor>> batch_convert_mixed(std::span<const BatchRequest> requests,
                                                  const BatchOptions& options = {});

  // A share of the tensor; kUnsupported when values would have to change. F16 and BF16 have the same size and
  // other values: bit_view() is what shows the one's bits as the other.
  Result<Tensor> zero_copy_convert(const Tensor& tensor, FormatChoice to);
  // Rewrites the tensor where it lies. It keeps id, name and tags; memory that others share is copied first.
  // kInvalidArgument naming both sizes when the values would need more room. An error leaves the tensor as it
  // was. Once the first byte changes it runs to its end.
  Status in_place_convert(Tensor& tensor, FormatChoice to, const RunControl& control = {});
  // In chunks of about `chunk_size` bytes of the source, in work by streaming.parallel_chunks threads.
  Result<Tensor> streaming_convert(const Tensor& tensor, FormatChoice to, uint64_t chunk_size,
                                   const RunControl& control = {});
  // From one file into a place of another, through buffers of streaming.buffer_size at most: for what does
  // not fit into memory. 0: the configured chunk size.
  Result<FileStreamFacts> streaming_convert(const FileValues& from, const FileTarget& to,
                                            uint64_t chunk_size = 0, const RunControl& control = {});

  // An empty pipeline. It shares the engine's insides, and may outlive the engine, but not the pool.
  ConversionPipeline create_pipeline();

  // What convert() will do with a tensor of the default format; `use` says which convert(). Of a pair and
  // device that do not convert, is_supported is false.
  enum class SourceUse : uint8_t { kKept, kConsumed };
  StrategyInfo strategy_info(DType from, DType to, const Shape& shape, Device device = {},
                             SourceUse use = SourceUse::kKept) const;
  // Whether convert() succeeds, as far as the dtypes and the device decide it.
  bool is_conversion_supported(DType from, DType to, Device device = {}) const;

  ConversionMetrics stats() const;
  // Every counter, of pipelines too, and the events; the memory peak begins anew.
  void clear_stats();
  // The last `count` of at most 1000, the oldest first.
  std::vector<ConversionEvent> recent_events(size_t count) const;

 private:
  explicit ConversionEngine(std::shared_ptr<detail::ConversionContext> context);
  std::shared_ptr<detail::ConversionContext> context_;
};

}  // namespace lobit

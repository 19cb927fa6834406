// ConversionConfig: how a ConversionEngine works when a call does not say otherwise, and the presets. A plain
// value; any thread. Every field changes what the engine does.
//
// What the guide that this engine follows also has, and what stands for it here:
//   performance.use_simd, use_vectorization, enable_loop_unrolling, optimize_cache, use_lookup_tables,
//   lookup_table_size, optimization_threshold: the kernels choose by the machine, and every instruction set
//     gives the same bytes, so nothing is gained by switching one off; set_simd_level() forces one.
//   performance.memory_alignment: results are aligned to a cache line by the memory resource.
//   streaming.use_memory_mapping: files are read at their offsets into bounded buffers.
//   streaming.enable_prefetch: files are always read ahead.
//   enable_debug_logging: `log`, which says where the lines go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/base/thread_pool.h"
#include "lobit/convert/conversion_strategy.h"
#include "lobit/convert/overflow_rule.h"

namespace lobit {

struct StreamingConfig {
  uint64_t chunk_size = uint64_t{1} << 20;  // bytes of the source in a chunk, rounded to whole groups
  size_t parallel_chunks = 2;               // chunks in work at a time; 1 is one after the other
  // What the buffers of a stream between files hold together; fewer chunks are in work when it is small.
  uint64_t buffer_size = uint64_t{4} << 20;
  uint64_t streaming_threshold = uint64_t{100} << 20;  // sources with more bytes are streamed by Auto
};

struct BatchConfig {
  size_t max_batch_size = 32;                       // tensors that are in work together
  uint64_t max_batch_memory = uint64_t{256} << 20;  // bytes of their results; one larger tensor goes alone
  bool group_by_dtype = true;                       // only tensors of one source and target dtype together
  bool group_by_device = true;                      // only tensors of one device together
  bool sort_by_size = true;                         // large tensors first; else in the order they came in
  bool enable_parallel_processing = true;           // false: one thread does all
  // At most this many, of worker_threads; fewer where there is too little to do.
  size_t batch_worker_threads = ThreadPool::default_threads();
};

struct LOBIT_API ConversionConfig {
  ConversionStrategy default_strategy = ConversionStrategy::kAuto;
  ConversionQuality default_quality = ConversionQuality::kBalanced;
  OverflowRule overflow = OverflowRule::kRefuse;
  bool enable_metrics = true;  // false: no events, no clock
  // The most bytes that the engine holds at a time: results that it has not handed out yet, buffers, and what
  // its pipelines remember.
  uint64_t max_memory_usage = uint64_t{1} << 30;
  size_t worker_threads = ThreadPool::default_threads();
  StreamingConfig streaming = {};
  BatchConfig batch = {};
  // Gets one line for every decision; called from whichever thread converts, several at a time.
  std::function<void(std::string_view)> log = {};

  // The presets; the defaults above are the fourth.
  static ConversionConfig low_memory();
  static ConversionConfig high_performance();
  static ConversionConfig high_precision();

  // kInvalidArgument naming the field.
  Status validate() const;
};

// The parts' own rules; `validate()` has them all.
LOBIT_API Status validate(const StreamingConfig& config);
LOBIT_API Status validate(const BatchConfig& config);

}  // namespace lobit

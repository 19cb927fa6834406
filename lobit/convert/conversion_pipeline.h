// ConversionPipeline: conversions one after the other, with a memory of what came out of each stage. Made by
// an engine, whose configuration, threads, memory limit and statistics it shares. Stages are added by one
// thread; after that any number of threads may execute.
//
// A result is remembered under the tensor's content key, so a tensor that is written to in between is
// converted again. What is remembered counts against the engine's max_memory_usage; it is forgotten, the
// longest unused first, beyond 100 results or 500 MiB, when a conversion has no room, and, of a batch, when
// memory is short.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/convert/chunks.h"
#include "lobit/convert/conversion_strategy.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

namespace detail {
struct ConversionContext;
}

struct PipelineStats {
  uint64_t total_executions = 0;
  uint64_t total_stages_executed = 0;  // carried out, not remembered
  uint64_t cache_hits = 0;             // stages whose result was remembered
  uint64_t cache_misses = 0;           // stages that would have been remembered, and were carried out
  size_t cache_size = 0;               // results
  uint64_t cache_bytes = 0;
  uint64_t peak_memory_usage = 0;  // what is remembered and what is being made, at the same time

  double cache_hit_ratio() const {
    const uint64_t all = cache_hits + cache_misses;
    return all == 0 ? 0 : static_cast<double>(cache_hits) / static_cast<double>(all);
  }
};

struct PipelineStage {
  FormatChoice to;
  ConversionStrategy strategy = ConversionStrategy::kAuto;
  bool remembers = true;
};

class LOBIT_API ConversionPipeline {
 public:
  ConversionPipeline(ConversionPipeline&&) noexcept;
  ConversionPipeline& operator=(ConversionPipeline&&) noexcept;
  ~ConversionPipeline();

  // Each returns the pipeline, so that calls can be chained.
  ConversionPipeline& add_stage(FormatChoice to) &;
  ConversionPipeline add_stage(FormatChoice to) &&;
  ConversionPipeline& add_stage_with_strategy(FormatChoice to, ConversionStrategy strategy) &;
  ConversionPipeline add_stage_with_strategy(FormatChoice to, ConversionStrategy strategy) &&;
  // A stage whose result is not remembered, so that the next may reuse its memory.
  ConversionPipeline& add_stage_no_cache(FormatChoice to) &;
  ConversionPipeline add_stage_no_cache(FormatChoice to) &&;

  // Leaves out stages without which every tensor becomes the same bytes: a dtype that follows itself, and F32
  // between two other formats, which every conversion passes through anyway. Never changes a result.
  ConversionPipeline& optimize() &;
  ConversionPipeline optimize() &&;

  std::span<const PipelineStage> stages() const;

  // The tensor itself when there are no stages. An error says "stage 2 of 3 (i8): ...", detail.index 1.
  Result<Tensor> execute(const Tensor& tensor, const RunControl& control = {});
  // Results in the order of the tensors; the error of the first bad one, "tensor 3: stage 2 of ...".
  Result<std::vector<Tensor>> execute_batch(std::span<const Tensor> tensors, const RunControl& control = {});

  PipelineStats stats() const;
  // Forgets all results; what nobody else shares goes back to the pool.
  void clear_cache();

 private:
  friend class ConversionEngine;
  struct State;
  explicit ConversionPipeline(std::shared_ptr<detail::ConversionContext> context);
  std::unique_ptr<State> state_;
};

}  // namespace lobit

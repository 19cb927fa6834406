#include "lobit/convert/conversion_pipeline.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "lobit/convert/conversion_context_internal.h"
#include "lobit/convert/conversion_plan.h"
#include "lobit/convert/stage_cache_internal.h"

namespace lobit {

using detail::ConversionContext;
using detail::ConversionRequest;

namespace {

// How often a batch looks whether memory is short.
constexpr size_t kPressureInterval = 10;

bool is_memory_error(const Error& error) {
  return error.code == ErrorCode::kLimit || error.code == ErrorCode::kOutOfMemory;
}

bool same_choice(const FormatChoice& a, const FormatChoice& b) {
  return a.dtype() == b.dtype() && (a.dtype() || a.for_shape({}) == b.for_shape({}));
}

bool is_f32(const FormatChoice& choice) {
  return choice.dtype() ? *choice.dtype() == DType::kF32 : choice.for_shape({}) == ValueFormat{};
}

// Whether a tensor of the one choice may be met by the other already.
bool may_be_same(const FormatChoice& a, const FormatChoice& b) {
  const auto dtype = [](const FormatChoice& choice) {
    return choice.dtype() ? choice.dtype() : dtype_of(choice.for_shape({}).encoding);
  };
  return dtype(a) == dtype(b);
}

// Whether a forced strategy could refuse the stage.
bool never_refuses(ConversionStrategy strategy) {
  return strategy != ConversionStrategy::kZeroCopy && strategy != ConversionStrategy::kInPlace;
}

std::string stage_name(const FormatChoice& choice) {
  return choice.dtype() ? std::string(dtype_name(*choice.dtype())) : to_string(choice.for_shape({}));
}

}  // namespace

struct ConversionPipeline::State {
  explicit State(std::shared_ptr<ConversionContext> new_context) : context(std::move(new_context)) {}

  Result<Tensor> execute(const Tensor& tensor, const RunControl& control);
  Result<Tensor> carry_out(size_t stage, Tensor current, bool consumed, const RunControl& control);
  size_t remembered_stages(const ContentKey& key, Tensor& current, uint64_t& hits);
  void note_peak(uint64_t in_work);

  std::shared_ptr<ConversionContext> context;
  std::vector<PipelineStage> stages;
  detail::StageCache cache;
  std::atomic<uint64_t> executions = 0;
  std::atomic<uint64_t> stages_executed = 0;
  std::atomic<uint64_t> hits = 0;
  std::atomic<uint64_t> misses = 0;
  std::atomic<uint64_t> peak = 0;
};

ConversionPipeline::ConversionPipeline(std::shared_ptr<ConversionContext> context)
    : state_(std::make_unique<State>(std::move(context))) {}
ConversionPipeline::ConversionPipeline(ConversionPipeline&&) noexcept = default;
ConversionPipeline& ConversionPipeline::operator=(ConversionPipeline&&) noexcept = default;
ConversionPipeline::~ConversionPipeline() = default;

ConversionPipeline& ConversionPipeline::add_stage(FormatChoice to) & {
  state_->stages.push_back({.to = to});
  return *this;
}
ConversionPipeline ConversionPipeline::add_stage(FormatChoice to) && {
  return std::move(add_stage(to));
}

ConversionPipeline& ConversionPipeline::add_stage_with_strategy(FormatChoice to, ConversionStrategy strategy) & {
  state_->stages.push_back({.to = to, .strategy = strategy});
  return *this;
}
ConversionPipeline ConversionPipeline::add_stage_with_strategy(FormatChoice to,
                                                               ConversionStrategy strategy) && {
  return std::move(add_stage_with_strategy(to, strategy));
}

ConversionPipeline& ConversionPipeline::add_stage_no_cache(FormatChoice to) & {
  state_->stages.push_back({.to = to, .remembers = false});
  return *this;
}
ConversionPipeline ConversionPipeline::add_stage_no_cache(FormatChoice to) && {
  return std::move(add_stage_no_cache(to));
}

ConversionPipeline& ConversionPipeline::optimize() & {
  std::vector<PipelineStage>& stages = state_->stages;
  std::vector<PipelineStage> kept;
  for (const PipelineStage& stage : stages) {
    // What the stage before left is what this one asks for.
    if (!kept.empty() && same_choice(kept.back().to, stage.to)) continue;
    // Between A and B lies F32, which holds A's values exactly; the way from A to B goes through it as well,
    // unless A is B, where nothing would be done instead of a second rounding.
    const bool through_f32 = kept.size() >= 2 && is_f32(kept.back().to) && never_refuses(kept.back().strategy) &&
                             never_refuses(stage.strategy) && !may_be_same(kept[kept.size() - 2].to, stage.to);
    if (through_f32) kept.pop_back();
    kept.push_back(stage);
  }
  if (kept.size() != stages.size()) {
    // Results are remembered by the stages' numbers.
    state_->cache.clear();
    stages = std::move(kept);
  }
  return *this;
}
ConversionPipeline ConversionPipeline::optimize() && {
  return std::move(optimize());
}

std::span<const PipelineStage> ConversionPipeline::stages() const {
  return state_->stages;
}

void ConversionPipeline::State::note_peak(uint64_t in_work) {
  const uint64_t now = cache.bytes() + in_work;
  uint64_t most = peak.load(std::memory_order_relaxed);
  while (most < now && !peak.compare_exchange_weak(most, now, std::memory_order_relaxed)) {
  }
}

// Replaces `current` by the furthest result that is remembered; returns the first stage to carry out.
size_t ConversionPipeline::State::remembered_stages(const ContentKey& key, Tensor& current,
                                                    uint64_t& found_hits) {
  for (size_t stage = stages.size(); stage-- > 0;) {
    if (!stages[stage].remembers) continue;
    std::optional<Tensor> found = cache.find(key, stage);
    if (!found) continue;
    current = std::move(*found);
    found_hits = static_cast<uint64_t>(std::count_if(
        stages.begin(), stages.begin() + static_cast<ptrdiff_t>(stage) + 1,
        [](const PipelineStage& before) { return before.remembers; }));
    return stage + 1;
  }
  return 0;
}

Result<Tensor> ConversionPipeline::State::carry_out(size_t stage, Tensor current, bool consumed,
                                                    const RunControl& control) {
  const ConversionConfig& config = context->config;
  const ConversionStrategy strategy = stages[stage].strategy == ConversionStrategy::kAuto
                                          ? config.default_strategy
                                          : stages[stage].strategy;
  const ConversionRequest request{.strategy = strategy,
                                  .quality = config.default_quality,
                                  .control = &control,
                                  .memory = context->memory};
  // What is in memory of this pipeline's own while the stage runs.
  const FormatChoice& to = stages[stage].to;
  const auto layout = format_layout(to.for_shape(current.shape()), current.shape().rows(),
                                    current.shape().row_elements());
  note_peak((consumed ? current.size_bytes() : 0) + (layout ? layout->bytes : 0));
  return consumed ? detail::convert_consumed(*context, std::move(current), to, request)
                  : detail::convert_tensor(*context, current, to, request);
}

Result<Tensor> ConversionPipeline::State::execute(const Tensor& tensor, const RunControl& control) {
  const ContentKey key = tensor.content_key();
  Tensor current = tensor;
  uint64_t found = 0;
  const size_t first = remembered_stages(key, current, found);
  uint64_t done = 0;
  for (size_t stage = first; stage < stages.size(); ++stage, ++done) {
    // A tensor that only this pipeline knows may be overwritten by the stage.
    const bool consumed = stage > first && current.is_exclusive();
    Result<Tensor> result = carry_out(stage, std::move(current), consumed, control);
    if (!result) {
      return detail::fail_within(
          fmt::format("stage {} of {} ({})", stage + 1, stages.size(), stage_name(stages[stage].to)), stage,
          std::move(result).error());
    }
    current = std::move(*result);
    if (!stages[stage].remembers) continue;
    misses.fetch_add(1, std::memory_order_relaxed);
    // The tensor itself, when nothing had to be done, belongs to the caller.
    if (!current.shares_storage_with(tensor)) cache.insert(key, stage, current, context->account);
    note_peak(0);
  }
  executions.fetch_add(1, std::memory_order_relaxed);
  stages_executed.fetch_add(done, std::memory_order_relaxed);
  hits.fetch_add(found, std::memory_order_relaxed);
  if (context->config.enable_metrics) context->stats.record_pipeline(done + found, found);
  return current;
}

Result<Tensor> ConversionPipeline::execute(const Tensor& tensor, const RunControl& control) {
  Result<Tensor> result = state_->execute(tensor, control);
  if (result || !is_memory_error(result.error()) || state_->cache.size() == 0) return result;
  // What is remembered may be what there is no room beside.
  state_->cache.clear();
  return state_->execute(tensor, control);
}

Result<std::vector<Tensor>> ConversionPipeline::execute_batch(std::span<const Tensor> tensors,
                                                              const RunControl& control) {
  std::vector<Tensor> results;
  results.reserve(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const bool look = i % kPressureInterval == 0;
    if (look && state_->context->pressure_level() >= MemoryPressureLevel::kHigh) clear_cache();
    Result<Tensor> result = execute(tensors[i], control);
    if (!result) return detail::fail_within(fmt::format("tensor {}", i), i, std::move(result).error());
    results.push_back(std::move(*result));
  }
  return results;
}

PipelineStats ConversionPipeline::stats() const {
  PipelineStats stats;
  stats.total_executions = state_->executions.load(std::memory_order_relaxed);
  stats.total_stages_executed = state_->stages_executed.load(std::memory_order_relaxed);
  stats.cache_hits = state_->hits.load(std::memory_order_relaxed);
  stats.cache_misses = state_->misses.load(std::memory_order_relaxed);
  stats.cache_size = state_->cache.size();
  stats.cache_bytes = state_->cache.bytes();
  stats.peak_memory_usage = state_->peak.load(std::memory_order_relaxed);
  return stats;
}

void ConversionPipeline::clear_cache() {
  state_->cache.clear();
}

}  // namespace lobit

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <limits>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/base/fp_env.h"
#include "lobit/convert/conversion_context_internal.h"
#include "lobit/convert/conversion_plan.h"

namespace lobit::detail {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kNone = std::numeric_limits<size_t>::max();

// One batch conversion. What can be said of any tensor before the work is said before it; after the first
// error only tensors that come earlier in the caller's list are still looked at, because one of them may fail
// as well and its error is the one to report.
class BatchRun {
 public:
  BatchRun(ConversionContext& context, std::span<const BatchEntry> entries, const ConversionRequest& request,
           BatchReport* report)
      : context_(context),
        entries_(entries),
        request_(request),
        report_(report),
        layouts_(entries.size()),
        results_(entries.size()) {}

  Result<std::vector<Tensor>> run() {
    LOBIT_RETURN_IF_ERROR(plan());
    BatchQueue queue(items_, context_.config.batch);
    while (!queue.empty()) {
      Batch batch = queue.next(context_.pressure_level());
      std::erase_if(batch.tensors, [&](size_t index) { return index >= failed_; });
      if (!batch.tensors.empty()) carry_out(batch);
    }
    if (failed_ != kNone) return fail_within(fmt::format("tensor {}", failed_), failed_, std::move(error_));
    return std::move(results_);
  }

 private:
  ValueFormat target(size_t index) const {
    return entries_[index].to.for_shape(entries_[index].tensor->shape());
  }

  Status plan() {
    uint64_t total = 0;
    for (size_t i = 0; i < entries_.size(); ++i) {
      const Tensor& source = *entries_[i].tensor;
      const ValueFormat to = target(i);
      if (is_converted(source, entries_[i].to, to)) continue;
      const auto layout = check_convertible(source, to, request_.memory->device());
      if (!layout) return refuse(i, layout.error());
      layouts_[i] = *layout;
      items_.push_back({i, source.format(), to, source.device(), source.size_bytes(), layout->bytes});
      total += layout->bytes;
    }
    if (total > context_.account.limit()) {
      Error error{ErrorCode::kLimit,
                  fmt::format("max_memory_usage: {}: too small for the batch: its results take {}",
                              format_bytes(context_.account.limit()), format_bytes(total)),
                  {.required = total, .available = context_.account.limit()}};
      return refuse(items_.front().index, std::move(error));
    }
    for (size_t i = 0; i < entries_.size(); ++i) {
      const Tensor& source = *entries_[i].tensor;
      if (!is_converted(source, entries_[i].to, target(i))) continue;
      results_[i] = source;
      event_of(i, ConversionStrategy::kZeroCopy).succeed(source.format(), source.size_bytes(), {});
    }
    return {};
  }

  EventScope event_of(size_t index, ConversionStrategy strategy) const {
    return {context_, EventSource(*entries_[index].tensor), target(index), strategy, request_.quality};
  }

  Status refuse(size_t index, Error error) const {
    event_of(index, ConversionStrategy::kStandard).fail(error);
    if (error.code == ErrorCode::kLimit) return lobit::fail(std::move(error));
    return fail_within(fmt::format("tensor {}", index), index, std::move(error));
  }

  void keep_failure(size_t index, Error error) {
    event_of(index, ConversionStrategy::kStandard).fail(error);
    if (index >= failed_) return;
    failed_ = index;
    error_ = std::move(error);
  }

  void carry_out(Batch& batch) {
    const ThreadLease lease(context_, useful_threads(batch));
    batch.threads = std::max<size_t>(1, lease.workers().count);
    context_.log([&] {
      return fmt::format("batch of {} tensors, {} of results, {} threads, {} pressure", batch.tensors.size(),
                         format_bytes(batch.result_bytes), batch.threads,
                         memory_pressure_level_name(batch.pressure));
    });
    std::deque<TensorJob> jobs;
    for (const size_t index : batch.tensors) {
      jobs.emplace_back(*entries_[index].tensor, layouts_[index], spec_of(index));
      if (Status status = jobs.back().take_memory(); !status) {
        jobs.pop_back();
        keep_failure(index, std::move(status).error());
        break;
      }
    }
    batch.tensors.resize(jobs.size());
    if (!jobs.empty()) convert(batch, jobs, lease.workers());
    if (report_ != nullptr) report_->batches.push_back(std::move(batch));
  }

  // Those that the batch has work for: to wake another takes as long as this many bytes do.
  size_t useful_threads(const Batch& batch) const {
    constexpr uint64_t kBytes = uint64_t{1} << 20;
    const BatchConfig& config = context_.config.batch;
    if (!config.enable_parallel_processing) return 1;
    uint64_t bytes = 0;
    for (const size_t index : batch.tensors) bytes += entries_[index].tensor->size_bytes();
    return static_cast<size_t>(std::min<uint64_t>(config.batch_worker_threads, 1 + bytes / kBytes));
  }

  TensorJobSpec spec_of(size_t index) const {
    return {.to = target(index),
            .method = quantize_method(request_.quality),
            .overflow = context_.config.overflow,
            .memory = request_.memory,
            .account = &context_.account};
  }

  void convert(const Batch& batch, std::deque<TensorJob>& jobs, const ChunkWorkers& all) {
    std::vector<std::atomic<int64_t>> times(jobs.size());
    std::atomic<size_t> first_bad = kNone;
    const bool scratch = std::ranges::any_of(jobs, [](const TensorJob& job) { return job.has_scratch(); });
    const auto phase = [&](const ChunkWorkers& workers, auto item_of, auto work) {
      std::vector<ChunkedItem> items;
      items.reserve(jobs.size());
      for (const TensorJob& job : jobs) items.push_back(item_of(job));
      return for_each_chunk(workers, items, control(), [&](size_t, const Chunk& chunk) {
        const auto start = context_.config.enable_metrics ? Clock::now() : Clock::time_point{};
        Status status = work(jobs[chunk.item], chunk);
        if (context_.config.enable_metrics) {
          times[chunk.item].fetch_add((Clock::now() - start) / std::chrono::nanoseconds(1),
                                      std::memory_order_relaxed);
        }
        size_t bad = first_bad.load(std::memory_order_relaxed);
        while (!status && chunk.item < bad &&
               !first_bad.compare_exchange_weak(bad, chunk.item, std::memory_order_relaxed)) {
        }
        return status;
      });
    };
    Status status = phase(
        scratch ? ChunkWorkers{} : all, [](const TensorJob& job) { return job.measuring(); },
        [](TensorJob& job, const Chunk& chunk) { return job.measure(chunk); });
    if (status) {
      status = phase(
          all, [](const TensorJob& job) { return job.encoding(); },
          [](TensorJob& job, const Chunk& chunk) { return job.encode(chunk); });
    }
    if (!status) {
      // Stopped from outside: no tensor is at fault, and the first that is not there is named.
      const size_t bad = first_bad.load(std::memory_order_relaxed);
      keep_failure(batch.tensors[bad == kNone ? 0 : bad], std::move(status).error());
      return;
    }
    for (size_t i = 0; i < jobs.size(); ++i) {
      finish(batch.tensors[i], jobs[i], std::chrono::nanoseconds(times[i].load(std::memory_order_relaxed)));
    }
  }

  const RunControl& control() const {
    static const RunControl kNoControl;
    return request_.control == nullptr ? kNoControl : *request_.control;
  }

  void finish(size_t index, TensorJob& job, std::chrono::nanoseconds time) {
    const TensorJobFacts facts = job.facts();
    MemoryAccount::Hold hold;
    results_[index] = job.take_result(&hold);
    holds_.push_back(std::move(hold));
    EventScope event = event_of(index, ConversionStrategy::kStandard);
    event.set_duration(time);
    event.succeed(results_[index].format(), results_[index].size_bytes(), facts);
  }

  ConversionContext& context_;
  const std::span<const BatchEntry> entries_;
  const ConversionRequest& request_;
  BatchReport* const report_;
  std::vector<FormatLayout> layouts_;  // of new values
  std::vector<BatchItem> items_;
  std::vector<Tensor> results_;
  std::vector<MemoryAccount::Hold> holds_;  // results count until they are handed out
  size_t failed_ = kNone;
  Error error_;
};

}  // namespace

Result<std::vector<Tensor>> convert_batch(ConversionContext& context, std::span<const BatchEntry> entries,
                                          const ConversionRequest& request, BatchReport* report) {
  const ScopedFpEnv fp_env;
  return BatchRun(context, entries, request, report).run();
}

}  // namespace lobit::detail

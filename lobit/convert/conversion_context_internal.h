// What a ConversionEngine, its pipelines and the converters are made of: configuration, memory, threads and
// statistics, and the one function through which a tensor is converted. Not installed. Any thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lobit/base/thread_pool.h"
#include "lobit/convert/batch_queue.h"
#include "lobit/convert/chunks.h"
#include "lobit/convert/conversion_config.h"
#include "lobit/convert/conversion_stats.h"
#include "lobit/convert/file_stream_internal.h"
#include "lobit/convert/memory_account.h"
#include "lobit/convert/tensor_job.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/memory/pressure_monitor.h"
#include "lobit/tensor/tensor.h"

namespace lobit::detail {

struct ConversionContext {
  // Checks the configuration and starts the threads.
  static Result<std::shared_ptr<ConversionContext>> create(ConversionConfig config, MemoryResource* memory,
                                                           const PressureMonitor* pressure = nullptr);
  ConversionContext(ConversionConfig new_config, MemoryResource* new_memory, ThreadPool new_threads,
                    const PressureMonitor* new_pressure)
      : config(std::move(new_config)),
        memory(new_memory),
        pressure(new_pressure),
        threads(std::move(new_threads)),
        account(config.max_memory_usage) {}

  const ConversionConfig config;
  MemoryResource* const memory;  // nullptr: every request brings its own
  const PressureMonitor* const pressure;  // nullptr: memory is never short
  ThreadPool threads;
  std::atomic<bool> threads_lent = false;
  MemoryAccount account;
  ConversionStats stats;

  MemoryPressureLevel pressure_level() const {
    return pressure == nullptr ? MemoryPressureLevel::kNone : pressure->level();
  }

  // Makes the line only when somebody reads it.
  template <typename MakeLine>
  void log(MakeLine make_line) const {
    if (config.log) config.log(make_line());
  }
};

// The context's threads while nobody else uses them; the calling thread alone otherwise, so that callers never
// wait for each other, and a progress callback may convert, too.
class ThreadLease {
 public:
  ThreadLease(ConversionContext& context, size_t wanted) : context_(context) {
    if (wanted <= 1 || context.threads.size() <= 1) return;
    lent_ = !context.threads_lent.exchange(true, std::memory_order_acquire);
    if (lent_) workers_ = {&context.threads, std::min(wanted, context.threads.size())};
  }
  ~ThreadLease() {
    if (lent_) context_.threads_lent.store(false, std::memory_order_release);
  }
  ThreadLease(const ThreadLease&) = delete;
  ThreadLease& operator=(const ThreadLease&) = delete;

  const ChunkWorkers& workers() const { return workers_; }

 private:
  ConversionContext& context_;
  bool lent_ = false;
  ChunkWorkers workers_;
};

// How one conversion is asked for.
struct ConversionRequest {
  ConversionStrategy strategy = ConversionStrategy::kAuto;
  ConversionQuality quality = ConversionQuality::kBalanced;
  uint64_t chunk_bytes = 0;  // of kStreaming; 0: the configured
  InPlaceChecks checks = InPlaceChecks::kFits;
  const RunControl* control = nullptr;
  MemoryResource* memory = nullptr;
  Status refusal = {};  // what is wrong with the call itself
};

// What an event says of the source.
struct EventSource {
  explicit EventSource(const Tensor& tensor)
      : format(tensor.format()),
        device(tensor.device()),
        elements(tensor.elements()),
        bytes(tensor.size_bytes()) {}
  explicit EventSource(const FileValues& values);

  ValueFormat format = {};
  Device device = {};
  uint64_t elements = 0;
  uint64_t bytes = 0;
};

// An event that is being made: begins with the clock and ends with what came of it. Nothing without metrics.
class EventScope {
 public:
  EventScope(ConversionContext& context, const EventSource& source, ValueFormat to,
             ConversionStrategy strategy, ConversionQuality quality);

  void set_strategy(ConversionStrategy strategy) { event_.strategy = strategy; }
  void succeed(ValueFormat format, uint64_t bytes, const TensorJobFacts& facts);
  void fail(const Error& error);
  // Time that was measured elsewhere stands for the scope's own.
  void set_duration(std::chrono::nanoseconds duration) { duration_ = duration; }

 private:
  void record();

  ConversionContext& context_;
  const bool enabled_;
  std::chrono::steady_clock::time_point start_;
  std::optional<std::chrono::nanoseconds> duration_;
  ConversionEvent event_;
};

// Whether a tensor is in a format already. A dtype is met by each of its formats.
bool is_converted(const Tensor& tensor, FormatChoice choice, ValueFormat to);

// source -> new tensor, or a share of it. Records one event.
Result<Tensor> convert_tensor(ConversionContext& context, const Tensor& source, FormatChoice to,
                              const ConversionRequest& request);
// Rewrites `tensor` itself, or replaces it by a tensor in new memory where kAuto finds that better.
Result<Tensor> convert_consumed(ConversionContext& context, Tensor tensor, FormatChoice to,
                                const ConversionRequest& request);
Status convert_where_it_lies(ConversionContext& context, Tensor& tensor, FormatChoice to,
                             const ConversionRequest& request);

struct BatchEntry {
  const Tensor* tensor = nullptr;
  FormatChoice to;
};
Result<std::vector<Tensor>> convert_batch(ConversionContext& context, std::span<const BatchEntry> entries,
                                          const ConversionRequest& request, BatchReport* report);

Result<FileStreamFacts> convert_file(ConversionContext& context, const FileValues& from, const FileTarget& to,
                                     const ConversionRequest& request);

// "tensor 3: ", "stage 2 of 3 (i8): " before an error's message; its index becomes `index`.
tl::unexpected<Error> fail_within(std::string_view place, uint64_t index, Error error);

}  // namespace lobit::detail

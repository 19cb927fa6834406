// LoggingResource: writes what goes through it to a trace (trace.h), for replay() to run again and
// profile_trace() to explain. Any number of threads; a lock puts their events in one order, in which a block
// is never allocated before the one that had its memory is freed.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "lobit/memory/memory_tag.h"
#include "lobit/memory/resource_wrapper.h"
#include "lobit/memory/stack_capture.h"
#include "lobit/memory/trace.h"

namespace lobit {

namespace detail {
class LiveBlocks;
}

struct LoggingOptions {
  std::string name = {};                         // of the program, for the reports; empty writes none
  std::optional<uint64_t> limit = std::nullopt;  // of its memory, for the reports
  StackCapture stacks = StackCapture::kNone;     // where each allocation comes from
  // How often it is written what the resource below has committed, at most. Apart from that it is written
  // after a refusal and a trim and at the end.
  std::chrono::nanoseconds usage_interval = std::chrono::milliseconds(10);
};

class LOBIT_API LoggingResource final : public ResourceWrapper {
 public:
  // The sink must outlive it.
  LoggingResource(MemoryResource& upstream, TraceSink& sink, LoggingOptions options = {});
  // Closes the trace if close() did not, without a word about errors.
  ~LoggingResource() override;

  // Ends the trace. The first error of the sink, whenever it happened: allocating and freeing do not fail
  // because the trace cannot be written. The resource works on, unrecorded.
  Status close();

 private:
  // When to ask how much is committed.
  enum class Usage : uint8_t { kIfDue, kNow };

  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  // Refuses blocks that were not allocated here.
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;
  size_t do_trim() override;

  uint64_t now_ns() const;
  uint32_t capture_stack() const;
  // What is committed, if it is to be written. Without the lock: nobody knows what locks are below.
  std::optional<uint64_t> usage_to_write(Usage usage);

  // These want the lock.
  void record(TraceEvent event, Stream stream);
  void record_usage(std::optional<uint64_t> committed);
  void record_stacks();
  uint8_t tag_number(MemoryTag tag);
  uint32_t stack_number(uint32_t stack);
  uint32_t thread_number();
  uint32_t stream_number(Stream stream);

  const uint64_t start_ns_;
  const LoggingOptions options_;
  std::atomic<uint64_t> next_usage_ns_ = 0;
  std::mutex mutex_;
  TraceWriter writer_;
  bool closed_ = false;
  bool incomplete_ = false;  // an event is missing, so none is written after it
  std::unique_ptr<detail::LiveBlocks> blocks_;
  std::array<std::optional<uint8_t>, kMaxMemoryTags> tags_ = {};
  std::unordered_map<uint64_t, uint32_t> threads_;
  std::unordered_map<void*, uint32_t> streams_;
  std::unordered_set<uint32_t> stacks_;  // that events name
};
static_assert(MemoryWrapper<LoggingResource>);

}  // namespace lobit

// LoggingResource: writes what goes through it to a trace (trace.h), for replay() to run again. Any number of
// threads; a lock puts their events in one order, in which a block is never allocated before the one that had
// its memory is freed.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "lobit/memory/resource_wrapper.h"
#include "lobit/memory/trace.h"

namespace lobit {

namespace detail {
class LiveBlocks;
}

class LOBIT_API LoggingResource final : public ResourceWrapper {
 public:
  // The sink must outlive it.
  LoggingResource(MemoryResource& upstream, TraceSink& sink);
  // Closes the trace if close() did not, without a word about errors.
  ~LoggingResource() override;

  // Ends the trace. The first error of the sink, whenever it happened: allocating and freeing do not fail
  // because the trace cannot be written. The resource works on, unrecorded.
  Status close();

 private:
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  // Refuses blocks that were not allocated here.
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;
  size_t do_trim() override;

  // These want the lock.
  void record(TraceEvent event, Stream stream);
  uint32_t thread_number();
  uint32_t stream_number(Stream stream);

  const std::chrono::steady_clock::time_point start_;
  std::mutex mutex_;
  TraceWriter writer_;
  bool closed_ = false;
  bool incomplete_ = false;  // an event is missing, so none is written after it
  std::unique_ptr<detail::LiveBlocks> blocks_;
  std::unordered_map<uint64_t, uint32_t> threads_;
  std::unordered_map<void*, uint32_t> streams_;
};
static_assert(MemoryWrapper<LoggingResource>);

}  // namespace lobit

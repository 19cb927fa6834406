// What --memory-trace does: a pool that an operation takes its memory from, and the trace of it in a file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/logging_resource.h"
#include "lobit/memory/trace.h"

namespace lobit::cli {

// The file appears when the trace is closed, or when the object goes: an operation that failed for want of
// memory leaves the trace that says why.
class MemoryTrace {
 public:
  // Refuses a name whose folder does not exist, or an existing file that is not a trace.
  static Status check(const std::string& path);
  // `limit` in bytes, 0 for none; `name` of what is traced.
  static Result<std::unique_ptr<MemoryTrace>> create(const std::string& path, uint64_t limit,
                                                     const std::string& name);

  MemoryResource& resource() { return log_; }
  // The first error of writing the file.
  Status close() { return log_.close(); }

 private:
  MemoryTrace(std::unique_ptr<HybridMemoryPool> pool, TraceFile file, LoggingOptions options);

  std::unique_ptr<HybridMemoryPool> pool_;
  TraceFile file_;
  LoggingResource log_;
};

}  // namespace lobit::cli

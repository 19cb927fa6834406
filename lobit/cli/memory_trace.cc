#include "lobit/cli/memory_trace.h"

#include <utility>

#include "lobit/cli/command.h"

namespace lobit::cli {

Status MemoryTrace::check(const std::string& path) {
  return check_replaceable(path, "memory trace", {"lobit_trace_"});
}

Result<std::unique_ptr<MemoryTrace>> MemoryTrace::create(const std::string& path, uint64_t limit,
                                                         const std::string& name) {
  MemoryPoolOptions options{.huge_pages = HugePages::kNever, .idle_trim = std::chrono::milliseconds::zero()};
  LoggingOptions logging{.name = name, .stacks = StackCapture::kRecorded};
  if (limit > 0) {
    options.limit = limit;
    logging.limit = limit;
  }
  LOBIT_TRY(std::unique_ptr<HybridMemoryPool> pool, HybridMemoryPool::create(options));
  LOBIT_TRY(TraceFile file, TraceFile::create(path));
  return std::unique_ptr<MemoryTrace>(new MemoryTrace(std::move(pool), std::move(file), std::move(logging)));
}

MemoryTrace::MemoryTrace(std::unique_ptr<HybridMemoryPool> pool, TraceFile file, LoggingOptions options)
    : pool_(std::move(pool)), file_(std::move(file)), log_(*pool_, file_, std::move(options)) {}

}  // namespace lobit::cli

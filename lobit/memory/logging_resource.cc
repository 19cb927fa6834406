#include "lobit/memory/logging_resource.h"

#include <atomic>
#include <new>
#include <utility>

#include "lobit/memory/live_blocks_internal.h"

namespace lobit {
namespace {

// The system gives the identifier of a thread that ended to another; this number is given once.
uint64_t number_in_process() {
  static std::atomic<uint64_t> count = 0;
  thread_local const uint64_t kNumber = count.fetch_add(1, std::memory_order_relaxed);
  return kNumber;
}

}  // namespace

LoggingResource::LoggingResource(MemoryResource& upstream, TraceSink& sink)
    : ResourceWrapper(upstream),
      start_(std::chrono::steady_clock::now()),
      writer_(sink),
      blocks_(std::make_unique<detail::LiveBlocks>()) {}

LoggingResource::~LoggingResource() {
  try {
    static_cast<void>(close());
  } catch (const std::bad_alloc&) {
    incomplete_ = true;  // of the last events, or of a message, which nobody would read
  }
}

Status LoggingResource::close() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(closed_, true)) return fail(ErrorCode::kInvalidArgument, "trace: is closed already");
  Status closed = writer_.close();
  if (closed && incomplete_) return fail(ErrorCode::kOutOfMemory, "trace: no memory to record an event");
  return closed;
}

Result<void*> LoggingResource::do_allocate(size_t bytes, size_t alignment, Stream stream) {
  Result<void*> block = upstream().allocate(bytes, alignment, stream);
  std::unique_lock lock(mutex_);
  if (!block) {
    record({.op = TraceOp::kRefuse, .bytes = bytes, .alignment = alignment}, stream);
    return block;
  }
  Result<uint64_t> number = blocks_->add(*block, bytes, alignment, bytes, stream);
  if (!number) {
    lock.unlock();
    static_cast<void>(upstream().deallocate(*block, bytes, alignment, stream));
    return fail(std::move(number).error());
  }
  record({.op = TraceOp::kAllocate, .block = *number, .bytes = bytes, .alignment = alignment}, stream);
  return block;
}

Status LoggingResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) {
  {
    const std::lock_guard lock(mutex_);
    // Before the memory goes back: another thread may be given it, and record that, at once.
    LOBIT_TRY(const detail::LiveBlocks::Block block, blocks_->remove(pointer, bytes, alignment));
    record({.op = TraceOp::kFree, .block = block.number, .bytes = bytes, .alignment = alignment}, stream);
  }
  return upstream().deallocate(pointer, bytes, alignment, stream);
}

size_t LoggingResource::do_trim() {
  const size_t given_back = upstream().trim();
  const std::lock_guard lock(mutex_);
  record({.op = TraceOp::kTrim, .bytes = given_back}, Stream());
  return given_back;
}

void LoggingResource::record(TraceEvent event, Stream stream) {
  if (closed_ || incomplete_) return;
  try {
    event.thread = thread_number();
    event.stream = stream_number(stream);
    event.time_ns = static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start_)
            .count());
    static_cast<void>(writer_.append(event));  // the writer keeps its error for close()
  } catch (const std::bad_alloc&) {
    incomplete_ = true;
  }
}

uint32_t LoggingResource::thread_number() {
  return threads_.try_emplace(number_in_process(), static_cast<uint32_t>(threads_.size())).first->second;
}

uint32_t LoggingResource::stream_number(Stream stream) {
  if (stream.handle == nullptr) return 0;
  const auto next = static_cast<uint32_t>(streams_.size() + 1);
  return streams_.try_emplace(stream.handle, next).first->second;
}

}  // namespace lobit

#include "lobit/memory/logging_resource.h"

#include <algorithm>
#include <new>
#include <utility>
#include <vector>

#include "lobit/base/call_stack.h"
#include "lobit/base/time_budget.h"
#include "lobit/memory/live_blocks_internal.h"
#include "lobit/memory/thread_number.h"

namespace lobit {
namespace {

uint64_t address_of(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer);
}

}  // namespace

LoggingResource::LoggingResource(MemoryResource& upstream, TraceSink& sink, LoggingOptions options)
    : ResourceWrapper(upstream),
      start_ns_(steady_nanoseconds()),
      options_(std::move(options)),
      writer_(sink),
      blocks_(std::make_unique<detail::LiveBlocks>()) {
  // The writer keeps its error for close().
  if (!options_.name.empty()) static_cast<void>(writer_.append_name(options_.name));
  if (options_.limit.has_value()) static_cast<void>(writer_.append_limit(*options_.limit));
}

LoggingResource::~LoggingResource() {
  try {
    static_cast<void>(close());
  } catch (const std::bad_alloc&) {
    incomplete_ = true;  // of the last events, or of a message, which nobody would read
  }
}

Status LoggingResource::close() {
  const std::optional<uint64_t> committed = usage_to_write(Usage::kNow);
  const std::lock_guard lock(mutex_);
  record_usage(committed);
  if (std::exchange(closed_, true)) return fail(ErrorCode::kInvalidArgument, "trace: is closed already");
  record_stacks();
  Status closed = writer_.close();
  if (closed && incomplete_) return fail(ErrorCode::kOutOfMemory, "trace: no memory to record an event");
  return closed;
}

Result<void*> LoggingResource::do_allocate(size_t bytes, size_t alignment, Stream stream) {
  Result<void*> block = upstream().allocate(bytes, alignment, stream);
  const uint32_t stack = capture_stack();
  const std::optional<uint64_t> committed = usage_to_write(block ? Usage::kIfDue : Usage::kNow);
  std::unique_lock lock(mutex_);
  TraceEvent event{.op = TraceOp::kRefuse, .bytes = bytes, .alignment = alignment, .stack = stack};
  if (!block) {
    event.tag = tag_number(current_memory_tag());
    record(event, stream);
    record_usage(committed);
    return block;
  }
  Result<detail::LiveBlocks::Block> added = blocks_->add(*block, bytes, alignment, bytes, stream);
  if (!added) {
    lock.unlock();
    static_cast<void>(upstream().deallocate(*block, bytes, alignment, stream));
    return fail(std::move(added).error());
  }
  event.op = TraceOp::kAllocate;
  event.tag = tag_number(added->tag);
  event.block = added->number;
  event.address = address_of(*block);
  record(event, stream);
  record_usage(committed);
  return block;
}

Status LoggingResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) {
  const std::optional<uint64_t> committed = usage_to_write(Usage::kIfDue);
  {
    const std::lock_guard lock(mutex_);
    // Before the memory goes back: another thread may be given it, and record that, at once.
    LOBIT_TRY(const detail::LiveBlocks::Block block, blocks_->remove(pointer, bytes, alignment));
    record_usage(committed);
    record({.op = TraceOp::kFree,
            .tag = tag_number(block.tag),
            .block = block.number,
            .bytes = bytes,
            .alignment = alignment,
            .address = address_of(pointer)},
           stream);
  }
  return upstream().deallocate(pointer, bytes, alignment, stream);
}

size_t LoggingResource::do_trim() {
  const size_t given_back = upstream().trim();
  const std::optional<uint64_t> committed = usage_to_write(Usage::kNow);
  const std::lock_guard lock(mutex_);
  record({.op = TraceOp::kTrim, .bytes = given_back}, Stream());
  record_usage(committed);
  return given_back;
}

uint64_t LoggingResource::now_ns() const {
  return steady_nanoseconds() - start_ns_;
}

uint32_t LoggingResource::capture_stack() const {
  return options_.stacks == StackCapture::kNone ? 0 : capture_call_stack();
}

std::optional<uint64_t> LoggingResource::usage_to_write(Usage usage) {
  const uint64_t now = now_ns();
  uint64_t due = next_usage_ns_.load(std::memory_order_relaxed);
  if (usage == Usage::kIfDue && now < due) return std::nullopt;
  const auto interval = static_cast<uint64_t>(std::max<int64_t>(options_.usage_interval.count(), 0));
  // Of the threads that come at the same time one asks.
  const bool mine = next_usage_ns_.compare_exchange_strong(due, now + interval, std::memory_order_relaxed);
  if (usage == Usage::kIfDue && !mine) return std::nullopt;
  return upstream().usage().committed;
}

void LoggingResource::record(TraceEvent event, Stream stream) {
  if (closed_ || incomplete_) return;
  try {
    event.thread = thread_number();
    event.stream = stream_number(stream);
    event.stack = stack_number(event.stack);
    event.time_ns = now_ns();
    static_cast<void>(writer_.append(event));  // the writer keeps its error for close()
  } catch (const std::bad_alloc&) {
    incomplete_ = true;
  }
}

void LoggingResource::record_usage(std::optional<uint64_t> committed) {
  if (committed.has_value()) record({.op = TraceOp::kUsage, .bytes = *committed}, Stream());
}

void LoggingResource::record_stacks() {
  if (stacks_.empty()) return;
  std::vector<uint32_t> numbers(stacks_.begin(), stacks_.end());
  std::ranges::sort(numbers);
  const std::vector<StackTrace> traces = stack_traces(numbers);
  for (size_t i = 0; i < std::min(numbers.size(), traces.size()); ++i) {
    static_cast<void>(writer_.append_stack(numbers[i], traces[i]));
  }
}

uint8_t LoggingResource::tag_number(MemoryTag tag) {
  std::optional<uint8_t>& number = tags_[static_cast<size_t>(tag) % kMaxMemoryTags];
  if (number.has_value()) return *number;
  try {
    // There are fewer tags in a process than a trace may have, and all names are good.
    number = writer_.add_tag(memory_tag_name(tag)).value();
  } catch (const std::bad_alloc&) {
    incomplete_ = true;
    return 0;
  }
  return *number;
}

uint32_t LoggingResource::stack_number(uint32_t stack) {
  if (stack == 0 || stacks_.contains(stack)) return stack;
  if (stacks_.size() == kMaxTraceStacks) return 0;  // readers would refuse the trace
  stacks_.insert(stack);
  return stack;
}

uint32_t LoggingResource::thread_number() {
  return threads_.try_emplace(detail::thread_number(), static_cast<uint32_t>(threads_.size())).first->second;
}

uint32_t LoggingResource::stream_number(Stream stream) {
  if (stream.handle == nullptr) return 0;
  const auto next = static_cast<uint32_t>(streams_.size() + 1);
  return streams_.try_emplace(stream.handle, next).first->second;
}

}  // namespace lobit

#include "lobit/convert/workers.h"

#include <algorithm>

#include <fmt/format.h>

#include "lobit/base/bytes.h"

namespace lobit {
namespace {

// What a thread holds besides its buffer: the touched part of its stack, and the system's bookkeeping.
constexpr uint64_t kThreadBytes = 64 << 10;
constexpr uint64_t kPage = 4096;

}  // namespace

tl::unexpected<Error> Workers::too_small(uint64_t least, uint64_t limit) {
  return fail(ErrorCode::kLimit,
              fmt::format("memory limit {}: too small for this model: the least that works is {} ({} bytes)",
                          format_bytes(limit), format_bytes(least), least),
              {.required = least, .available = limit});
}

uint64_t Workers::least_limit(const WorkersSpec& spec) {
  return spec.held + kThreadBytes + spec.least_bytes;
}

Result<Workers> Workers::create(const WorkersSpec& spec) {
  size_t threads = spec.threads == 0 ? ThreadPool::default_threads() : spec.threads;
  uint64_t bytes = spec.usual_bytes;
  if (spec.memory_limit > 0) {
    const uint64_t least = least_limit(spec);
    if (spec.memory_limit < least) return too_small(least, spec.memory_limit);
    const uint64_t free = spec.memory_limit - spec.held;
    threads = static_cast<size_t>(std::min<uint64_t>(threads, free / (kThreadBytes + spec.least_bytes)));
    bytes = std::clamp((free / threads - kThreadBytes) / kPage * kPage, spec.least_bytes, spec.usual_bytes);
  }
  LOBIT_TRY(ThreadPool pool, ThreadPool::create(threads));
  Workers workers{std::move(pool), {}};
  for (size_t i = 0; i < threads; ++i) {
    LOBIT_TRY(ScratchBuffer buffer, ScratchBuffer::create(bytes));
    workers.buffers.push_back(std::move(buffer));
  }
  return workers;
}

}  // namespace lobit

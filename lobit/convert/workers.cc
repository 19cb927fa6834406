#include "lobit/convert/workers.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/base/checked.h"
#include "lobit/memory/memory_tag.h"

namespace lobit {
namespace {

// What a thread holds besides its buffer: the touched part of its stack, and the system's bookkeeping.
constexpr uint64_t kThreadBytes = 64 << 10;
// The records of a pool of our own, of which a few pages are touched.
constexpr uint64_t kPoolBytes = 32 << 10;
constexpr uint64_t kPage = 4096;
// From here on a pool hands out whole pages and nothing around them, so that what a block takes of the limit
// is known beforehand.
constexpr uint64_t kWholePages = 36 << 10;

// More than any limit when it does not fit.
uint64_t sum(uint64_t a, uint64_t b) {
  return checked_add(a, b).value_or(std::numeric_limits<uint64_t>::max());
}

// What the table takes of the pool.
uint64_t table_bytes(const WorkersSpec& spec) {
  if (spec.table_bytes == 0) return 0;
  return checked_round_up(std::max(spec.table_bytes, kWholePages), kPage).value_or(spec.table_bytes);
}

// What is held whatever the number of workers.
uint64_t shared_bytes(const WorkersSpec& spec) {
  return sum(sum(spec.held, spec.memory == nullptr ? kPoolBytes : 0), table_bytes(spec));
}

struct Shares {
  size_t threads = 0;
  uint64_t buffer_bytes = 0;
  uint64_t pool_limit = kNoLimit;
};

// Of a limit that least_limit() has room in.
Shares shares(const WorkersSpec& spec) {
  const size_t wanted = spec.threads == 0 ? ThreadPool::default_threads() : spec.threads;
  if (spec.memory_limit == 0) return {wanted, spec.usual_bytes, kNoLimit};
  const uint64_t free = spec.memory_limit - shared_bytes(spec);
  const auto threads = std::min<uint64_t>(wanted, free / (kThreadBytes + spec.least_bytes));
  const uint64_t room = (free / threads - kThreadBytes) / kPage * kPage;
  return {static_cast<size_t>(threads), std::clamp(room, spec.least_bytes, spec.usual_bytes),
          table_bytes(spec) + free - threads * kThreadBytes};
}

// The pool behind every conversion, comparison and statistic whose caller gave no resource. No huge pages:
// one is resident in whole as soon as any of it is touched, which made peaks 2 to 6 MiB larger, and buffers
// that stay in the second-level cache became no faster. No idle trimming: the blocks live as long as the
// pool.
Result<std::unique_ptr<HybridMemoryPool>> make_pool(uint64_t limit) {
  return HybridMemoryPool::create(
      {.limit = limit, .huge_pages = HugePages::kNever, .idle_trim = std::chrono::milliseconds::zero()});
}

}  // namespace

tl::unexpected<Error> Workers::too_small(uint64_t least, uint64_t limit) {
  return fail(ErrorCode::kLimit,
              fmt::format("memory limit {}: too small for this model: the least that works is {} ({} bytes)",
                          format_bytes(limit), format_bytes(least), least),
              {.required = least, .available = limit});
}

uint64_t Workers::least_limit(const WorkersSpec& spec) {
  return sum(sum(shared_bytes(spec), kThreadBytes), spec.least_bytes);
}

Result<Workers> Workers::create(const WorkersSpec& spec) {
  if (spec.memory_limit > 0 && spec.memory_limit < least_limit(spec)) {
    return too_small(least_limit(spec), spec.memory_limit);
  }
  const Shares share = shares(spec);
  LOBIT_TRY(ThreadPool threads, ThreadPool::create(share.threads));
  Workers workers(std::move(threads));
  MemoryResource* memory = spec.memory;
  if (memory == nullptr) {
    LOBIT_TRY(workers.own_pool, make_pool(share.pool_limit));
    memory = workers.own_pool.get();
  }
  if (spec.table_bytes > 0) {
    const ScopedMemoryTag tag(MemoryTag::kScratch);
    LOBIT_TRY(workers.table, Buffer::allocate(*memory, table_bytes(spec)));
  }
  workers.buffers.reserve(share.threads);
  const ScopedMemoryTag tag(MemoryTag::kIo);
  for (size_t i = 0; i < share.threads; ++i) {
    LOBIT_TRY(Buffer buffer, Buffer::allocate(*memory, share.buffer_bytes));
    workers.buffers.push_back(std::move(buffer));
  }
  return workers;
}

void Workers::drop_table() {
  table = {};
  if (own_pool != nullptr) own_pool->trim();
}

}  // namespace lobit

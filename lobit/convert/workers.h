// Workers: threads with a buffer for each, and one table that all of them fill in, cut to a memory limit. All
// of it comes from one MemoryResource: the caller's, or a pool that is made for it here and whose limit is
// what the memory limit leaves. Owns its memory; movable.
#pragma once

#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "lobit/base/check.h"
#include "lobit/base/result.h"
#include "lobit/base/thread_pool.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/hybrid_memory_pool.h"

namespace lobit {

// What to make, and what bounds it.
struct WorkersSpec {
  uint64_t held = 0;                 // bytes that the operation holds besides
  uint64_t memory_limit = 0;         // of everything together; 0: none
  size_t threads = 0;                // wanted; 0: one for each processor
  uint64_t table_bytes = 0;          // of the table, in whatever number of threads
  uint64_t usual_bytes = 0;          // of a worker's buffer when there is room
  uint64_t least_bytes = 0;          // of a worker's buffer at least; whole pages
  MemoryResource* memory = nullptr;  // where table and buffers come from; none: a pool of their own
};

struct Workers {
  std::unique_ptr<HybridMemoryPool> own_pool;  // unless the caller gave a resource; outlives the blocks
  ThreadPool threads;
  Buffer table;
  std::vector<Buffer> buffers;  // one for each of threads.size(), all of one size

  // Buffers shrink to the least before threads go. kLimit, naming the least limit that works, when not even
  // one worker fits; the resource's errors.
  static Result<Workers> create(const WorkersSpec& spec);

  // The error for a limit under `least`.
  static tl::unexpected<Error> too_small(uint64_t least, uint64_t limit);

  // The least limit that create() accepts.
  static uint64_t least_limit(const WorkersSpec& spec);

  // Gives the table's memory back before the rest; a pool of their own gives it back to the system.
  void drop_table();

  uint64_t buffer_bytes() const { return buffers.size() * buffers[0].size(); }

  explicit Workers(ThreadPool new_threads) : threads(std::move(new_threads)) {}
  Workers(Workers&&) noexcept = default;
  // Would free the old pool before the blocks that came from it.
  Workers& operator=(Workers&&) = delete;
  ~Workers() = default;
};

// The next `count` values of a table, each as T{}; the table is cut by them.
template <typename T>
std::span<T> take_values(std::span<std::byte>& table, size_t count) {
  static_assert(std::is_trivially_destructible_v<T>);
  LOBIT_CHECK(count * sizeof(T) <= table.size());
  T* const first = reinterpret_cast<T*>(table.data());
  std::uninitialized_value_construct_n(first, count);
  table = table.subspan(count * sizeof(T));
  return {first, count};
}

}  // namespace lobit

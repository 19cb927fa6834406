// BlockCounts: what the pools of a device have handed out, told by their caches from time to time.
#pragma once

#include <atomic>
#include <cstdint>

namespace lobit::detail {

// Of one thread, or of one change.
struct BlockChange {
  int64_t bytes = 0;       // live bytes, as asked for; a thread that frees what others allocated goes below 0
  int64_t most_bytes = 0;  // the most that `bytes` was since the last time
  int64_t used = 0;        // live bytes, as rounded
  uint64_t allocations = 0;
  uint64_t deallocations = 0;
};

struct BlockCounts {
  std::atomic<int64_t> bytes{0};
  std::atomic<int64_t> most_bytes{0};
  std::atomic<int64_t> used{0};
  std::atomic<uint64_t> allocations{0};
  std::atomic<uint64_t> deallocations{0};

  void add(const BlockChange& change) {
    const int64_t most = bytes.fetch_add(change.bytes, std::memory_order_relaxed) + change.most_bytes;
    int64_t known = most_bytes.load(std::memory_order_relaxed);
    while (known < most && !most_bytes.compare_exchange_weak(known, most, std::memory_order_relaxed)) {
    }
    used.fetch_add(change.used, std::memory_order_relaxed);
    allocations.fetch_add(change.allocations, std::memory_order_relaxed);
    deallocations.fetch_add(change.deallocations, std::memory_order_relaxed);
  }
};

}  // namespace lobit::detail

// BlockCounts: what the pools of a device have handed out, told by their caches from time to time.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace lobit::detail {

// Of one thread, or of one change.
struct BlockChange {
  int64_t bytes = 0;       // live bytes, as asked for; a thread that frees what others allocated goes below 0
  int64_t most_bytes = 0;  // the most that `bytes` was since the last time
  uint64_t allocations = 0;
  uint64_t deallocations = 0;

  bool any() const { return (allocations | deallocations) != 0; }
  void allocated(size_t size) {
    bytes += static_cast<int64_t>(size);
    if (bytes > most_bytes) [[unlikely]]
      most_bytes = bytes;
    ++allocations;
  }
  void freed(size_t size) {
    bytes -= static_cast<int64_t>(size);
    ++deallocations;
  }
};

struct alignas(64) BlockCounts {
  std::atomic<int64_t> bytes{0};  // of caches
  std::atomic<int64_t> large_bytes{0};
  std::atomic<int64_t> most_bytes{0};  // of both together
  std::atomic<uint64_t> allocations{0};
  std::atomic<uint64_t> deallocations{0};
  std::atomic<uint64_t> large_allocations{0};
  std::atomic<uint64_t> large_deallocations{0};

  void add(const BlockChange& change) {
    const int64_t before = bytes.fetch_add(change.bytes, std::memory_order_relaxed);
    raise_most(before + change.most_bytes + large_bytes.load(std::memory_order_relaxed));
    allocations.fetch_add(change.allocations, std::memory_order_relaxed);
    deallocations.fetch_add(change.deallocations, std::memory_order_relaxed);
  }

  void add_large(int64_t change) {
    const int64_t now = large_bytes.fetch_add(change, std::memory_order_relaxed) + change;
    (change > 0 ? large_allocations : large_deallocations).fetch_add(1, std::memory_order_relaxed);
    if (change > 0) raise_most(bytes.load(std::memory_order_relaxed) + now);
  }

  // What one thread freed for another may be seen before it is seen allocated.
  uint64_t live() const {
    const int64_t sum = bytes.load(std::memory_order_relaxed) + large_bytes.load(std::memory_order_relaxed);
    return static_cast<uint64_t>(std::max<int64_t>(sum, 0));
  }

 private:
  void raise_most(int64_t most) {
    int64_t known = most_bytes.load(std::memory_order_relaxed);
    while (known < most && !most_bytes.compare_exchange_weak(known, most, std::memory_order_relaxed)) {
    }
  }
};

}  // namespace lobit::detail

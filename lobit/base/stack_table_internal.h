// StackTable: call stacks by number. Equal stacks have one number; a stack stays for the life of the table,
// at one place, so that any thread reads it without a lock. A new stack is added under a mutex, and nothing
// is called while it is held.
//
// One piece of zeroed memory, touched as it fills:
//   buckets     uint32 each: number | 16 bits of the hash << 16; open addressing, at most half full
//   starts      uint32 each: where the stack of a number begins among the words
//   words       uint64 each: the count of a stack's addresses, then they
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "lobit/base/call_stack.h"

namespace lobit::detail {

// Zeroed memory that the table keeps for ever, or nullptr.
using MapMemory = void* (*)(size_t bytes);

class StackTable {
 public:
  static constexpr uint32_t kMostStacks = UINT16_MAX;

  // Holds `most_stacks` <= kMostStacks.
  constexpr StackTable(uint32_t most_stacks, MapMemory map) : most_(most_stacks), map_(map) {}
  StackTable(const StackTable&) = delete;
  StackTable& operator=(const StackTable&) = delete;

  // The number of a stack of 1 to kMaxStackFrames addresses with this hash. 0 when it is new and the table is
  // full or has no memory.
  StackId intern(std::span<const uintptr_t> stack, uint64_t hash);
  // Empty for a number that intern() has not returned.
  std::span<const uintptr_t> addresses(StackId id) const;

  size_t count() const { return count_.load(std::memory_order_acquire); }
  // Of the parts that are in use.
  uint64_t bytes() const;

  // Around fork(), so that the child does not find it locked by a thread that it has not got.
  void lock() { adding_.lock(); }
  void unlock() { adding_.unlock(); }

 private:
  using Bucket = std::atomic<uint32_t>;
  static constexpr uint32_t kIdMask = UINT16_MAX;

  size_t bucket_count() const;
  size_t total_bytes() const;
  Bucket* buckets(std::byte* memory) const;
  std::atomic<uint32_t>* starts(std::byte* memory) const;
  uintptr_t* words(std::byte* memory) const;
  // The bucket that holds the stack, or the free one where it belongs.
  Bucket& find(std::byte* memory, std::span<const uintptr_t> stack, uint64_t hash) const;
  StackId add(std::span<const uintptr_t> stack, uint64_t hash);

  uint32_t most_;
  MapMemory map_;
  std::atomic<std::byte*> memory_{nullptr};
  std::atomic<uint32_t> count_{0};
  std::atomic<uint32_t> used_words_{0};  // written under the mutex
  std::mutex adding_;
};

}  // namespace lobit::detail

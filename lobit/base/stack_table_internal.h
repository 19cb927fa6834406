// StackTable: call stacks by number. Equal stacks have one number; a stack stays for the life of the table,
// at one place, so that any thread reads it without a lock. A new stack is added under a mutex, and nothing
// is called while it is held. Beside a stack the table keeps some layouts that it was met in
// (stack_layout_internal.h), under the same rules.
//
// One piece of zeroed memory, touched as it fills:
//   buckets     uint32 each: number | 16 bits of the hash << 16; open addressing, at most half full
//   starts      uint32 each: where the stack of a number begins among the words
//   newest      uint32 each: the newest layout of the stack of a number, 0: none
//   words       uint64 each: the count of a stack's addresses, then they
//   layouts     uint32 each: see LayoutRecord, then its words; a layout's number is the place of its record
#pragma once

#include <atomic>
#include <bit>
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
  // Frames whose size is not fixed give a stack any number of layouts.
  static constexpr uint32_t kMostLayoutsOfStack = 8;

  struct Layout {
    StackId id;
    const uintptr_t* addresses;
    std::span<const uint32_t> words;
  };

  // Holds `most_stacks` <= kMostStacks.
  constexpr StackTable(uint32_t most_stacks, MapMemory map) : most_(most_stacks), map_(map) {}
  StackTable(const StackTable&) = delete;
  StackTable& operator=(const StackTable&) = delete;

  // The number of a stack of 1 to kMaxStackFrames addresses with this hash. 0 when it is new and the table is
  // full or has no memory.
  StackId intern(std::span<const uintptr_t> stack, uint64_t hash);
  // Empty for a number that intern() has not returned.
  std::span<const uintptr_t> addresses(StackId id) const;

  // The number of the layout of a stack that intern() returned, from 1. 0 when it is new and the stack has
  // too many or there is no room.
  uint32_t intern_layout(StackId id, std::span<const uint32_t> layout);
  // Of a number that intern_layout() returned, to this thread or one that this one has heard of it from.
  Layout layout(uint32_t number) const {
    std::byte* const memory = memory_.load(std::memory_order_relaxed);
    const LayoutRecord& record = this->record(memory, number);
    return {record.stack, words(memory) + record.start + 1, words_of(record)};
  }

  size_t count() const { return count_.load(std::memory_order_acquire); }
  // Of the parts that are in use.
  uint64_t bytes() const;

  // Around fork(), so that the child does not find it locked by a thread that it has not got.
  void lock() { adding_.lock(); }
  void unlock() { adding_.unlock(); }

 private:
  using Bucket = std::atomic<uint32_t>;
  static constexpr uint32_t kIdMask = UINT16_MAX;
  // For each stack of the table, more than most need; what needs the most are frame pointers in all frames.
  static constexpr uint32_t kLayoutWords = 64;

  struct LayoutRecord {
    StackId stack;
    uint32_t start;  // of the stack
    uint32_t older;  // layout of the same stack
    uint16_t order;  // among these, from 1
    uint16_t count;  // of words
  };
  static constexpr uint32_t kRecordWords = sizeof(LayoutRecord) / sizeof(uint32_t);

  size_t bucket_count() const { return std::bit_ceil(size_t{most_} + 1) * 2; }
  size_t id_count() const { return std::bit_ceil(size_t{most_} + 1); }
  size_t word_count() const { return size_t{most_} * (kMaxStackFrames + 1); }
  size_t layout_word_count() const { return size_t{most_} * kLayoutWords; }
  size_t total_bytes() const;
  Bucket* buckets(std::byte* memory) const { return reinterpret_cast<Bucket*>(memory); }
  std::atomic<uint32_t>* starts(std::byte* memory) const { return buckets(memory) + bucket_count(); }
  std::atomic<uint32_t>* newest(std::byte* memory) const { return starts(memory) + id_count(); }
  uintptr_t* words(std::byte* memory) const {
    return reinterpret_cast<uintptr_t*>(newest(memory) + id_count());
  }
  LayoutRecord& record(std::byte* memory, uint32_t number) const {
    return *reinterpret_cast<LayoutRecord*>(reinterpret_cast<uint32_t*>(words(memory) + word_count()) +
                                            number);
  }
  static std::span<const uint32_t> words_of(const LayoutRecord& record) {
    return {reinterpret_cast<const uint32_t*>(&record + 1), record.count};
  }
  // The layout of the stack with these words, or 0; `newest` and all older ones are looked at.
  uint32_t find_layout(std::byte* memory, uint32_t newest, std::span<const uint32_t> layout) const;
  // The bucket that holds the stack, or the free one where it belongs.
  Bucket& find(std::byte* memory, std::span<const uintptr_t> stack, uint64_t hash) const;
  StackId add(std::span<const uintptr_t> stack, uint64_t hash);
  uint32_t add_layout(std::byte* memory, StackId id, std::span<const uint32_t> layout);

  uint32_t most_;
  MapMemory map_;
  std::atomic<std::byte*> memory_{nullptr};
  std::atomic<uint32_t> count_{0};
  // Written under the mutex.
  std::atomic<uint32_t> used_words_{0};
  std::atomic<uint32_t> used_layout_words_{1};
  std::mutex adding_;
};

}  // namespace lobit::detail

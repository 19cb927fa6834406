#include <algorithm>
#include <bit>

#include "lobit/base/stack_table_internal.h"

namespace lobit::detail {

size_t StackTable::bucket_count() const {
  return std::bit_ceil(size_t{most_} + 1) * 2;
}

size_t StackTable::total_bytes() const {
  return (bucket_count() + std::bit_ceil(size_t{most_} + 1)) * sizeof(uint32_t) +
         size_t{most_} * (kMaxStackFrames + 1) * sizeof(uintptr_t);
}

StackTable::Bucket* StackTable::buckets(std::byte* memory) const {
  return reinterpret_cast<Bucket*>(memory);
}

std::atomic<uint32_t>* StackTable::starts(std::byte* memory) const {
  return reinterpret_cast<std::atomic<uint32_t>*>(memory) + bucket_count();
}

uintptr_t* StackTable::words(std::byte* memory) const {
  return reinterpret_cast<uintptr_t*>(starts(memory) + std::bit_ceil(size_t{most_} + 1));
}

StackTable::Bucket& StackTable::find(std::byte* memory, std::span<const uintptr_t> stack,
                                     uint64_t hash) const {
  const size_t mask = bucket_count() - 1;
  Bucket* const all = buckets(memory);
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    const uint32_t entry = all[i].load(std::memory_order_acquire);
    if (entry == 0) return all[i];
    if (entry >> 16 != hash >> 48) continue;
    const uintptr_t* const record =
        words(memory) + starts(memory)[entry & kIdMask].load(std::memory_order_relaxed);
    if (record[0] == stack.size() && std::equal(stack.begin(), stack.end(), record + 1)) return all[i];
  }
}

StackId StackTable::intern(std::span<const uintptr_t> stack, uint64_t hash) {
  if (std::byte* const memory = memory_.load(std::memory_order_acquire)) {
    const StackId id = find(memory, stack, hash).load(std::memory_order_relaxed) & kIdMask;
    if (id != 0 || count() == most_) return id;
  }
  return add(stack, hash);
}

StackId StackTable::add(std::span<const uintptr_t> stack, uint64_t hash) {
  const std::lock_guard lock(adding_);
  std::byte* memory = memory_.load(std::memory_order_relaxed);
  if (memory == nullptr) {
    memory = static_cast<std::byte*>(map_(total_bytes()));
    if (memory == nullptr) return 0;
    memory_.store(memory, std::memory_order_release);
  }
  // Another thread may have added it since.
  Bucket& bucket = find(memory, stack, hash);
  if (const uint32_t entry = bucket.load(std::memory_order_relaxed)) return entry & kIdMask;
  const uint32_t count = count_.load(std::memory_order_relaxed);
  if (count == most_) return 0;
  const StackId id = count + 1;
  const uint32_t start = used_words_.load(std::memory_order_relaxed);
  words(memory)[start] = stack.size();
  std::copy(stack.begin(), stack.end(), words(memory) + start + 1);
  used_words_.store(start + 1 + static_cast<uint32_t>(stack.size()), std::memory_order_relaxed);
  starts(memory)[id].store(start, std::memory_order_relaxed);
  count_.store(id, std::memory_order_release);
  bucket.store(id | static_cast<uint32_t>(hash >> 48 << 16), std::memory_order_release);
  return id;
}

std::span<const uintptr_t> StackTable::addresses(StackId id) const {
  if (id == 0 || id > count()) return {};
  std::byte* const memory = memory_.load(std::memory_order_acquire);
  const uintptr_t* const record = words(memory) + starts(memory)[id].load(std::memory_order_relaxed);
  return {record + 1, record[0]};
}

uint64_t StackTable::bytes() const {
  if (memory_.load(std::memory_order_acquire) == nullptr) return 0;
  return (bucket_count() + count() + 1) * sizeof(uint32_t) +
         used_words_.load(std::memory_order_relaxed) * sizeof(uintptr_t);
}

}  // namespace lobit::detail

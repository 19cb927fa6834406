// BlockRecords: what is known of blocks that live, found by their address. Any number of threads: the table
// is cut in shards with a lock each. may_have() looks without a lock whether a block can be in it at all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "lobit/memory/memory_tag.h"
#include "lobit/memory/relaxed.h"
#include "lobit/memory/spin_mutex.h"

namespace lobit::detail {

struct BlockRecord {
  void* pointer = nullptr;  // nullptr: none
  uint64_t bytes = 0;       // as asked for
  uint64_t time_ns = 0;     // of the allocation
  uint32_t thread = 0;
  uint16_t stack = 0;  // StackId, which never is more
  MemoryTag tag = MemoryTag::kUntagged;
  bool is_sampled = false;  // stands for blocks that have no record
};
static_assert(sizeof(BlockRecord) == 32);

class BlockRecords {
 public:
  BlockRecords() = default;
  BlockRecords(const BlockRecords&) = delete;
  BlockRecords& operator=(const BlockRecords&) = delete;

  // Takes the place of a record with the same pointer, which it returns. `is_kept` becomes false when there
  // is no memory for it.
  std::optional<BlockRecord> add(const BlockRecord& record, bool* is_kept);
  // Undoes remove(). False when there is another record by now, or no memory for this one.
  bool restore(const BlockRecord& record);
  std::optional<BlockRecord> remove(const void* pointer);
  // False: there is none. True may be wrong.
  bool may_have(const void* pointer) const {
    const uint64_t hash = hash_of(pointer);
    return shards_[shard_of(hash)].filter[filter_index(hash)] != 0;
  }
  void clear();

  // Calls visit(record) for each, a shard at a time under its lock: `visit` may not come back here.
  template <typename Visit>
  void for_each(const Visit& visit) {
    for (Shard& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      for (size_t i = 0; i < shard.capacity; ++i) {
        if (shard.records[i].pointer != nullptr) visit(shard.records[i]);
      }
    }
  }

  // At some moment while it runs.
  uint64_t count();
  // That the table takes, beside the object itself.
  uint64_t bytes();

 private:
  static constexpr size_t kShardBits = 6;
  static constexpr size_t kFilterBits = 8;
  static constexpr size_t kLeastCapacity = 32;

  struct alignas(64) Shard {
    SpinMutex mutex;
    std::unique_ptr<BlockRecord[]> records;  // a power of two; linear probing, at most 3/4 full
    size_t capacity = 0;
    size_t count = 0;
    // How many records have a hash that ends so; at the most that fits, it stays there. Written under the
    // lock.
    std::array<Relaxed<uint8_t>, size_t{1} << kFilterBits> filter{};

    size_t place_of(uint64_t hash) const { return (hash >> kFilterBits) & (capacity - 1); }
    BlockRecord* find(const void* pointer, uint64_t hash) const;
    bool make_room();
    bool add_new(const BlockRecord& record, uint64_t hash);
    void insert(const BlockRecord& record);
    void erase(BlockRecord* record);
  };

  // The upper bits of the product are mixed best; the lower ones of the result index filter and table.
  static uint64_t hash_of(const void* pointer) {
    const uint64_t product = reinterpret_cast<uintptr_t>(pointer) * uint64_t{0x9E3779B97F4A7C15};
    return product ^ (product >> 32);
  }
  static size_t shard_of(uint64_t hash) { return hash >> (64 - kShardBits); }
  static size_t filter_index(uint64_t hash) { return hash & ((size_t{1} << kFilterBits) - 1); }

  std::array<Shard, size_t{1} << kShardBits> shards_;
};

}  // namespace lobit::detail

#include <limits>
#include <new>

#include "lobit/memory/block_records_internal.h"

namespace lobit::detail {
namespace {

constexpr uint8_t kMany = std::numeric_limits<uint8_t>::max();

}  // namespace

BlockRecord* BlockRecords::Shard::find(const void* pointer, uint64_t hash) const {
  if (capacity == 0) return nullptr;
  for (size_t i = place_of(hash); records[i].pointer != nullptr; i = (i + 1) & (capacity - 1)) {
    if (records[i].pointer == pointer) return &records[i];
  }
  return nullptr;
}

// False when the table is full and the system has no memory for a longer one.
bool BlockRecords::Shard::make_room() {
  if ((count + 1) * 4 <= capacity * 3) return true;
  const size_t wanted = capacity == 0 ? kLeastCapacity : capacity * 2;
  std::unique_ptr<BlockRecord[]> longer(new (std::nothrow) BlockRecord[wanted]);
  if (longer == nullptr) return count + 1 < capacity;  // one place stays empty, where a search ends
  const std::unique_ptr<BlockRecord[]> old = std::exchange(records, std::move(longer));
  const size_t old_capacity = std::exchange(capacity, wanted);
  for (size_t i = 0; i < old_capacity; ++i) {
    if (old[i].pointer != nullptr) insert(old[i]);
  }
  return true;
}

bool BlockRecords::Shard::add_new(const BlockRecord& record, uint64_t hash) {
  if (!make_room()) return false;
  insert(record);
  ++count;
  Relaxed<uint8_t>& mark = filter[filter_index(hash)];
  if (mark != kMany) mark = static_cast<uint8_t>(mark + 1);
  return true;
}

void BlockRecords::Shard::insert(const BlockRecord& record) {
  size_t i = place_of(hash_of(record.pointer));
  while (records[i].pointer != nullptr) i = (i + 1) & (capacity - 1);
  records[i] = record;
}

// What lies behind moves up where it would not be found any more, so that no mark is left.
void BlockRecords::Shard::erase(BlockRecord* record) {
  const size_t mask = capacity - 1;
  auto hole = static_cast<size_t>(record - records.get());
  for (size_t i = (hole + 1) & mask; records[i].pointer != nullptr; i = (i + 1) & mask) {
    const size_t home = place_of(hash_of(records[i].pointer));
    if (((i - home) & mask) < ((i - hole) & mask)) continue;
    records[hole] = records[i];
    hole = i;
  }
  records[hole] = {};
}

std::optional<BlockRecord> BlockRecords::add(const BlockRecord& record, bool* is_kept) {
  const uint64_t hash = hash_of(record.pointer);
  Shard& shard = shards_[shard_of(hash)];
  const std::lock_guard lock(shard.mutex);
  *is_kept = true;
  if (BlockRecord* const known = shard.find(record.pointer, hash); known != nullptr) {
    return std::exchange(*known, record);
  }
  *is_kept = shard.add_new(record, hash);
  return std::nullopt;
}

bool BlockRecords::restore(const BlockRecord& record) {
  const uint64_t hash = hash_of(record.pointer);
  Shard& shard = shards_[shard_of(hash)];
  const std::lock_guard lock(shard.mutex);
  return shard.find(record.pointer, hash) == nullptr && shard.add_new(record, hash);
}

std::optional<BlockRecord> BlockRecords::remove(const void* pointer) {
  const uint64_t hash = hash_of(pointer);
  Shard& shard = shards_[shard_of(hash)];
  const std::lock_guard lock(shard.mutex);
  BlockRecord* const known = shard.find(pointer, hash);
  if (known == nullptr) return std::nullopt;
  const BlockRecord record = *known;
  shard.erase(known);
  --shard.count;
  Relaxed<uint8_t>& mark = shard.filter[filter_index(hash)];
  if (mark != kMany) mark = static_cast<uint8_t>(mark - 1);
  return record;
}

void BlockRecords::clear() {
  for (Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    shard.records.reset();
    shard.capacity = 0;
    shard.count = 0;
    for (Relaxed<uint8_t>& mark : shard.filter) mark = 0;
  }
}

uint64_t BlockRecords::count() {
  uint64_t sum = 0;
  for (Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    sum += shard.count;
  }
  return sum;
}

uint64_t BlockRecords::bytes() {
  uint64_t sum = 0;
  for (Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    sum += shard.capacity * sizeof(BlockRecord);
  }
  return sum;
}

}  // namespace lobit::detail

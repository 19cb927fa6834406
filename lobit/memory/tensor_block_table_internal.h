// TensorBlockTable: what a tensor pool knows of its blocks. A block is live (a tensor has it) or retained
// (kept for the next tensor); its record stays in its slot while the pool has the block. Retained blocks hang
// in a list by size and in one list by age. Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "lobit/device/stream.h"
#include "lobit/memory/eighths_internal.h"

namespace lobit::detail {

// One cache line: a hit or a free reads and writes this record and little else.
struct alignas(64) TensorRecord {
  struct Live {
    uint64_t id;
    size_t bytes;   // as asked
    uint64_t step;  // in which it was allocated; 0: outside of steps
  };
  struct Retained {
    uint64_t since;  // the pool's count of allocations when it was freed
    uint32_t newer;
    uint32_t older;
    uint32_t next;  // of the list by size, or of the list of empty slots
    uint32_t previous;
  };

  void* data;  // nullptr: an empty slot
  size_t capacity;
  Stream stream;      // on which it was taken or freed
  uint64_t sequence;  // of the tensor that has it, never given twice; 0: retained
  union {
    Live live;
    Retained retained;
  };
  bool temporary;  // the tensor that has it is temporary
  bool fresh;      // no tensor had it so far
  bool prewarmed;  // taken at the start, and fresh
};
static_assert(sizeof(TensorRecord) == 64);

class TensorBlockTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  TensorBlockTable() { heads_.fill(kNone); }

  bool is_live(uint32_t slot, uint64_t sequence) const {
    return slot < records_.size() && sequence != 0 && records_[slot].sequence == sequence;
  }
  TensorRecord& operator[](uint32_t slot) { return records_[slot]; }
  const std::vector<TensorRecord>& records() const { return records_; }

  // The retained block of `stream` that fits best: the smallest of `least` to `most` bytes. Lists are short
  // and searched linearly; of a long one, the first kSearched blocks count.
  uint32_t find(size_t least, size_t most, Stream stream) const;
  // How many retained blocks have exactly this capacity; no more than `enough` are counted.
  uint64_t count(size_t capacity, Stream stream, uint64_t enough) const;

  // So that the next add() cannot fail. False when there is no memory.
  bool reserve_one();
  // A record for a new block, which is neither live nor retained yet.
  uint32_t add(void* data, size_t capacity, Stream stream);
  void retain(uint32_t slot, uint64_t now);
  // Takes a retained block out of the lists.
  void take(uint32_t slot);
  // Empties the slot of a block that is neither live nor retained.
  void remove(uint32_t slot);
  // Gives up the memory of empty slots behind the last block.
  void shrink();

  // The retained block that waits longest, or kNone.
  uint32_t oldest() const { return oldest_; }
  uint64_t retained_blocks() const { return retained_blocks_; }
  uint64_t retained_bytes() const { return retained_bytes_; }

 private:
  static constexpr int kSearched = 100;
  uint32_t best_of_list(size_t list, size_t least, size_t most, Stream stream) const;

  std::vector<TensorRecord> records_;
  std::array<uint32_t, kEighths> heads_;
  uint32_t empty_ = kNone;
  uint32_t newest_ = kNone;
  uint32_t oldest_ = kNone;
  uint64_t retained_blocks_ = 0;
  uint64_t retained_bytes_ = 0;
};

}  // namespace lobit::detail

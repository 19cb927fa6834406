// What makes events a trace: the rules of docs/formats/trace.md, checked one event after the other. Behind
// the reader of traces and traces that are made up. Not installed; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "lobit/memory/trace.h"

namespace lobit::detail {

class TraceRules {
 public:
  explicit TraceRules(const TraceLimits& limits) : limits_(limits) {}

  // Fills in the event's slot. kCorrupt or kLimit without saying where; the rules are then of no more use.
  Status apply(TraceEvent& event);

  uint32_t slots() const { return slots_; }
  uint64_t peak_live_bytes() const { return peak_live_bytes_; }

 private:
  // Blocks come with ascending identifiers, so a sorted vector finds them and nothing that a stranger writes
  // makes it slow. A block that is freed stays as a gap until gaps outnumber blocks.
  struct Block {
    uint64_t id;
    uint64_t bytes;
    uint64_t address;
    uint32_t slot;
    uint8_t alignment_log2;
    uint8_t tag;
    bool live;
  };

  Status allocate(TraceEvent& event);
  Status free(TraceEvent& event);

  TraceLimits limits_;
  std::vector<Block> blocks_;
  std::vector<uint32_t> free_slots_;
  uint64_t events_ = 0;
  uint64_t live_blocks_ = 0;
  uint64_t live_bytes_ = 0;
  uint64_t peak_live_bytes_ = 0;
  uint64_t last_id_ = 0;
  uint64_t last_time_ = 0;
  uint32_t slots_ = 0;
};

}  // namespace lobit::detail

// ArenaOccupancy: how well an arena of fixed size is filled. A plain value.
#pragma once

#include <cstdint>

namespace lobit {

struct ArenaOccupancy {
  uint64_t capacity = 0;      // bytes of the arena
  uint64_t allocated = 0;     // of live blocks, as they were asked for
  uint64_t used = 0;          // of live blocks, as they were rounded to whole units
  uint64_t largest_free = 0;  // the largest block that still fits

  uint64_t free() const { return capacity - used; }
  // Share of the bytes in use that somebody asked for; 1 when nothing is in use.
  double utilisation() const {
    return used == 0 ? 1.0 : static_cast<double>(allocated) / static_cast<double>(used);
  }
  // Share of the free bytes that the largest free block does not hold: 0 when they lie in one piece.
  double fragmentation() const {
    return free() == 0 ? 0.0 : 1.0 - static_cast<double>(largest_free) / static_cast<double>(free());
  }
};

}  // namespace lobit

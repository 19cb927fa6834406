// ArenaSquares: fills the squares of arena maps from blocks and the times at which they lived, at a constant
// cost for each row that a block touches. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lobit/memory/address_ranges_internal.h"
#include "lobit/memory/memory_profile.h"

namespace lobit::detail {

class ArenaSquares {
 public:
  static constexpr size_t kMostColumns = 256;

  // `duration_ns`: at least 1.
  ArenaSquares(std::vector<ArenaRows> arenas, uint64_t duration_ns, size_t tags);

  // A block that lived from `from_ns` until `until_ns`, at most duration_ns. What lies in no row is ignored.
  void lived(uint64_t address, uint64_t bytes, uint32_t tag, uint64_t from_ns, uint64_t until_ns);

  std::vector<ArenaMap> maps() const;

 private:
  // Byte-nanoseconds of one tag in one arena: for each row and column by how much it is more than in the
  // column before. (Two columns more than the map has, for what ends with the last one.) Empty until the tag
  // comes. As long as sums are below 2^53, they are exact.
  using Steps = std::vector<double>;

  struct Arena {
    ArenaRows rows;
    std::vector<Steps> steps_of_tag;
  };

  void add_row(double* steps, double bytes, uint64_t from_ns, uint64_t until_ns) const;
  ArenaMap map_of(const Arena& arena) const;
  // The time that a column stands for inside the run: the last one may be shorter.
  uint64_t length_of(size_t column) const;

  std::vector<Arena> arenas_;
  uint64_t duration_ns_;
  uint64_t column_ns_;
  size_t columns_;
};

}  // namespace lobit::detail

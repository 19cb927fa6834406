// AddressRanges: where blocks lay, as ranges of addresses in bounded memory: when there are too many, the
// smallest gaps between them close. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "lobit/memory/memory_profile.h"

namespace lobit::detail {

struct AddressRange {
  uint64_t first = 0;
  uint64_t last = 0;  // inside: a range may end where addresses do

  friend bool operator==(const AddressRange&, const AddressRange&) = default;
};

class AddressRanges {
 public:
  static constexpr size_t kMost = 1024;

  void add(uint64_t address, uint64_t bytes);

  // Ascending, with gaps between; at most kMost.
  std::vector<AddressRange> ranges() const;

 private:
  void close_gaps();

  std::map<uint64_t, uint64_t> last_of_;  // by first
  AddressRange recent_;                   // one of them
};

// How an arena map is drawn: rows of 2^row_bits addresses, those left out in which nothing ever lay.
struct ArenaRows {
  unsigned row_bits = 0;
  std::vector<uint64_t> first_of = {};  // the first address of each row, ascending
  std::vector<ArenaMap::Gap> gaps = {};
};

inline constexpr size_t kMostArenas = 4;
inline constexpr size_t kMostArenaRows = 64;
inline constexpr uint64_t kArenaGap = uint64_t{1} << 30;

// Cuts at the widest gaps of at least kArenaGap into at most kMostArenas; rows are the shortest of at least
// 4 KiB of which kMostArenaRows are enough.
std::vector<ArenaRows> arena_rows(const std::vector<AddressRange>& ranges);

}  // namespace lobit::detail

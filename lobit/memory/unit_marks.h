// UnitMarks: a bit for each unit of 2 MiB of a page heap. Guarded by the heap's lock.
#pragma once

#include <algorithm>
#include <cstdint>

#include "lobit/memory/commit_map.h"
#include "lobit/memory/metadata_array.h"

namespace lobit::detail {

class UnitMarks {
 public:
  Status reserve(VirtualMemory& memory, uint32_t pages) {
    return words_.reserve(memory, pages / kPagesPerUnit / 64 + 1);
  }
  // Makes the units before a page usable; those behind have no marks. False when the system refuses.
  bool ensure(uint32_t page) { return words_.ensure(page / kPagesPerUnit / 64 + 1); }

  // The units that the range touches, which must be usable.
  void set(PageRange range) {
    uint32_t unit = range.first / kPagesPerUnit;
    const uint32_t end = (range.end() - 1) / kPagesPerUnit + 1;
    while (unit < end) {
      const uint32_t count = std::min(end - unit, 64 - unit % 64);
      words_[unit / 64] |= (~uint64_t{0} >> (64 - count)) << (unit % 64);
      unit += count;
    }
    any_ = true;
  }

  // Pages from range.first on whose units are all marked, or all not marked.
  struct Stretch {
    PageRange range;
    bool marked;
  };
  Stretch first_stretch(PageRange range) const {
    uint32_t unit = range.first / kPagesPerUnit;
    const bool marked = test(unit);
    const auto known = static_cast<uint32_t>(words_.size() * 64);
    const uint32_t end = (range.end() - 1) / kPagesPerUnit + 1;
    while (unit < end && test(unit) == marked) unit = unit < known ? unit + 1 : end;
    const auto last = static_cast<uint32_t>(std::min<uint64_t>(range.end(), uint64_t{unit} * kPagesPerUnit));
    return {{range.first, last - range.first}, marked};
  }

  // Takes all marks away; whether there were any.
  bool clear() {
    const bool had = any_;
    if (had) std::fill_n(&words_[0], words_.size(), uint64_t{0});
    any_ = false;
    return had;
  }

 private:
  bool test(uint32_t unit) const {
    return unit / 64 < words_.size() && (words_[unit / 64] >> (unit % 64) & 1) != 0;
  }

  MetadataArray<uint64_t> words_;
  bool any_ = false;
};

}  // namespace lobit::detail

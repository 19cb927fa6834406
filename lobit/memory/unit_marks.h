// UnitMarks: a bit for each unit of 2 MiB of a page heap. Guarded by the heap's lock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

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

  // Marks the units that the range touches, which must be usable; whether one of them had no mark. Called for
  // every run that is freed, so it writes nothing when there is nothing to write.
  bool set(PageRange range) {
    uint32_t unit = range.first / kPagesPerUnit;
    const uint32_t last = (range.end() - 1) / kPagesPerUnit;
    bool changed = false;
    for (; unit / 64 != last / 64; unit = unit / 64 * 64 + 64) {
      changed |= set(unit / 64, ~uint64_t{0} << (unit % 64));
    }
    return set(unit / 64, (~uint64_t{0} >> (63 - last % 64)) & (~uint64_t{0} << (unit % 64))) || changed;
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
    uint64_t any = 0;
    for (size_t word = 0; word < words_.size(); ++word) any |= std::exchange(words_[word], 0);
    return any != 0;
  }

 private:
  bool set(uint32_t word, uint64_t mask) {
    if ((words_[word] & mask) == mask) return false;
    words_[word] |= mask;
    return true;
  }
  bool test(uint32_t unit) const {
    return unit / 64 < words_.size() && (words_[unit / 64] >> (unit % 64) & 1) != 0;
  }

  MetadataArray<uint64_t> words_;
};

}  // namespace lobit::detail

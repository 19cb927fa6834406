// CommitMap: which pages of a pool's address space are committed, counted in the units that the system
// commits: a unit of 2 MiB that may be one huge page counts whole as soon as any of it may be touched; other
// pages count one by one. Not thread-safe: the page heap's lock guards it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "lobit/memory/metadata_array.h"
#include "lobit/memory/size_class.h"

namespace lobit::detail {

inline constexpr uint32_t kPagesPerUnit = static_cast<uint32_t>(kHugePageBytes / kPageBytes);

// Pages [first, first + count).
struct PageRange {
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t end() const { return first + count; }
};

class CommitMap {
 public:
  // `base` is the reservation of `pages` pages (whole units) that the map describes.
  Status create(VirtualMemory& memory, std::byte* base, uint32_t pages);

  uint64_t committed() const { return committed_; }
  uint64_t peak() const { return peak_; }

  // Bytes by which committed() would grow if `range` were committed, with new units as huge pages or without.
  uint64_t missing(PageRange range, bool huge) const;

  // Commits what is missing. kOutOfMemory, with nothing counted, when the system refuses.
  Status commit(PageRange range, bool huge);

  // Gives back what is committed of `range`, which nobody uses, as far as whole units and the parts of others
  // fit `most` bytes, and returns by how many bytes committed() fell. A huge page of which only a small part
  // lies in the range stays.
  uint64_t discard(PageRange range, uint64_t most);

  // How many pages from range.first on are committed without a gap.
  uint32_t prefix(PageRange range) const;

  size_t metadata_bytes() const { return units_.bytes(); }

 private:
  enum class State : uint8_t { kNone, kHuge, kPages };
  struct Unit {
    State state;
    bool accessible;                                // once accessible, always
    std::array<uint64_t, kPagesPerUnit / 64> bits;  // kPages: the committed ones
  };

  template <typename Visit>
  static void for_each_unit(PageRange range, const Visit& visit);
  PageRange known(PageRange range) const;
  Status make_accessible(PageRange range);
  void advise(PageRange range, bool huge);
  void give_back(PageRange range, bool splits);
  uint64_t present(PageRange part) const;
  uint64_t discard_in_unit(uint32_t number, PageRange part, uint64_t most_pages);

  VirtualMemory* memory_ = nullptr;
  std::byte* base_ = nullptr;
  MetadataArray<Unit> units_;
  uint64_t committed_ = 0;
  uint64_t peak_ = 0;
};

}  // namespace lobit::detail

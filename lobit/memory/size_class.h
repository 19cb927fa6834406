// Size classes of small blocks: multiples of a cache line, from 512 bytes on eight to a doubling, so that at
// most an eighth of a block is waste. A size that was rounded up to a power of two of at most a page lies in
// a class that is a multiple of that power: that is how blocks with more than a cache line's alignment are
// made.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace lobit::detail {

inline constexpr size_t kPageBytes = size_t{4} << 10;  // the pool's own pages
inline constexpr size_t kMaxClassBytes = size_t{32} << 10;
inline constexpr size_t kMaxBlocksPerSlab = 256;

struct SizeClass {
  uint32_t bytes = 0;
  uint32_t reciprocal = 0;  // 2^32 / bytes, rounded up: see is_start_of_block()
  uint16_t blocks = 0;      // of a slab
  uint16_t pages = 0;
  uint16_t cached = 0;  // blocks that a thread keeps at most
};

// 64, 128, ... 512, then eight to a doubling up to 32 KiB.
inline constexpr size_t kClassAlignment = 64;
inline constexpr size_t kClasses = 8 + 6 * 8;

constexpr std::array<SizeClass, kClasses> make_size_classes() {
  std::array<SizeClass, kClasses> classes{};
  uint32_t previous = 0;
  for (SizeClass& c : classes) {
    const uint32_t step = previous < 512 ? 64 : std::bit_floor(previous) / 8;
    c.bytes = previous + step;
    // A power of two of blocks whose slab takes 64 to 128 KiB (less when that would be too many blocks). All
    // of these slabs are whole pages.
    c.blocks = static_cast<uint16_t>(kMaxBlocksPerSlab);
    while (c.blocks > 4 && size_t{c.blocks} * c.bytes > (size_t{128} << 10)) c.blocks /= 2;
    c.pages = static_cast<uint16_t>(size_t{c.blocks} * c.bytes / kPageBytes);
    c.reciprocal = static_cast<uint32_t>((uint64_t{1} << 32) / c.bytes + 1);
    const size_t kept = (size_t{64} << 10) / c.bytes;
    c.cached = static_cast<uint16_t>(kept < 4 ? 4 : kept > 64 ? 64 : kept);
    previous = c.bytes;
  }
  return classes;
}

inline constexpr std::array<SizeClass, kClasses> kSizeClasses = make_size_classes();
static_assert(kSizeClasses.back().bytes == kMaxClassBytes);

constexpr std::array<uint8_t, kMaxClassBytes / kClassAlignment> make_class_table() {
  std::array<uint8_t, kMaxClassBytes / kClassAlignment> table{};
  uint8_t c = 0;
  for (size_t i = 0; i < table.size(); ++i) {
    while (kSizeClasses[c].bytes < (i + 1) * kClassAlignment) ++c;
    table[i] = c;
  }
  return table;
}

inline constexpr auto kClassTable = make_class_table();

// The smallest class that holds `bytes`, 1 to kMaxClassBytes.
inline size_t size_class_of(size_t bytes) {
  return kClassTable[(bytes - 1) / kClassAlignment];
}

// The block that an offset into a slab lies in is the high half of offset * reciprocal. Exact for every
// offset of a slab (size_class_test.cc goes through them), and the low half is below the reciprocal exactly
// when nothing remains.
inline bool is_start_of_block(uint64_t product, uint32_t reciprocal) {
  return static_cast<uint32_t>(product) < reciprocal;
}

}  // namespace lobit::detail

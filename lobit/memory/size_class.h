// Size classes of small blocks: eight to a doubling from 128 bytes on, so that at most an eighth of a block
// is waste. Every class is a multiple of every power of two that a size rounded up to it can be a multiple
// of: an aligned block is a block whose size was rounded up to the alignment.
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
  uint32_t reciprocal = 0;  // offset * reciprocal >> 32 is the block of an offset within the slab
  uint16_t blocks = 0;      // of a slab
  uint16_t pages = 0;
  uint16_t cached = 0;  // blocks that a thread keeps at most
};

// 32, 48, 64, ... 128 in steps of 16, then eight to a doubling up to 32 KiB.
inline constexpr size_t kClasses = 7 + 8 * 8;

constexpr std::array<SizeClass, kClasses> make_size_classes() {
  std::array<SizeClass, kClasses> classes{};
  uint32_t bytes = 32;
  for (SizeClass& c : classes) {
    c.bytes = bytes;
    // A power of two of blocks whose slab takes 64 to 128 KiB (less when that would be too many blocks). All
    // of these slabs are whole pages.
    c.blocks = static_cast<uint16_t>(kMaxBlocksPerSlab);
    while (c.blocks > 4 && size_t{c.blocks} * bytes > (size_t{128} << 10)) c.blocks /= 2;
    c.pages = static_cast<uint16_t>(size_t{c.blocks} * bytes / kPageBytes);
    c.reciprocal = static_cast<uint32_t>((uint64_t{1} << 32) / bytes + 1);
    const size_t kept = (size_t{64} << 10) / bytes;
    c.cached = static_cast<uint16_t>(kept < 4 ? 4 : kept > 64 ? 64 : kept);
    bytes += bytes < 128 ? 16 : static_cast<uint32_t>(std::bit_floor(bytes) / 8);
  }
  return classes;
}

inline constexpr std::array<SizeClass, kClasses> kSizeClasses = make_size_classes();
static_assert(kSizeClasses.back().bytes == kMaxClassBytes);

// For sizes up to 1 KiB a class per 16 bytes, above per 128.
struct ClassTables {
  std::array<uint8_t, 65> small{};
  std::array<uint8_t, 257> large{};
};

constexpr ClassTables make_class_tables() {
  ClassTables tables;
  const auto class_of = [](size_t bytes) {
    uint8_t c = 0;
    while (kSizeClasses[c].bytes < bytes) ++c;
    return c;
  };
  for (size_t i = 0; i < tables.small.size(); ++i) tables.small[i] = class_of(i * 16);
  for (size_t i = 0; i < tables.large.size(); ++i) tables.large[i] = class_of(i * 128);
  return tables;
}

inline constexpr ClassTables kClassTables = make_class_tables();

// The smallest class that holds `bytes` <= kMaxClassBytes.
inline size_t size_class_of(size_t bytes) {
  return bytes <= 1024 ? kClassTables.small[(bytes + 15) / 16] : kClassTables.large[(bytes + 127) / 128];
}

// Which block of a slab an offset lies in. Exact for every offset of a slab (proved by size_class_test.cc).
inline uint32_t block_at(const SizeClass& c, uint32_t offset) {
  return static_cast<uint32_t>((uint64_t{offset} * c.reciprocal) >> 32);
}

}  // namespace lobit::detail

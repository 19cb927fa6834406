// What the reader and the writer of GGUF share. Not installed.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string_view>
#include <vector>

namespace lobit::gguf {

inline constexpr std::string_view kMagic = "GGUF";
inline constexpr std::string_view kAlignmentKey = "general.alignment";

inline constexpr uint64_t kMaxKeyBytes = 65535;
inline constexpr uint64_t kMaxNameBytesRead = 64;   // what the format's description allows
inline constexpr uint64_t kMaxNameBytesWrite = 63;  // what ggml reads, which keeps a 0 after it
inline constexpr uint32_t kMaxRank = 4;

// Padding is made in memory, so it needs a bound; files in use have 32, some a page.
inline constexpr uint32_t kMaxAlignment = uint32_t{1} << 20;

constexpr bool is_alignment(uint32_t alignment) {
  return alignment >= 8 && std::has_single_bit(alignment);
}

// Which of `count` names occurred before, the first such; nothing when all differ. Sorting instead of
// hashing: no input makes it slow.
template <typename NameOf>
std::optional<size_t> first_repeated(size_t count, NameOf name_of) {
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, [&](uint32_t a, uint32_t b) {
    const auto compared = std::string_view(name_of(a)) <=> std::string_view(name_of(b));
    return compared != 0 ? compared < 0 : a < b;
  });
  std::optional<size_t> first;
  for (size_t i = 1; i < count; ++i) {
    const bool repeated = std::string_view(name_of(order[i - 1])) == std::string_view(name_of(order[i]));
    if (repeated && (!first || order[i] < *first)) first = order[i];
  }
  return first;
}

}  // namespace lobit::gguf

// The five sizes of tensors that the tensor pools tell apart. Blocks are reused within a category only, and
// times are averaged for each.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

namespace lobit {

enum class TensorSizeCategory : uint8_t { kVerySmall, kSmall, kMedium, kLarge, kVeryLarge };

struct TensorSizeCategoryTraits {
  std::string_view name;
  size_t max_bytes;
  // A cache line at least, so that tensors share none; more where vector and copy engines gain from it.
  size_t alignment;
};

inline constexpr size_t kTensorSizeCategories = 5;
inline constexpr std::array<TensorSizeCategoryTraits, kTensorSizeCategories> kTensorSizeCategoryTraits = {{
    {"very small", size_t{4} << 10, 64},
    {"small", size_t{64} << 10, 64},
    {"medium", size_t{1} << 20, 64},
    {"large", size_t{16} << 20, 64},
    {"very large", std::numeric_limits<size_t>::max(), 256},
}};

constexpr const TensorSizeCategoryTraits& traits(TensorSizeCategory category) {
  return kTensorSizeCategoryTraits[static_cast<size_t>(category)];
}

constexpr TensorSizeCategory tensor_size_category(size_t bytes) {
  size_t category = 0;
  while (bytes > kTensorSizeCategoryTraits[category].max_bytes) ++category;
  return TensorSizeCategory{static_cast<uint8_t>(category)};
}

}  // namespace lobit

#include "lobit/tensor/shape.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lobit/base/checked.h"

namespace lobit {

Result<Shape> Shape::create(std::span<const int64_t> extents) {
  if (extents.size() > kMaxRank) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("shape: expected at most {} dimensions, found {}", kMaxRank, extents.size()),
                {.required = extents.size(), .available = kMaxRank});
  }
  Shape shape;
  shape.rank_ = extents.size();
  std::ranges::copy(extents, shape.extents_.begin());
  // A zero makes the product 0, but a reader that multiplies in another order must not overflow either.
  int64_t product = 1;
  for (const int64_t extent : extents) {
    const auto next = checked_mul(product, std::max<int64_t>(extent, 1));
    if (extent < 0 || !next) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("shape {}: expected extents >= 0 with a product below 2^63", shape.to_string()));
    }
    product = *next;
  }
  return shape;
}

uint64_t Shape::elements() const {
  return rows() * row_elements();
}

uint64_t Shape::rows() const {
  uint64_t product = 1;
  for (size_t axis = 0; axis + 1 < rank_; ++axis) product *= static_cast<uint64_t>(extents_[axis]);
  return product;
}

std::string Shape::to_string() const {
  return fmt::format("[{}]", fmt::join(extents(), ", "));
}

}  // namespace lobit

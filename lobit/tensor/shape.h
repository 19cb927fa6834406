// Shape: the extents of a tensor, outermost dimension first, so the last one is the row that lies together in
// memory. A plain value without heap memory: at most 8 dimensions, each >= 0. No dimensions is a scalar.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

class LOBIT_API Shape {
 public:
  static constexpr size_t kMaxRank = 8;

  constexpr Shape() = default;
  // [0]
  static constexpr Shape of_nothing() {
    Shape shape;
    shape.rank_ = 1;
    return shape;
  }
  // kInvalidArgument for a negative extent or a product beyond 2^63-1, kUnsupported for more than 8
  // dimensions.
  static Result<Shape> create(std::span<const int64_t> extents);
  static Result<Shape> create(std::initializer_list<int64_t> extents) {
    return create(std::span<const int64_t>(extents.begin(), extents.size()));
  }

  size_t rank() const { return rank_; }
  int64_t operator[](size_t axis) const { return extents_[axis]; }
  std::span<const int64_t> extents() const { return {extents_.data(), rank_}; }

  // The product of all extents; 1 for a scalar.
  uint64_t elements() const;
  // The last extent: elements that lie together. 1 for a scalar.
  uint64_t row_elements() const { return rank_ == 0 ? 1 : static_cast<uint64_t>(extents_[rank_ - 1]); }
  // The product of all extents but the last.
  uint64_t rows() const;

  // "[32000, 2048]", "[]"
  std::string to_string() const;

  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<int64_t, kMaxRank> extents_{};
  size_t rank_ = 0;
};

}  // namespace lobit

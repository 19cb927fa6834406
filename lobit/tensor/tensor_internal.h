// What the files of Tensor share. Not installed.
#pragma once

#include <array>
#include <cstdint>

#include "lobit/base/check.h"
#include "lobit/base/result.h"
#include "lobit/dtype/value_format.h"
#include "lobit/tensor/shape.h"

namespace lobit::detail {

// format_layout(), or the error that says what does not fit.
Result<FormatLayout> checked_layout(ValueFormat format, const Shape& shape);

// format_layout() of what is known to fit: the layout of a tensor that exists.
inline FormatLayout known_layout(ValueFormat format, uint64_t rows, uint64_t columns) {
  const auto layout = format_layout(format, rows, columns);
  LOBIT_CHECK(layout.has_value());
  return *layout;
}

// The strides of elements in order, in elements.
inline std::array<int64_t, Shape::kMaxRank> dense_strides(const Shape& shape) {
  std::array<int64_t, Shape::kMaxRank> strides{};
  int64_t next = 1;
  for (size_t axis = shape.rank(); axis-- > 0; next *= shape[axis]) strides[axis] = next;
  return strides;
}

}  // namespace lobit::detail

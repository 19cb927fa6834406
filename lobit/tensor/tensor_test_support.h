// For tests alone (not installed): shapes in short, and the values of tensors.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/memory/system_resource.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

inline Shape shape_of(std::initializer_list<int64_t> extents) {
  const Result<Shape> shape = Shape::create(extents);
  EXPECT_THAT(shape, is_ok());
  return *shape;
}

// 0.5, -1.5, 2.5, ...: no two alike, none that a format needs as a special case.
inline std::vector<float> numbered(uint64_t count) {
  std::vector<float> values(count);
  for (uint64_t i = 0; i < count; ++i) {
    const auto magnitude = static_cast<float>(i) + 0.5f;
    values[i] = i % 2 == 0 ? magnitude : -magnitude;
  }
  return values;
}

inline std::vector<float> values_of(const Tensor& tensor) {
  std::vector<float> values(tensor.elements(), -77.0f);
  tensor.decode_run(0, values.size(), values.data());
  return values;
}

// Every format that values can be stored in and read from, for rows of `columns`.
inline std::vector<ValueFormat> formats_for(uint64_t columns) {
  std::vector<ValueFormat> formats;
  for (const EncodingTraits& t : all_encodings()) {
    if (!t.can_encode) continue;
    if (columns % t.block_elements == 0) formats.push_back({t.encoding});
    if (planar_bits(t.encoding) == 0) continue;
    for (const ScaleGroup scales : {ScaleGroup::kRow, ScaleGroup::kTensor, ScaleGroup::k32, ScaleGroup::k64,
                                    ScaleGroup::k128, ScaleGroup::k256}) {
      formats.push_back({t.encoding, scales});
    }
  }
  return formats;
}

}  // namespace lobit

// For tests alone (not installed): tensors of made-up weights, and what a conversion must give, computed one
// value at a time by the scalar reference.
#pragma once

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "lobit/base/check.h"
#include "lobit/convert/conversion_config.h"
#include "lobit/convert/model_test_support.h"
#include "lobit/dtype/reference.h"
#include "lobit/dtype/reference_planar.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

// Gives the bytes of the direct rule, with so many threads.
inline ConversionConfig fast_config(size_t threads = 2) {
  ConversionConfig config;
  config.default_quality = ConversionQuality::kFast;
  config.worker_threads = threads;
  return config;
}

inline Shape shape_of(std::initializer_list<int64_t> extents) {
  return Shape::create(std::vector<int64_t>(extents)).value();
}

inline Tensor test_tensor(const Shape& shape, FormatChoice format, MemoryResource& memory,
                          uint32_t seed = 1) {
  return Tensor::from_values(test_weights(shape.elements(), seed), shape, format, memory).value();
}

inline std::vector<std::byte> bytes_of(const Tensor& tensor) {
  const auto bytes = tensor.bytes().value();
  return {bytes.begin(), bytes.end()};
}

// Calls use(first element, count, index of the scale) for each group of a planar tensor.
template <typename Use>
void for_each_planar_group(const Shape& shape, ValueFormat format, const FormatLayout& layout, Use use) {
  const uint64_t columns = shape.row_elements();
  if (shape.elements() == 0) return;
  if (format.scales == ScaleGroup::kTensor) return use(0, shape.elements(), 0);
  const uint64_t group = group_elements(format.scales, columns, shape.elements());
  for (uint64_t row = 0; row < shape.rows(); ++row) {
    for (uint64_t at = 0; at < columns; at += group) {
      use(row * columns + at, std::min(group, columns - at), row * layout.row_scales + at / group);
    }
  }
}

// Calls use(first element, count, first byte of the codes) for each run of a group that lies in one row.
template <typename Use>
void for_each_code_run(const Shape& shape, ValueFormat format, const FormatLayout& layout, uint64_t first,
                       uint64_t count, Use use) {
  const uint64_t columns = shape.row_elements();
  for (uint64_t at = first; at < first + count;) {
    const uint64_t column = at % columns;
    const uint64_t n = std::min(first + count - at, columns - column);
    use(at, n, at / columns * layout.row_bytes + column * planar_bits(format.encoding) / 8);
    at += n;
  }
}

inline std::vector<float> reference_values(const Tensor& tensor) {
  const ValueFormat format = tensor.format();
  const std::vector<std::byte> bytes = bytes_of(tensor);
  if (!format.is_planar()) return test_decoded(format.encoding, bytes);
  const Shape& shape = tensor.shape();
  const FormatLayout layout = format_layout(format, shape.rows(), shape.row_elements()).value();
  std::vector<float> values(shape.elements());
  for_each_planar_group(shape, format, layout, [&](uint64_t first, uint64_t count, uint64_t scale_index) {
    float scale = 0;
    std::memcpy(&scale, bytes.data() + layout.scale_offset + scale_index * sizeof scale, sizeof scale);
    for_each_code_run(shape, format, layout, first, count, [&](uint64_t at, uint64_t n, uint64_t byte) {
      reference::decode_planar(format.encoding, bytes.data() + byte, values.data() + at, n, scale);
    });
  });
  return values;
}

// The bytes of values in a format, with the direct rule.
inline std::vector<std::byte> reference_bytes(const std::vector<float>& values, const Shape& shape,
                                              ValueFormat format) {
  if (!format.is_planar()) return test_encoded(format.encoding, values);
  const FormatLayout layout = format_layout(format, shape.rows(), shape.row_elements()).value();
  std::vector<std::byte> bytes(layout.bytes);
  for_each_planar_group(shape, format, layout, [&](uint64_t first, uint64_t count, uint64_t scale_index) {
    PlanarExtent extent;
    reference::measure_planar(format.encoding, values.data() + first, count, extent);
    const float scale = direct_planar_scale(format.encoding, extent);
    std::memcpy(bytes.data() + layout.scale_offset + scale_index * sizeof scale, &scale, sizeof scale);
    for_each_code_run(shape, format, layout, first, count, [&](uint64_t at, uint64_t n, uint64_t byte) {
      reference::encode_planar(format.encoding, values.data() + at, bytes.data() + byte, n, scale);
    });
  });
  return bytes;
}

// What a direct conversion of the tensor gives.
inline std::vector<std::byte> reference_conversion(const Tensor& tensor, FormatChoice to) {
  return reference_bytes(reference_values(tensor), tensor.shape(), to.for_shape(tensor.shape()));
}

}  // namespace lobit

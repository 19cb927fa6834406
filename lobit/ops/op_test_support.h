// For tests of operations alone (not installed): random tensors of every view and format, and comparisons of
// values to the last bit.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/dtype/half.h"
#include "lobit/kernels/philox.h"
#include "lobit/tensor/tensor_test_support.h"

namespace lobit::ops {

inline Tensor floats(std::initializer_list<float> values, const Shape& shape, MemoryResource& memory) {
  return *Tensor::from_values({values.begin(), values.size()}, shape, Encoding::kF32, memory);
}

// The bits of values; all NaN have the same.
inline std::vector<uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  std::ranges::transform(values, bits.begin(), [](float value) {
    return std::isnan(value) ? 0x7FC00000u : std::bit_cast<uint32_t>(value);
  });
  return bits;
}

// `wanted`, rounded to the tensor's format, is what the tensor holds.
inline void expect_values(const Tensor& tensor, std::vector<float> wanted) {
  for (float& value : wanted) {
    if (tensor.format().encoding == Encoding::kF16) value = f16_to_f32(f32_to_f16(value));
    if (tensor.format().encoding == Encoding::kBF16) value = bf16_to_f32(f32_to_bf16(value));
  }
  const std::vector<uint32_t> found = bits_of(values_of(tensor));
  const std::vector<uint32_t> bits = bits_of(wanted);
  ASSERT_EQ(found.size(), bits.size());
  const auto [at, other] = std::ranges::mismatch(found, bits);
  if (at == found.end()) return;
  ADD_FAILURE() << "value " << at - found.begin() << " of " << tensor << ": expected "
                << std::bit_cast<float>(*other) << ", found " << std::bit_cast<float>(*at);
}

// A tensor of NaN.
inline Tensor unwritten(const Shape& shape, Encoding encoding, MemoryResource& memory) {
  return *Tensor::full(shape, std::numeric_limits<float>::quiet_NaN(), encoding, memory);
}

class RandomNumbers {
 public:
  explicit RandomNumbers(uint32_t seed) : seed_(seed) {}

  uint32_t next() { return kernels::philox4x32({count_++, seed_, 0, 0}, {5, 6})[0]; }
  uint32_t below(size_t limit) { return next() % static_cast<uint32_t>(limit); }

  // Up to `most` axes, now and then a long one.
  Shape shape(size_t most) {
    std::vector<int64_t> extents(below(most + 1));
    for (int64_t& extent : extents) extent = 1 + below(5);
    if (!extents.empty() && below(2) == 0) {
      const int64_t rows[] = {31, 32, 64, 96, 100, 128, 255, 256, 300, 512, 2048, 2500};
      extents[below(4) == 0 ? below(extents.size()) : extents.size() - 1] = rows[below(12)];
    }
    return *Shape::create(extents);
  }

  std::vector<float> values(size_t count) {
    std::vector<float> made(count);
    for (float& value : made) value = static_cast<float>(static_cast<int32_t>(next())) * 0x1p-29f;
    return made;
  }

 private:
  uint32_t seed_;
  uint32_t count_ = 0;
};

// A transposed or sliced view of `shape`, of plain numbers.
inline Tensor random_view(const Shape& shape, Encoding encoding, RandomNumbers& numbers,
                          MemoryResource& memory) {
  std::vector<size_t> axes(shape.rank());
  std::iota(axes.begin(), axes.end(), size_t{0});
  for (size_t i = axes.size(); i > 1; --i) std::swap(axes[i - 1], axes[numbers.below(i)]);
  // Axis i of the view is axis axes[i] of the whole, which is longer along one.
  std::vector<int64_t> extents(shape.rank());
  for (size_t i = 0; i < axes.size(); ++i) extents[axes[i]] = shape[i];
  const size_t cut = shape.rank() == 0 ? 0 : numbers.below(shape.rank());
  const int64_t before = numbers.below(3);
  if (shape.rank() > 0) extents[cut] += before + numbers.below(2);
  const Shape whole = *Shape::create(extents);
  Tensor tensor = *Tensor::from_values(numbers.values(whole.elements()), whole, encoding, memory);
  if (shape.rank() == 0) return tensor;
  const size_t axis = static_cast<size_t>(std::ranges::find(axes, cut) - axes.begin());
  return *tensor.slice(cut, before, before + shape[axis])->transpose(axes);
}

// An operand that broadcasts to `shape`, of any format.
inline Tensor random_operand(const Shape& shape, RandomNumbers& numbers, MemoryResource& memory) {
  std::vector<int64_t> extents(shape.extents().begin(), shape.extents().end());
  if (!extents.empty() && numbers.below(2) == 0) extents[numbers.below(extents.size())] = 1;
  if (!extents.empty() && numbers.below(4) == 0) extents.erase(extents.begin());
  const Shape own = *Shape::create(extents);
  const Encoding plain[] = {Encoding::kF32, Encoding::kF32, Encoding::kF16, Encoding::kBF16};
  if (numbers.below(3) != 0) return random_view(own, plain[numbers.below(4)], numbers, memory);
  const std::vector<ValueFormat> formats = formats_for(own.row_elements());
  const ValueFormat format = formats[numbers.below(formats.size())];
  return *Tensor::from_values(numbers.values(own.elements()), own, format, memory);
}

// The values of a tensor as it broadcasts to `shape`.
inline std::vector<float> broadcast_values(const Tensor& tensor, const Shape& shape) {
  const std::vector<float> own = values_of(tensor);
  std::vector<float> values(shape.elements());
  const size_t added = shape.rank() - tensor.shape().rank();
  for (size_t i = 0; i < values.size(); ++i) {
    size_t rest = i;
    size_t index = 0;
    size_t step = 1;
    for (size_t axis = shape.rank(); axis-- > added;) {
      const auto extent = static_cast<size_t>(tensor.shape()[axis - added]);
      const size_t at = rest % static_cast<size_t>(shape[axis]);
      rest /= static_cast<size_t>(shape[axis]);
      index += (extent == 1 ? 0 : at) * step;
      step *= extent;
    }
    values[i] = own[index];
  }
  return values;
}

}  // namespace lobit::ops

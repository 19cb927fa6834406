// For tests alone (not installed): memory whose bytes show when nobody wrote them, and operands of every
// kind.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "lobit/memory/resource_wrapper.h"
#include "lobit/ops/op_context.h"
#include "lobit/tensor/tensor_test_support.h"

namespace lobit {

// Gives out memory full of NaN.
class NanResource final : public ResourceWrapper {
 public:
  explicit NanResource(MemoryResource& upstream) : ResourceWrapper(upstream) {}

 private:
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override {
    Result<void*> block = upstream().allocate(bytes, alignment, stream);
    if (block) std::memset(*block, 0xFF, bytes);
    return block;
  }
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override {
    return upstream().deallocate(pointer, bytes, alignment, stream);
  }
};

struct TestMemory {
  SystemResource system;
  NanResource resource{system};

  OpContext context() { return {.memory = &resource}; }
};

// Half a unit in the last place of a format at `value`: what rounding costs.
inline double rounding_of(double value, Encoding encoding) {
  const double relative = encoding == Encoding::kF32   ? 0x1p-24
                          : encoding == Encoding::kF16 ? 0x1p-11
                                                       : 0x1p-8;
  const double least = encoding == Encoding::kF32   ? 0x1p-150
                       : encoding == Encoding::kF16 ? 0x1p-25
                                                    : 0x1p-134;
  return std::max(std::fabs(value) * relative, least);
}

// Up to four axes and about `most` values.
inline Shape random_shape(std::mt19937& random, int64_t most, int64_t last_multiple) {
  std::array<int64_t, 4> extents{};
  const size_t rank = 1 + random() % 4;
  int64_t left = std::max<int64_t>(1, most / last_multiple);
  for (size_t axis = rank; axis-- > 0;) {
    const int64_t top = std::min<int64_t>(left, axis + 1 == rank && random() % 3 == 0 ? 700 : 9);
    extents[axis] = 1 + static_cast<int64_t>(random()) % top;
    left = std::max<int64_t>(1, left / extents[axis]);
  }
  extents[rank - 1] *= last_multiple;
  return *Shape::create(std::span<const int64_t>(extents.data(), rank));
}

// A tensor in a random format, as it is or seen through a slice, a turn or a broadcast.
inline Tensor random_view(std::mt19937& random, int64_t most, TestMemory& memory) {
  const bool whole_blocks = random() % 3 == 0;
  const Shape shape = random_shape(random, most, whole_blocks ? 256 : 1);
  const std::vector<ValueFormat> formats = formats_for(shape.row_elements());
  const bool floats = random() % 2 == 0;
  constexpr std::array kPlain{Encoding::kF32, Encoding::kF32, Encoding::kF16, Encoding::kBF16};
  const ValueFormat format =
      floats ? ValueFormat{kPlain[random() % kPlain.size()]} : formats[random() % formats.size()];
  const RandomOptions normal{
      .seed = random(), .distribution = Distribution::kNormal, .mean = 0.5f, .deviation = 2.0f};
  Tensor x = *Tensor::random(shape, format, memory.resource, normal);
  if (random() % 3 == 0) {
    const size_t axis = random() % shape.rank();
    const int64_t border = axis + 1 == shape.rank() ? border_elements(format) : 1;
    const int64_t first = static_cast<int64_t>(random()) % x.shape()[axis] / border * border;
    x = *x.slice(axis, first, x.shape()[axis]);
  }
  if (random() % 3 == 0) {
    std::vector<size_t> axes(x.shape().rank());
    std::iota(axes.begin(), axes.end(), size_t{0});
    const bool any = !format.is_planar() && border_elements(format) == 1;
    std::shuffle(axes.begin(), any ? axes.end() : axes.end() - 1, random);
    x = *x.transpose(axes);
  }
  if (random() % 5 == 0 && x.shape().rank() < 4) {
    std::vector<int64_t> extents(x.shape().extents().begin(), x.shape().extents().end());
    extents.insert(extents.begin(), 3);
    x = *x.broadcast_to(*Shape::create(extents));
  }
  return x;
}

// Some of the axes, in any order; often none, which means all.
inline std::vector<size_t> random_axes(std::mt19937& random, size_t rank) {
  std::vector<size_t> axes(rank);
  std::iota(axes.begin(), axes.end(), size_t{0});
  std::shuffle(axes.begin(), axes.end(), random);
  axes.resize(random() % (rank + 1));
  return axes;
}

}  // namespace lobit

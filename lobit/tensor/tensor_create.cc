// Tensors from values, bytes, rules and random numbers.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/fp_env.h"
#include "lobit/dtype/half.h"
#include "lobit/kernels/codec.h"
#include "lobit/kernels/planar.h"
#include "lobit/tensor/tensor.h"
#include "lobit/tensor/tensor_internal.h"

namespace lobit {
namespace {

// F32 values that are made before they are encoded: a multiple of every block and group.
constexpr uint64_t kTile = 2048;
using Tile = std::array<float, kTile>;

// The first value that keeps values[n] from being stored, as an index.
size_t find_offender(ValueFormat format, const float* values, size_t n) {
  const auto not_finite = [](float v) { return !std::isfinite(v); };
  const size_t step = format.is_planar() ? n : traits(format.encoding).block_elements;
  std::array<std::byte, 512> block;
  size_t first = 0;
  while (
      !format.is_planar() && first + step < n &&
      kernels::encoder(Encoding::kF32, format.encoding)(values + first, block.data(), step).unrepresentable ==
          0) {
    first += step;
  }
  const float* const begin = values + first;
  const float* const end = values + std::min(n, first + step);
  const float* found = std::find_if(begin, end, not_finite);
  const auto smaller = [](float a, float b) { return std::fabs(a) < std::fabs(b); };
  if (found == end) found = std::max_element(begin, end, smaller);
  return static_cast<size_t>(found - values);
}

Status data_loss(ValueFormat format, const Shape& shape, uint64_t first, const float* values, size_t n) {
  const size_t at = find_offender(format, values, n);
  return fail(ErrorCode::kDataLoss,
              fmt::format("tensor {}: element {}: expected a value that {} can hold, found {}",
                          shape.to_string(), first + at, to_string(format), values[at]),
              {.index = first + at, .from = "f32", .to = to_string(format)});
}

// Encodes the values of one fresh tensor in order.
template <typename Fill>
class Encoder {
 public:
  Encoder(ValueFormat format, const Shape& shape, std::byte* out, Fill fill)
      : format_(format),
        shape_(shape),
        layout_(detail::known_layout(format, shape.rows(), shape.row_elements())),
        out_(out),
        fill_(fill) {}

  Status run() {
    if (shape_.elements() == 0) return {};
    if (!format_.is_planar()) return encode_blocks();
    // The bytes between codes and scales.
    const uint64_t codes = layout_.row_bytes * shape_.rows();
    std::memset(out_ + codes, 0, layout_.scale_offset - codes);
    if (format_.scales == ScaleGroup::kTensor) return encode_group(0, shape_.rows(), 0);
    for (uint64_t row = 0; row < shape_.rows(); ++row) {
      if (format_.scales == ScaleGroup::kRow) {
        LOBIT_RETURN_IF_ERROR(encode_group(row, 1, row));
      } else {
        LOBIT_RETURN_IF_ERROR(encode_row(row));
      }
    }
    return {};
  }

 private:
  Status encode_blocks() {
    const EncodingTraits& t = traits(format_.encoding);
    const kernels::EncodeFn encode = kernels::encoder(Encoding::kF32, format_.encoding);
    const uint64_t elements = shape_.elements();
    for (uint64_t first = 0; first < elements; first += kTile) {
      const uint64_t n = std::min(kTile, elements - first);
      fill_(first, n, tile_.data());
      std::byte* const at = out_ + first / t.block_elements * t.block_bytes;
      if (encode == nullptr) {
        std::memcpy(at, tile_.data(), n * sizeof(float));
      } else if (encode(tile_.data(), at, n).unrepresentable > 0) {
        return data_loss(format_, shape_, first, tile_.data(), n);
      }
    }
    return {};
  }

  // A row of groups of 32 to 256.
  Status encode_row(uint64_t row) {
    const uint64_t group = border_elements(format_);
    const uint64_t columns = shape_.row_elements();
    float* scales = scale(row * layout_.row_scales);
    for (uint64_t column = 0; column < columns; column += kTile) {
      const uint64_t n = std::min(kTile, columns - column);
      const uint64_t first = row * columns + column;
      fill_(first, n, tile_.data());
      const EncodeCounts counts = kernels::encode_planar_groups(
          format_.encoding, tile_.data(), codes(row, column), scales + column / group, n, group);
      if (counts.unrepresentable > 0) return data_loss(format_, shape_, first, tile_.data(), n);
    }
    return {};
  }

  // Rows that share one scale: measured first, then made again and encoded.
  Status encode_group(uint64_t first_row, uint64_t rows, uint64_t scale_index) {
    PlanarExtent extent;
    LOBIT_RETURN_IF_ERROR(for_each_tile(first_row, rows, [&](uint64_t first, uint64_t, uint64_t, uint64_t n) {
      kernels::measure_planar(format_.encoding, tile_.data(), n, extent);
      if (std::isfinite(direct_planar_scale(format_.encoding, extent))) return Status();
      return data_loss(format_, shape_, first, tile_.data(), n);
    }));
    const float chosen = direct_planar_scale(format_.encoding, extent);
    *scale(scale_index) = chosen;
    return for_each_tile(first_row, rows, [&](uint64_t, uint64_t row, uint64_t column, uint64_t n) {
      kernels::encode_planar(format_.encoding, tile_.data(), codes(row, column), n, chosen);
      return Status();
    });
  }

  template <typename Use>
  Status for_each_tile(uint64_t first_row, uint64_t rows, Use use) {
    const uint64_t columns = shape_.row_elements();
    for (uint64_t row = first_row; row < first_row + rows; ++row) {
      for (uint64_t column = 0; column < columns; column += kTile) {
        const uint64_t n = std::min(kTile, columns - column);
        fill_(row * columns + column, n, tile_.data());
        LOBIT_RETURN_IF_ERROR(use(row * columns + column, row, column, n));
      }
    }
    return {};
  }

  std::byte* codes(uint64_t row, uint64_t column) const {
    return out_ + row * layout_.row_bytes + column * planar_bits(format_.encoding) / 8;
  }
  float* scale(uint64_t index) const { return reinterpret_cast<float*>(out_ + layout_.scale_offset) + index; }

  ValueFormat format_;
  const Shape& shape_;
  FormatLayout layout_;
  std::byte* out_;
  Fill fill_;
  Tile tile_;
};

Status check_writable(const MemoryResource& resource, const Shape& shape) {
  if (resource.device().kind == DeviceKind::kCpu) return {};
  const std::string name = device_name(resource.device());
  return fail(ErrorCode::kUnsupported,
              fmt::format("tensor {}: expected a resource of the cpu (to_device() copies tensors to others), "
                          "found one of {}",
                          shape.to_string(), name),
              {.to = name});
}

Status check_bytes(std::span<const std::byte> bytes, const FormatLayout& layout, const Shape& shape,
                   ValueFormat format) {
  if (bytes.size() == layout.bytes) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("tensor {} {}: expected {} bytes, found {}", shape.to_string(), to_string(format),
                          layout.bytes, bytes.size()),
              {.required = layout.bytes, .available = bytes.size()});
}

}  // namespace

Result<Tensor> Tensor::empty(const Shape& shape, FormatChoice format, MemoryResource& resource) {
  const ValueFormat chosen = format.for_shape(shape);
  LOBIT_TRY(const FormatLayout layout, detail::checked_layout(chosen, shape));
  LOBIT_TRY(detail::StorageRef storage, detail::StorageRef::allocate(resource, layout.bytes));
  return create(shape, chosen, layout, std::move(storage));
}

template <typename Fill>
Result<Tensor> Tensor::generate(const Shape& shape, FormatChoice format, MemoryResource& resource,
                                Fill fill) {
  LOBIT_RETURN_IF_ERROR(check_writable(resource, shape));
  const ValueFormat chosen = format.for_shape(shape);
  if (is_valid(chosen) && !traits(chosen.encoding).can_encode) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("tensor {}: expected a format that lobit encodes, found {}", shape.to_string(),
                            lobit::to_string(chosen)),
                {.to = lobit::to_string(chosen)});
  }
  LOBIT_TRY(Tensor tensor, empty(shape, chosen, resource));
  const ScopedFpEnv fp_env;
  Encoder encoder(chosen, shape, tensor.storage_.mutable_data(), fill);
  LOBIT_RETURN_IF_ERROR(encoder.run());
  return tensor;
}

Result<Tensor> Tensor::zeros(const Shape& shape, FormatChoice format, MemoryResource& resource) {
  return full(shape, 0.0f, format, resource);
}

Result<Tensor> Tensor::ones(const Shape& shape, FormatChoice format, MemoryResource& resource) {
  return full(shape, 1.0f, format, resource);
}

Result<Tensor> Tensor::full(const Shape& shape, float value, FormatChoice format, MemoryResource& resource) {
  return generate(shape, format, resource,
                  [value](uint64_t, uint64_t n, float* out) { std::fill_n(out, n, value); });
}

Result<Tensor> Tensor::random(const Shape& shape, FormatChoice format, MemoryResource& resource,
                              const RandomOptions& options) {
  LOBIT_RETURN_IF_ERROR(check_random_options(options));
  return generate(shape, format, resource, [&options](uint64_t first, uint64_t n, float* out) {
    fill_random(options, first, out, n);
  });
}

Result<Tensor> Tensor::from_values(std::span<const float> values, const Shape& shape, FormatChoice format,
                                   MemoryResource& resource) {
  if (values.size() != shape.elements()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tensor {}: expected {} values, found {}", shape.to_string(), shape.elements(),
                            values.size()),
                {.required = shape.elements(), .available = values.size()});
  }
  return generate(shape, format, resource, [values](uint64_t first, uint64_t n, float* out) {
    std::memcpy(out, values.data() + first, n * sizeof(float));
  });
}

Result<Tensor> Tensor::from_bytes(std::span<const std::byte> bytes, const Shape& shape, FormatChoice format,
                                  MemoryResource& resource) {
  LOBIT_RETURN_IF_ERROR(check_writable(resource, shape));
  const ValueFormat chosen = format.for_shape(shape);
  LOBIT_TRY(const FormatLayout layout, detail::checked_layout(chosen, shape));
  LOBIT_RETURN_IF_ERROR(check_bytes(bytes, layout, shape, chosen));
  LOBIT_TRY(Tensor tensor, empty(shape, chosen, resource));
  if (!bytes.empty()) std::memcpy(tensor.storage_.mutable_data(), bytes.data(), bytes.size());
  return tensor;
}

Result<Tensor> Tensor::borrow(std::span<const std::byte> bytes, const Shape& shape, FormatChoice format,
                              MemoryResource& resource, std::shared_ptr<const void> owner) {
  LOBIT_RETURN_IF_ERROR(check_writable(resource, shape));
  const ValueFormat chosen = format.for_shape(shape);
  LOBIT_TRY(const FormatLayout layout, detail::checked_layout(chosen, shape));
  LOBIT_RETURN_IF_ERROR(check_bytes(bytes, layout, shape, chosen));
  return create(shape, chosen, layout, detail::StorageRef::borrow(resource, bytes, std::move(owner)));
}

}  // namespace lobit

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "lobit/kernels/matmul.h"
#include "lobit/ops/matmul_internal.h"

namespace lobit::detail {
namespace {

bool is_plain(ValueFormat format) {
  return !format.is_planar() && border_elements(format) == 1;
}

size_t extent(const Tensor& tensor, size_t axis_from_last) {
  return static_cast<size_t>(tensor.shape()[tensor.shape().rank() - axis_from_last]);
}

int64_t stride(const Tensor& tensor, size_t axis_from_last) {
  return tensor.strides()[tensor.shape().rank() - axis_from_last];
}

Result<Tensor> swap_last_axes(const Tensor& tensor) {
  std::array<size_t, Shape::kMaxRank> axes{};
  const size_t rank = tensor.shape().rank();
  for (size_t axis = 0; axis < rank; ++axis) axes[axis] = axis;
  std::swap(axes[rank - 1], axes[rank - 2]);
  return tensor.transpose(std::span<const size_t>(axes.data(), rank));
}

}  // namespace

Result<MatrixOperand> MatrixOperand::create(const Tensor& tensor, bool depth_last) {
  MatrixOperand operand;
  operand.tensor_ = tensor;
  operand.depth_last_ = depth_last;
  operand.columns_ = extent(tensor, 1);
  if (tensor.shape().rank() > 1) {
    operand.rows_ = extent(tensor, 2);
    const bool rows_lie_together = stride(tensor, 2) == 1 && stride(tensor, 1) != 1 && operand.columns_ > 1;
    if (is_plain(tensor.format()) && rows_lie_together) {
      LOBIT_TRY(operand.tensor_, swap_last_axes(tensor));
      operand.depth_last_ = !depth_last;
      std::swap(operand.rows_, operand.columns_);
    }
  }
  operand.matrix_rows_ = operand.rows_;
  const size_t values = operand.rows_ * operand.columns_;
  operand.items_ = values == 0 ? 0 : static_cast<size_t>(tensor.elements()) / values;
  if (operand.items_ > 0) LOBIT_RETURN_IF_ERROR(operand.find_rows());
  return operand;
}

Status MatrixOperand::find_rows() {
  const ValueFormat format = tensor_.format();
  if (format.is_planar()) return {};
  const EncodingTraits& t = traits(format.encoding);
  const bool contiguous = tensor_.is_contiguous();
  if (contiguous) {
    LOBIT_TRY(const std::span<const std::byte> bytes, tensor_.bytes());
    first_ = bytes.data();
    row_stride_ = columns_ / t.block_elements * t.block_bytes;
  } else if (is_plain(format) && (columns_ == 1 || stride(tensor_, 1) == 1)) {
    LOBIT_TRY(first_, tensor_.first_number());
    const bool has_rows = tensor_.shape().rank() > 1;
    row_stride_ = (has_rows ? static_cast<size_t>(stride(tensor_, 2)) : columns_) * t.block_bytes;
  }
  is_even_ = contiguous || items_ == 1;
  is_float_ = format.encoding == Encoding::kF32 && first_ != nullptr &&
              reinterpret_cast<uintptr_t>(first_) % alignof(float) == 0;
  return {};
}

Status MatrixOperand::make_blocks_linear(MemoryResource& memory) {
  if (first_ != nullptr || tensor_.format().is_planar()) return {};
  LOBIT_TRY(tensor_, tensor_.contiguous(memory));
  return find_rows();
}

void MatrixOperand::join_items() {
  rows_ *= items_;
  items_ = 1;
}

size_t MatrixOperand::matrix_offset(size_t matrix) const {
  size_t offset = 0;
  for (size_t axis = tensor_.shape().rank() - 2; axis-- > 0;) {
    const auto count = static_cast<size_t>(tensor_.shape()[axis]);
    offset += matrix % count * static_cast<size_t>(tensor_.strides()[axis]);
    matrix /= count;
  }
  return offset * traits(tensor_.format().encoding).block_bytes;
}

const std::byte* MatrixOperand::row_bytes(size_t row) const {
  if (first_ == nullptr) return nullptr;
  if (is_even_) return first_ + row * row_stride_;
  return first_ + matrix_offset(row / matrix_rows_) + row % matrix_rows_ * row_stride_;
}

const float* MatrixOperand::read(size_t row, size_t first, size_t count, float* tile) const {
  if (is_float_) return reinterpret_cast<const float*>(row_bytes(row)) + first;
  tensor_.decode_run(row * columns_ + first, count, tile);
  return tile;
}

const float* MatrixOperand::even_rows(size_t first) const {
  const bool joined = rows_ != matrix_rows_;
  if (!is_float_ || (joined && !is_even_)) return nullptr;
  return reinterpret_cast<const float*>(row_bytes(first));
}

void MatrixOperand::pack(size_t item, size_t first, size_t count, size_t k, size_t depth, size_t tile,
                         float* scratch, float* panels) const {
  const size_t row = item * rows_ + (depth_last_ ? first : k);
  const size_t stride = row_stride_ / sizeof(float);
  const float* even = even_rows(row);
  if (depth_last_ && even != nullptr)
    return kernels::pack_panels(even + k, stride, count, depth, tile, panels);
  if (even != nullptr) {
    return kernels::pack_panels_transposed(even + first, stride, count, depth, tile, depth, panels);
  }
  if (!depth_last_) {
    for (size_t i = 0; i < depth; ++i) {
      const float* values = read(row + i, first, count, scratch);
      kernels::pack_panels_transposed(values, 0, count, 1, tile, depth, panels + i * tile);
    }
    return;
  }
  for (size_t done = 0; done < count; done += tile, panels += tile * depth) {
    const size_t n = std::min(tile, count - done);
    for (size_t i = 0; i < n; ++i) {
      float* to = scratch + i * depth;
      const float* values = read(row + done + i, k, depth, to);
      if (values != to) std::memcpy(to, values, depth * sizeof(float));
    }
    kernels::pack_panels(scratch, depth, n, depth, tile, panels);
  }
}

void MatmulCall::join_rows() {
  if (items <= 1 || b.items() != 1 || a.items() != items || !a.depth_last()) return;
  a.join_items();
  rows *= items;
  items = 1;
  batch = a_batch = b_batch = Shape();
}

size_t MatmulCall::operand_item(size_t item, const Shape& operand_batch) const {
  size_t found = 0;
  size_t step = 1;
  const size_t missing = batch.rank() - operand_batch.rank();
  for (size_t axis = operand_batch.rank(); axis-- > 0;) {
    const auto count = static_cast<size_t>(batch[missing + axis]);
    const auto own = static_cast<size_t>(operand_batch[axis]);
    if (own != 1) found += item % count * step;
    item /= count;
    step *= own;
  }
  return found;
}

}  // namespace lobit::detail

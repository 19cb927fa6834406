// Views of a tensor, and copies of it in one piece.
#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lobit/device/backend.h"
#include "lobit/tensor/tensor.h"
#include "lobit/tensor/tensor_internal.h"

namespace lobit {
namespace {

// "rows of i4 per 64 are cut at multiples of 64"
std::string borders_text(ValueFormat format) {
  return fmt::format("rows of {} are cut at multiples of {}", to_string(format), border_elements(format));
}

Status check_border(const Tensor& tensor, int64_t index, int64_t columns) {
  const int64_t border = border_elements(tensor.format());
  if (index % border == 0 || index == columns) return {};
  const int64_t below = index / border * border;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("slice: tensor '{}' {}: {}: expected {} or {}, found {}", tensor.name(),
                          tensor.shape().to_string(), borders_text(tensor.format()), below,
                          std::min(below + border, columns), index),
              {.index = static_cast<uint64_t>(index), .required = static_cast<uint64_t>(border)});
}

}  // namespace

Status Tensor::check_reshape(const Shape& shape) const {
  if (shape.elements() != elements()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("reshape: tensor '{}' {}: expected a shape of {} elements, found {} with {}",
                            name(), shape_.to_string(), elements(), shape.to_string(), shape.elements()),
                {.required = elements(), .available = shape.elements()});
  }
  if (!is_dense()) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("reshape: tensor '{}' {}: expected elements in order (contiguous() puts them so), "
                    "found strides [{}]",
                    name(), shape_.to_string(), fmt::join(strides(), ", ")));
  }
  LOBIT_RETURN_IF_ERROR(detail::checked_layout(format_, shape));
  const uint64_t columns = shape.row_elements();
  if (!format_.is_planar() || elements() == 0 || columns == shape_.row_elements()) return {};
  const bool at_borders = columns % border_elements(format_) == 0;
  const bool within_rows = base_columns_ % columns == 0 && offset_ % columns == 0;
  if (at_borders && (rows_are_linear() || within_rows)) return {};
  if (within_rows && columns == base_columns_) return {};
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("reshape: tensor '{}' {}: {}: expected rows of {}{}, found {}", name(), shape_.to_string(),
                  borders_text(format_), shape_.row_elements(),
                  rows_are_linear() ? " or of such a multiple" : " or of such a multiple that divides it",
                  shape.to_string()),
      {.required = border_elements(format_), .available = columns});
}

Result<Tensor> Tensor::reshape(const Shape& shape) const {
  LOBIT_RETURN_IF_ERROR(check_reshape(shape));
  return view(shape, detail::dense_strides(shape), offset_);
}

Result<Tensor> Tensor::transpose(std::span<const size_t> axes) const {
  const size_t rank = shape_.rank();
  std::array<bool, Shape::kMaxRank> seen{};
  bool valid = axes.size() == rank;
  for (size_t i = 0; valid && i < rank; ++i) {
    valid = axes[i] < rank && !std::exchange(seen[axes[i]], true);
  }
  if (!valid) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("transpose: tensor '{}' {}: expected each of its {} axes once, found [{}]",
                            name(), shape_.to_string(), rank, fmt::join(axes, ", ")));
  }
  if (!is_plain() && rank > 0 && axes.back() != rank - 1) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("transpose: tensor '{}' {}: the values of a row of {} lie together: expected axis {} "
                    "to stay the last, found [{}]",
                    name(), shape_.to_string(), lobit::to_string(format_), rank - 1, fmt::join(axes, ", ")),
        {.index = axes.back()});
  }
  std::array<int64_t, Shape::kMaxRank> extents{};
  Strides strides{};
  for (size_t i = 0; i < rank; ++i) {
    extents[i] = shape_[axes[i]];
    strides[i] = strides_[axes[i]];
  }
  LOBIT_TRY(const Shape shape, Shape::create(std::span(extents.data(), rank)));
  return view(shape, strides, offset_);
}

Result<Tensor> Tensor::transpose() const {
  std::array<size_t, Shape::kMaxRank> axes{};
  const size_t rank = shape_.rank();
  for (size_t i = 0; i < rank; ++i) axes[i] = rank - 1 - i;
  return transpose(std::span(axes.data(), rank));
}

Result<Tensor> Tensor::slice(size_t axis, int64_t first, int64_t last) const {
  if (axis >= shape_.rank()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("slice: tensor '{}' {}: expected an axis below {}, found {}", name(),
                            shape_.to_string(), shape_.rank(), axis),
                {.index = axis, .available = shape_.rank()});
  }
  const int64_t extent = shape_[axis];
  if (first < 0 || last < first || last > extent) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("slice: tensor '{}' {}: expected 0 <= first <= last <= {} for axis {}, found {} and "
                    "{}",
                    name(), shape_.to_string(), extent, axis, first, last),
        {.index = axis, .available = static_cast<uint64_t>(extent)});
  }
  if (!is_plain() && axis + 1 == shape_.rank()) {
    LOBIT_RETURN_IF_ERROR(check_border(*this, first, extent));
    LOBIT_RETURN_IF_ERROR(check_border(*this, last, extent));
  }
  std::array<int64_t, Shape::kMaxRank> extents{};
  std::ranges::copy(shape_.extents(), extents.begin());
  extents[axis] = last - first;
  LOBIT_TRY(const Shape shape, Shape::create(std::span(extents.data(), shape_.rank())));
  // A view without elements may begin anywhere.
  const bool any = shape.elements() > 0;
  return view(shape, strides_, any ? offset_ + static_cast<uint64_t>(first * strides_[axis]) : offset_);
}

Result<Tensor> Tensor::broadcast_to(const Shape& shape) const {
  const auto refuse = [&](std::string_view why) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("broadcast_to: tensor '{}' {} to {}: {}", name(),
                                                         shape_.to_string(), shape.to_string(), why));
  };
  if (shape.rank() < shape_.rank()) return refuse("expected as many axes or more");
  const size_t added = shape.rank() - shape_.rank();
  Strides strides{};
  for (size_t axis = 0; axis < shape.rank(); ++axis) {
    const bool has = axis >= added;
    const bool repeats = !has || (shape_[axis - added] == 1 && shape[axis] != 1);
    if (!repeats && shape[axis] != shape_[axis - added]) {
      return refuse(fmt::format("expected {} or an extent of 1 on axis {}, found {}", shape[axis], axis,
                                shape_[axis - added]));
    }
    strides[axis] = repeats ? 0 : strides_[axis - added];
    if (repeats && !is_plain() && axis + 1 == shape.rank() && shape[axis] != 1) {
      return refuse(
          fmt::format("the values of a row of {} lie together: expected a last axis of {}, found {}",
                      lobit::to_string(format_), shape_.row_elements(), shape[axis]));
    }
  }
  LOBIT_RETURN_IF_ERROR(detail::checked_layout(format_, shape));
  return view(shape, strides, offset_);
}

Result<Tensor> Tensor::bit_view(ValueFormat format) const {
  bool same = is_valid(format) && format.scales == format_.scales;
  if (same && format.is_planar()) {
    same = planar_bits(format.encoding) == planar_bits(format_.encoding);
  } else if (same) {
    const EncodingTraits& from = traits(format_.encoding);
    const EncodingTraits& to = traits(format.encoding);
    same = from.block_elements == to.block_elements && from.block_bytes == to.block_bytes;
  }
  if (!same) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("bit_view: tensor '{}' {}: expected a format with the bits and groups of {}, found {}",
                    name(), shape_.to_string(), lobit::to_string(format_), lobit::to_string(format)),
        {.from = lobit::to_string(format_)});
  }
  Tensor seen = view(shape_, strides_, offset_);
  seen.format_ = format;
  seen.layout_ = detail::known_layout(format, shape_.rows(), shape_.row_elements());
  seen.set_name(fmt::format("{}{}bits as {}", name(), name().empty() ? "" : ", ", lobit::to_string(format)));
  return seen;
}

Result<Tensor> Tensor::contiguous(MemoryResource& resource) const {
  LOBIT_RETURN_IF_ERROR(check_host("contiguous"));
  if (is_contiguous()) return *this;
  return clone(resource);
}

Result<Tensor> Tensor::clone(MemoryResource& resource) const {
  LOBIT_RETURN_IF_ERROR(check_host("clone"));
  if (resource.device() != device()) return to_device(resource);
  LOBIT_TRY(Tensor copy, empty(shape_, format_, resource));
  copy_values(copy.storage_.mutable_data());
  copy.label_ = label_;
  return copy;
}

Result<Tensor> Tensor::to_device(MemoryResource& resource) const {
  if (resource.device() == device()) return *this;
  LOBIT_TRY(Backend * target, backend(resource.device()));
  LOBIT_TRY(Backend * source, backend(device()));
  if (!is_contiguous()) {
    LOBIT_TRY(const Tensor whole, contiguous(*storage_.resource()));
    return whole.to_device(resource);
  }
  LOBIT_TRY(Tensor copy, empty(shape_, format_, resource));
  copy.label_ = label_;
  if (elements() == 0) return copy;
  Backend& owner = resource.device().kind == DeviceKind::kCpu ? *source : *target;
  LOBIT_RETURN_IF_ERROR(copy_between(resource.device(), copy.storage_.mutable_data(), device(), first_byte(),
                                     layout_.bytes, Stream{}));
  LOBIT_RETURN_IF_ERROR(owner.synchronize(Stream{}));
  return copy;
}

}  // namespace lobit

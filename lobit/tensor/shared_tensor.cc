#include "lobit/tensor/shared_tensor.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/check.h"
#include "lobit/base/checked.h"
#include "lobit/base/utf8.h"
#include "lobit/device/backend.h"
#include "lobit/device/device.h"
#include "lobit/tensor/shared_tensor_internal.h"
#include "lobit/tensor/tensor_internal.h"

namespace lobit {
namespace detail {
namespace {

constexpr std::string_view kWhere = "shared tensor";

tl::unexpected<Error> wrong(size_t at, std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("{}: byte {}: {}", kWhere, at, what), {.offset = at});
}

Result<ValueFormat> check_format(const SharedTensorHeader& header) {
  const auto end = std::ranges::find(header.format, '\0');
  const std::string_view text(header.format.data(), static_cast<size_t>(end - header.format.begin()));
  const std::optional<ValueFormat> format = parse_value_format(text);
  const bool padded = std::all_of(end, header.format.end(), [](char c) { return c == '\0'; });
  if (format && padded) return *format;
  return wrong(offsetof(SharedTensorHeader, format),
               fmt::format("expected the name of a format, found {}", quoted(text)));
}

Result<Shape> check_shape(const SharedTensorHeader& header) {
  if (header.rank > Shape::kMaxRank) {
    return wrong(offsetof(SharedTensorHeader, rank),
                 fmt::format("expected at most {} dimensions, found {}", Shape::kMaxRank, header.rank));
  }
  const auto extents = std::span(header.extents);
  Result<Shape> shape = Shape::create(extents.first(header.rank));
  if (!shape) return wrong(offsetof(SharedTensorHeader, extents), shape.error().message);
  const bool padded = std::ranges::all_of(extents.subspan(header.rank), [](int64_t e) { return e == 0; });
  if (!padded) return wrong(offsetof(SharedTensorHeader, extents), "expected zeros behind the last extent");
  return shape;
}

Status check_place(const SharedTensorHeader& header, const std::optional<FormatLayout>& layout,
                   uint64_t segment) {
  if (!layout || layout->bytes != header.bytes) {
    return wrong(offsetof(SharedTensorHeader, bytes),
                 fmt::format("expected the bytes of the shape and format, found {}", header.bytes));
  }
  const std::optional<uint64_t> end = checked_add(header.offset, header.bytes);
  if (header.offset >= sizeof header && header.offset % kDefaultAlignment == 0 && end && *end <= segment) {
    return {};
  }
  return fail(ErrorCode::kCorrupt,
              fmt::format("{}: byte {}: expected {} bytes of values within the segment's {}, from a multiple "
                          "of {} on, found them at {}",
                          kWhere, offsetof(SharedTensorHeader, offset), header.bytes, segment,
                          kDefaultAlignment, header.offset),
              {.offset = offsetof(SharedTensorHeader, offset),
               .required = header.bytes,
               .available = segment - std::min<uint64_t>(segment, header.offset)});
}

}  // namespace

Result<SharedTensorPlace> read_shared_tensor(std::span<const std::byte> segment) {
  SharedTensorHeader header;
  if (segment.size() < sizeof header) {
    return wrong(segment.size(),
                 fmt::format("expected a header of {} bytes, found the end of the segment", sizeof header));
  }
  // Once: the bytes may change after they were checked.
  std::memcpy(&header, segment.data(), sizeof header);
  if (!std::ranges::equal(header.magic, kSharedTensorMagic)) {
    return wrong(0, fmt::format("expected {}, found {}", quoted(kSharedTensorMagic),
                                quoted({header.magic.data(), header.magic.size()})));
  }
  if (header.version != kSharedTensorVersion) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: byte {}: expected version {}, found {}", kWhere,
                            offsetof(SharedTensorHeader, version), kSharedTensorVersion, header.version),
                {.offset = offsetof(SharedTensorHeader, version)});
  }
  LOBIT_TRY(const ValueFormat format, check_format(header));
  LOBIT_TRY(const Shape shape, check_shape(header));
  LOBIT_RETURN_IF_ERROR(
      check_place(header, format_layout(format, shape.rows(), shape.row_elements()), segment.size()));
  return SharedTensorPlace{shape, format, header.offset, header.bytes};
}

}  // namespace detail

Result<SharedTensor> SharedTensor::over(SharedMemory segment) {
  LOBIT_TRY(const detail::SharedTensorPlace place, detail::read_shared_tensor(segment.bytes()));
  SharedTensor tensor;
  tensor.shape_ = place.shape;
  tensor.format_ = place.format;
  tensor.offset_ = place.offset;
  tensor.bytes_ = place.bytes;
  tensor.segment_ = std::make_shared<const SharedMemory>(std::move(segment));
  return tensor;
}

Result<SharedTensor> SharedTensor::create(const Shape& shape, FormatChoice format, SharedAccess others) {
  const ValueFormat chosen = format.for_shape(shape);
  LOBIT_TRY(const FormatLayout layout, detail::checked_layout(chosen, shape));
  detail::SharedTensorHeader header;
  std::ranges::copy(detail::kSharedTensorMagic, header.magic.begin());
  header.version = detail::kSharedTensorVersion;
  header.rank = static_cast<uint32_t>(shape.rank());
  const std::string text = to_string(chosen);
  LOBIT_CHECK(text.size() <= header.format.size());
  std::ranges::copy(text, header.format.begin());
  std::ranges::copy(shape.extents(), header.extents.begin());
  header.offset = sizeof header;
  header.bytes = layout.bytes;

  // A tensor has fewer than 2^63 bytes, so the sum fits; SharedMemory refuses one that is too large.
  LOBIT_TRY(const Backend* cpu, backend(Device{}));
  LOBIT_TRY(const DeviceMemory memory, cpu->memory());
  LOBIT_TRY(SharedMemory segment, SharedMemory::create(header.offset + header.bytes, memory.free, others));
  LOBIT_TRY(const std::span<std::byte> bytes, segment.writable_bytes());
  std::memcpy(bytes.data(), &header, sizeof header);
  return over(std::move(segment));
}

Result<SharedTensor> SharedTensor::copy_of(const Tensor& tensor, SharedAccess others) {
  if (tensor.device().kind != DeviceKind::kCpu) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("shared tensor: expected values on the cpu (to_device() copies them there), found "
                    "them on {}",
                    device_name(tensor.device())),
        {.from = device_name(tensor.device()), .to = "cpu"});
  }
  LOBIT_TRY(SharedTensor shared, create(tensor.shape(), tensor.format(), others));
  if (tensor.elements() == 0) return shared;
  LOBIT_TRY(const std::span<std::byte> out, shared.writable_bytes());
  if (tensor.is_contiguous()) {
    LOBIT_TRY(const std::span<const std::byte> bytes, tensor.bytes());
    std::memcpy(out.data(), bytes.data(), bytes.size());
  } else if (tensor.format().is_planar()) {
    // The bytes between codes and scales are zero as all others were.
    const FormatLayout layout =
        detail::known_layout(tensor.format(), tensor.shape().rows(), tensor.shape().row_elements());
    tensor.read_rows(0, tensor.shape().rows(), out.data(), out.data() + layout.scale_offset);
  } else {
    tensor.read_run(0, tensor.elements(), out.data());
  }
  return shared;
}

Result<SharedTensor> SharedTensor::open(std::string_view name, SharedAccess access) {
  LOBIT_TRY(SharedMemory segment, SharedMemory::open(name, access));
  return over(std::move(segment));
}

Result<SharedTensor> SharedTensor::adopt(int descriptor, SharedAccess access) {
  LOBIT_TRY(SharedMemory segment, SharedMemory::adopt(descriptor, access));
  return over(std::move(segment));
}

void SharedTensor::swap(SharedTensor& other) noexcept {
  std::swap(segment_, other.segment_);
  std::swap(shape_, other.shape_);
  std::swap(format_, other.format_);
  std::swap(offset_, other.offset_);
  std::swap(bytes_, other.bytes_);
}

Status SharedTensor::check_segment() const {
  if (segment_ != nullptr) return {};
  return fail(ErrorCode::kInvalidArgument,
              "shared tensor: expected one with a segment, found one that was moved from");
}

Result<std::span<std::byte>> SharedTensor::writable_bytes() const {
  LOBIT_RETURN_IF_ERROR(check_segment());
  LOBIT_TRY(const std::span<std::byte> all, segment_->writable_bytes());
  return all.subspan(offset_, bytes_);
}

Result<Tensor> SharedTensor::tensor(MemoryResource& resource) const {
  LOBIT_RETURN_IF_ERROR(check_segment());
  return Tensor::borrow(bytes(), shape_, format_, resource, segment_);
}

}  // namespace lobit

#include "lobit/tensor/tensor.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lobit/base/check.h"
#include "lobit/tensor/tensor_internal.h"

namespace lobit {
namespace {

uint64_t next_id() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

uint64_t hash_words(std::span<const int64_t> words, uint64_t hash) {
  for (const int64_t word : words) hash = (hash ^ static_cast<uint64_t>(word)) * 0x100000001B3;  // FNV-1a
  return hash;
}

std::chrono::system_clock::time_point time_point(int64_t nanoseconds) {
  using Clock = std::chrono::system_clock;
  return Clock::time_point(
      std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(nanoseconds)));
}

// What values<T>() gives for T.
struct NumberRow {
  std::string_view type;
  size_t bytes;
  std::array<Encoding, 3> encodings;
};

const NumberRow& number_row(detail::NumberKind kind) {
  using enum Encoding;
  static constexpr std::array<NumberRow, 10> kRows{{{"float", 4, {kF32, kF32, kF32}},
                                                    {"double", 8, {kF64, kF64, kF64}},
                                                    {"uint16_t", 2, {kF16, kBF16, kRawU16}},
                                                    {"int8_t", 1, {kRawI8, kRawI8, kRawI8}},
                                                    {"int16_t", 2, {kRawI16, kRawI16, kRawI16}},
                                                    {"int32_t", 4, {kRawI32, kRawI32, kRawI32}},
                                                    {"int64_t", 8, {kRawI64, kRawI64, kRawI64}},
                                                    {"uint8_t", 1, {kRawU8, kBool, kRawU8}},
                                                    {"uint32_t", 4, {kRawU32, kRawU32, kRawU32}},
                                                    {"uint64_t", 8, {kRawU64, kRawU64, kRawU64}}}};
  return kRows[static_cast<size_t>(kind)];
}

}  // namespace

namespace detail {

Result<FormatLayout> checked_layout(ValueFormat format, const Shape& shape) {
  if (const auto layout = format_layout(format, shape.rows(), shape.row_elements())) return *layout;
  if (!is_valid(format)) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("tensor {}: expected a format that exists (only i8, "
                                                         "i4, i2, i1 and bitnet158 are planar), found {}",
                                                         shape.to_string(), lobit::to_string(format)));
  }
  const uint32_t block = border_elements(format);
  if (!format.is_planar() && shape.row_elements() % block != 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tensor {}: expected rows of a multiple of {} values for {}, found {}",
                            shape.to_string(), block, lobit::to_string(format), shape.row_elements()),
                {.required = block, .available = shape.row_elements()});
  }
  return fail(ErrorCode::kInvalidArgument, fmt::format("tensor {}: expected fewer than 2^63 bytes in {}",
                                                       shape.to_string(), lobit::to_string(format)));
}

}  // namespace detail

void Tensor::swap(Tensor& other) noexcept {
  std::swap(storage_, other.storage_);
  std::swap(label_, other.label_);
  std::swap(shape_, other.shape_);
  std::swap(strides_, other.strides_);
  std::swap(offset_, other.offset_);
  std::swap(base_rows_, other.base_rows_);
  std::swap(base_columns_, other.base_columns_);
  std::swap(format_, other.format_);
  std::swap(layout_, other.layout_);
  std::swap(id_, other.id_);
  std::swap(created_, other.created_);
}

Tensor Tensor::create(const Shape& shape, ValueFormat format, const FormatLayout& layout,
                      detail::StorageRef storage) {
  Tensor tensor;
  tensor.storage_ = std::move(storage);
  tensor.shape_ = shape;
  tensor.strides_ = detail::dense_strides(shape);
  tensor.base_rows_ = shape.rows();
  tensor.base_columns_ = shape.row_elements();
  tensor.format_ = format;
  tensor.layout_ = layout;
  tensor.id_ = next_id();
  tensor.created_ = detail::coarse_time();
  return tensor;
}

Tensor Tensor::view(const Shape& shape, const Strides& strides, uint64_t offset) const {
  Tensor tensor = *this;
  tensor.shape_ = shape;
  tensor.layout_ = detail::known_layout(format_, shape.rows(), shape.row_elements());
  tensor.strides_ = strides;
  tensor.offset_ = offset;
  tensor.id_ = next_id();
  tensor.created_ = detail::coarse_time();
  return tensor;
}

Tensor Tensor::over(detail::StorageRef storage) const {
  Tensor tensor = *this;
  tensor.storage_ = std::move(storage);
  tensor.strides_ = detail::dense_strides(shape_);
  tensor.offset_ = 0;
  tensor.base_rows_ = shape_.rows();
  tensor.base_columns_ = shape_.row_elements();
  return tensor;
}

FormatLayout Tensor::base_layout() const {
  return detail::known_layout(format_, base_rows_, base_columns_);
}

Device Tensor::device() const {
  return storage_.resource() == nullptr ? Device{} : storage_.resource()->device();
}

bool Tensor::is_dense() const {
  int64_t expected = 1;
  for (size_t axis = shape_.rank(); axis-- > 0;) {
    if (shape_[axis] == 1) continue;
    if (shape_[axis] == 0) return true;
    if (strides_[axis] != expected) return false;
    expected *= shape_[axis];
  }
  return true;
}

bool Tensor::rows_are_linear() const {
  if (!format_.is_planar()) return true;
  return format_.scales != ScaleGroup::kRow && base_columns_ % border_elements(format_) == 0;
}

bool Tensor::is_contiguous() const {
  if (elements() == 0) return true;
  if (!is_dense()) return false;
  if (!format_.is_planar()) return true;
  if (offset_ != 0 || elements() != base_rows_ * base_columns_) return false;
  return shape_.row_elements() == base_columns_ || rows_are_linear();
}

bool Tensor::shares_storage_with(const Tensor& other) const {
  return !storage_.empty() && storage_.serial() == other.storage_.serial();
}

const std::string& Tensor::name() const {
  static const std::string kNone;
  return label_ == nullptr ? kNone : label_->name;
}

std::span<const std::string> Tensor::tags() const {
  return label_ == nullptr ? std::span<const std::string>() : label_->tags;
}

void Tensor::set_name(std::string name) {
  auto label = std::make_shared<Label>();
  label->name = std::move(name);
  if (label_ != nullptr) label->tags = label_->tags;
  label_ = std::move(label);
}

void Tensor::set_tags(std::vector<std::string> tags) {
  auto label = std::make_shared<Label>();
  if (label_ != nullptr) label->name = label_->name;
  label->tags = std::move(tags);
  label_ = std::move(label);
}

TensorMetadata Tensor::metadata() const {
  TensorMetadata m;
  m.id = id_;
  m.name = name();
  m.tags.assign(tags().begin(), tags().end());
  m.shape = shape_;
  m.strides.assign(strides().begin(), strides().end());
  m.format = format_;
  m.dtype = dtype();
  m.device = device();
  m.bytes = size_bytes();
  m.created = time_point(created_);
  m.last_access = time_point(storage_.last_access());
  m.owners = storage_.owners();
  return m;
}

ContentKey Tensor::content_key() const {
  const auto format = static_cast<int64_t>(format_.encoding) << 8 | static_cast<int64_t>(format_.scales);
  const std::array<int64_t, 4> rest{static_cast<int64_t>(shape_.rank()), format,
                                    static_cast<int64_t>(base_rows_), static_cast<int64_t>(base_columns_)};
  uint64_t layout = hash_words(shape_.extents(), 0xCBF29CE484222325);
  layout = hash_words(rest, hash_words(strides(), layout));
  return {storage_.serial(), storage_.version(), offset_, layout};
}

// These checks come before every access. Their success is a variable because `return {}` would clear the room
// for an error first.
Status Tensor::check_host(const char* what) const {
  Status valid;
  if (device().kind == DeviceKind::kCpu) return valid;
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("{}: tensor '{}' {}: expected one on the cpu (to_device() copies it there), found it "
                  "on {}",
                  what, name(), shape_.to_string(), device_name(device())),
      {.from = device_name(device()), .to = "cpu"});
}

Status Tensor::check_in_one_piece(const char* what) const {
  Status valid = check_host(what);
  if (!valid || is_contiguous()) return valid;
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("{}: tensor '{}' {}: expected bytes in one piece (contiguous() makes them), found a "
                  "view with strides [{}]",
                  what, name(), shape_.to_string(), fmt::join(strides(), ", ")));
}

// A planar tensor is contiguous from its block's first byte on.
const std::byte* Tensor::first_byte() const {
  if (format_.is_planar()) return storage_.data();
  const EncodingTraits& t = traits(format_.encoding);
  return storage_.data() + offset_ / t.block_elements * t.block_bytes;
}

Result<std::span<const std::byte>> Tensor::bytes() const {
  LOBIT_RETURN_IF_ERROR(check_in_one_piece("bytes"));
  storage_.touch();
  if (elements() == 0) return std::span<const std::byte>();
  return std::span(first_byte(), layout_.bytes);
}

Result<std::span<std::byte>> Tensor::own_bytes() {
  if (elements() == 0) return std::span<std::byte>();
  const uint64_t bytes = layout_.bytes;
  if (!storage_.acquire_mutable()) {
    LOBIT_TRY(detail::StorageRef own, detail::StorageRef::allocate(*storage_.resource(), bytes));
    LOBIT_CHECK(own.acquire_mutable());
    std::memcpy(own.mutable_data(), first_byte(), bytes);
    *this = over(std::move(own));
  }
  storage_.touch();
  return std::span(storage_.mutable_data() + (first_byte() - storage_.data()), bytes);
}

Result<std::span<std::byte>> Tensor::mutable_bytes() {
  LOBIT_RETURN_IF_ERROR(check_in_one_piece("mutable_bytes"));
  return own_bytes();
}

namespace {

Status check_number(const NumberRow& row, const Tensor& tensor) {
  const ValueFormat format = tensor.format();
  Status valid;
  if (!format.is_planar() && std::ranges::count(row.encodings, format.encoding) > 0) return valid;
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("values: tensor '{}' {}: expected {} for {}, found {}", tensor.name(),
                  tensor.shape().to_string(), encoding_name(row.encodings[0]), row.type, to_string(format)),
      {.from = to_string(format), .to = std::string(encoding_name(row.encodings[0]))});
}

}  // namespace

Result<std::span<const std::byte>> Tensor::numbers(detail::NumberKind kind) const {
  const NumberRow& row = number_row(kind);
  LOBIT_RETURN_IF_ERROR(check_number(row, *this));
  LOBIT_TRY(const std::span<const std::byte> found, bytes());
  if (reinterpret_cast<uintptr_t>(found.data()) % row.bytes != 0) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("values: tensor '{}' {}: expected an address that {} may have (clone() makes one), "
                    "found borrowed bytes at no multiple of {}",
                    name(), shape_.to_string(), row.type, row.bytes));
  }
  return found;
}

Result<std::span<std::byte>> Tensor::mutable_numbers(detail::NumberKind kind) {
  LOBIT_RETURN_IF_ERROR(check_number(number_row(kind), *this));
  LOBIT_RETURN_IF_ERROR(check_in_one_piece("mutable_values"));
  return own_bytes();
}

Result<const std::byte*> Tensor::first_number() const {
  LOBIT_RETURN_IF_ERROR(check_host("first_number"));
  if (!is_plain()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("first_number: tensor '{}' {}: expected plain numbers, found {}", name(),
                            shape_.to_string(), lobit::to_string(format_)),
                {.from = lobit::to_string(format_)});
  }
  storage_.touch();
  if (elements() == 0) return nullptr;
  return first_byte();
}

Status Tensor::check_row_planes(const char* what) const {
  LOBIT_RETURN_IF_ERROR(check_host(what));
  if (!format_.is_planar()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: tensor '{}' {}: expected a planar format, whose codes and scales lie apart, "
                            "found {}",
                            what, name(), shape_.to_string(), lobit::to_string(format_)));
  }
  if (is_contiguous()) return {};
  const bool whole_rows = shape_.row_elements() == base_columns_ && offset_ % base_columns_ == 0;
  if (is_dense() && whole_rows) return {};
  return check_in_one_piece(what);
}

Result<std::span<const std::byte>> Tensor::codes() const {
  LOBIT_RETURN_IF_ERROR(check_row_planes("codes"));
  storage_.touch();
  if (elements() == 0) return std::span<const std::byte>();
  const uint64_t row_bytes = layout_.row_bytes;
  const uint64_t first = offset_ == 0 ? 0 : offset_ / base_columns_ * row_bytes;
  return std::span(storage_.data() + first, row_bytes * shape_.rows());
}

Result<std::span<const float>> Tensor::scales() const {
  LOBIT_RETURN_IF_ERROR(check_row_planes("scales"));
  storage_.touch();
  if (elements() == 0) return std::span<const float>();
  const FormatLayout base = base_layout();
  const uint64_t first = offset_ == 0 ? 0 : offset_ / base_columns_ * base.row_scales;
  const std::byte* at = storage_.data() + base.scale_offset + first * sizeof(float);
  if (reinterpret_cast<uintptr_t>(at) % alignof(float) != 0) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("scales: tensor '{}' {}: expected an address that is a multiple of {} (clone() makes "
                    "one), found borrowed bytes",
                    name(), shape_.to_string(), alignof(float)));
  }
  return std::span(reinterpret_cast<const float*>(at), layout_.scale_count);
}

Status Tensor::reformat(ValueFormat format) {
  LOBIT_RETURN_IF_ERROR(check_in_one_piece("reformat"));
  LOBIT_TRY(const FormatLayout next, detail::checked_layout(format, shape_));
  if (next.bytes > storage_.capacity()) {
    return fail(
        ErrorCode::kLimit,
        fmt::format("reformat: tensor '{}' {}: {} needs {} bytes, expected at most the {} of its block",
                    name(), shape_.to_string(), lobit::to_string(format), next.bytes, storage_.capacity()),
        {.required = next.bytes, .available = storage_.capacity()});
  }
  const bool whole = elements() == 0 || (offset_ == 0 && elements() == base_rows_ * base_columns_);
  if (!whole || (!storage_.empty() && !storage_.acquire_mutable())) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("reformat: tensor '{}' {}: expected a block that it alone owns (mutable_bytes() "
                            "makes it so), found {} owners",
                            name(), shape_.to_string(), storage_.owners()),
                {.required = 1, .available = storage_.owners()});
  }
  storage_.touch();
  format_ = format;
  layout_ = next;
  strides_ = detail::dense_strides(shape_);
  base_rows_ = shape_.rows();
  base_columns_ = shape_.row_elements();
  return {};
}

Status Tensor::release() {
  const Status released = storage_.release();
  *this = Tensor();
  return released;
}

}  // namespace lobit

// Tensor: values of one shape and one format (dtype, codes and scales) in a block of memory that copies and
// views share. Copying a tensor copies no values and allocates nothing. Whoever writes to values that others
// share, or to borrowed ones, writes to a copy of his own (copy-on-write), which comes from the same
// MemoryResource; the last tensor to go gives the block back to it. Resources outlive their tensors.
//
// A view (reshape, transpose, slice, broadcast) sees the same block in another order. In formats whose values
// share bytes or scales, a row is cut only at borders (border_elements()) and stays a row; elsewhere the
// error names the nearest borders. What needs bytes in one piece says so, and contiguous() makes it.
//
// Different objects may be used from different threads at once, also when they share a block. One object is
// for one thread at a time, except that any number of threads may read it. A span from a tensor is good until
// the tensor is assigned, written to through another call, or gone; write through a span of mutable_...()
// only until the tensor is copied, viewed or referred to.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/device/device.h"
#include "lobit/dtype/value_format.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/tensor/format_choice.h"
#include "lobit/tensor/random_options.h"
#include "lobit/tensor/shape.h"
#include "lobit/tensor/tensor_storage.h"
#include "lobit/tensor/tensor_types.h"

namespace lobit {

class LOBIT_API Tensor {
 public:
  // No values: shape [0] in F32.
  Tensor() = default;
  Tensor(const Tensor&) = default;
  Tensor(Tensor&& other) noexcept;  // leaves Tensor()
  Tensor& operator=(Tensor other) noexcept {
    swap(other);
    return *this;
  }
  ~Tensor() = default;
  void swap(Tensor& other) noexcept;

  // Creation. The errors of MemoryResource::allocate; kInvalidArgument when the shape's rows do not fill the
  // blocks of the format, or its bytes do not fit 63 bits. Where values are given, they are quantized with
  // the direct rule, and kDataLoss names the first that the format cannot hold. All but empty() need a
  // resource of the CPU.
  static Result<Tensor> empty(const Shape& shape, FormatChoice format,
                              MemoryResource& resource);  // undefined
  static Result<Tensor> zeros(const Shape& shape, FormatChoice format, MemoryResource& resource);
  static Result<Tensor> ones(const Shape& shape, FormatChoice format, MemoryResource& resource);
  static Result<Tensor> full(const Shape& shape, float value, FormatChoice format, MemoryResource& resource);
  static Result<Tensor> random(const Shape& shape, FormatChoice format, MemoryResource& resource,
                               const RandomOptions& options = {});
  // As many values as the shape has.
  static Result<Tensor> from_values(std::span<const float> values, const Shape& shape, FormatChoice format,
                                    MemoryResource& resource);
  // A copy of bytes that are in the format already, as many as format_layout() says.
  static Result<Tensor> from_bytes(std::span<const std::byte> bytes, const Shape& shape, FormatChoice format,
                                   MemoryResource& resource);
  // The same without a copy: the bytes belong to `owner`, which is let go with the last tensor that shares
  // them, or without one to the caller; either keeps them as they are while tensors share them. They are
  // never written to.
  static Result<Tensor> borrow(std::span<const std::byte> bytes, const Shape& shape, FormatChoice format,
                               MemoryResource& resource, std::shared_ptr<const void> owner = nullptr);

  // What it is.
  const Shape& shape() const { return shape_; }
  std::span<const int64_t> strides() const { return {strides_.data(), shape_.rank()}; }  // in elements
  ValueFormat format() const { return format_; }
  std::optional<DType> dtype() const { return dtype_of(format_.encoding); }
  Device device() const;
  MemoryResource* resource() const { return storage_.resource(); }  // nullptr for Tensor()
  uint64_t elements() const { return shape_.elements(); }
  // Bytes of the values when they lie in one piece, scales included; scale_bytes() of them are scales.
  uint64_t size_bytes() const { return layout_.bytes; }
  uint64_t scale_bytes() const { return layout_.scale_bytes; }
  // Bytes of the block, 0 or a multiple of 64 unless borrowed.
  size_t capacity() const { return storage_.capacity(); }
  // Whether the bytes are those that a tensor made by empty() would have: in one piece, in order.
  bool is_contiguous() const;
  bool shares_storage_with(const Tensor& other) const;
  // Whether it alone has a share in its block, and the block is not borrowed: writing then copies nothing.
  bool is_exclusive() const { return storage_.is_exclusive(); }

  // Who it is. Copies and in-place operations keep the id; views, conversions and clones have their own.
  uint64_t id() const { return id_; }
  const std::string& name() const;
  std::span<const std::string> tags() const;
  void set_name(std::string name);
  void set_tags(std::vector<std::string> tags);
  TensorMetadata metadata() const;
  ContentKey content_key() const;

  // "Tensor 'blk.0.w' [4096, 4096] i8 (q8_0, 8.5 bits) cpu 17.0 MiB", with the first and last `edge` values
  // behind it when there are any and lobit can decode them.
  std::string to_string(size_t edge = 0) const;

  // Plain numbers: T is float (F32), uint16_t (bits of F16, BF16, raw_u16), double, or the integer of a raw
  // encoding. kInvalidArgument when the tensor holds something else, lies elsewhere than on the CPU, is not
  // contiguous, or is borrowed at an address that T may not have.
  template <typename T>
  Result<std::span<const T>> values() const;
  // The tensor's own, after a copy when the block is shared or borrowed.
  template <typename T>
  Result<std::span<T>> mutable_values();

  // All bytes: codes (or blocks, or numbers), then scales. kInvalidArgument as above.
  Result<std::span<const std::byte>> bytes() const;
  Result<std::span<std::byte>> mutable_bytes();
  // Where the first value of plain numbers lies, whatever the strides; nullptr for no values.
  // kInvalidArgument when values share bytes or scales, or lie elsewhere than on the CPU.
  Result<const std::byte*> first_number() const;
  // The planes of a planar tensor whose rows lie one after the other: a contiguous one, or a slice of its
  // rows. kInvalidArgument for other tensors.
  Result<std::span<const std::byte>> codes() const;
  Result<std::span<const float>> scales() const;

  // Views. kInvalidArgument for what is not a view of this tensor.
  // As many elements in another shape; only of tensors whose elements lie in order.
  Result<Tensor> reshape(const Shape& shape) const;
  // Axis i of the view is axis axes[i]; the last stays the last in formats whose values share bytes or
  // scales.
  Result<Tensor> transpose(std::span<const size_t> axes) const;
  // The axes in reverse.
  Result<Tensor> transpose() const;
  // first <= index < last of an axis.
  Result<Tensor> slice(size_t axis, int64_t first, int64_t last) const;
  // Axes of extent 1, and axes that are missing in front, repeat their values.
  Result<Tensor> broadcast_to(const Shape& shape) const;
  // The same bits as another format with as many bits for each value (F16 as BF16): values change, bytes do
  // not. The view's name says so.
  Result<Tensor> bit_view(ValueFormat format) const;

  // This tensor when it is contiguous, else a copy in one piece.
  Result<Tensor> contiguous(MemoryResource& resource) const;
  // A copy in one piece, always. Keeps name and tags.
  Result<Tensor> clone(MemoryResource& resource) const;
  // This tensor when the resource's device is its own, else a copy there. kUnsupported, naming the build
  // option, for a device that this build lacks.
  Result<Tensor> to_device(MemoryResource& resource) const;

  // For conversions; the tensor lies on the CPU, and the run within it.
  // Copies `count` elements from element `first` on, in the tensor's own format, which is not planar. Both
  // numbers are multiples of border_elements().
  void read_run(uint64_t first, uint64_t count, std::byte* out) const;
  // The same for a planar tensor: `rows` rows of codes from row `first` on, each from a byte border on, and
  // their F32 scales. The one scale of a whole tensor comes with row 0.
  void read_rows(uint64_t first, uint64_t rows, std::byte* codes, std::byte* scales) const;
  // Decodes `count` elements from element `first` on. The encoding can_decode. A run begins and ends at a
  // border of its row or at the row's end.
  void decode_run(uint64_t first, uint64_t count, float* out) const;
  // Makes a tensor that alone owns its block, all of it, one of another format; the bytes stay as they are
  // and now mean something else. Keeps id and name. kInvalidArgument when the block is shared or borrowed or
  // this is a part of it; kLimit when the new format needs more than capacity().
  Status reformat(ValueFormat format);

  // Gives up the block before the tensor's end, which leaves Tensor(). The resource's error, if this was the
  // last tensor to hold it and the resource refused it.
  Status release();

 private:
  friend class IdleTensors;
  friend class WeakTensor;
  struct Label {
    std::string name;
    std::vector<std::string> tags;
  };

  using Strides = std::array<int64_t, Shape::kMaxRank>;

  static Tensor create(const Shape& shape, ValueFormat format, const FormatLayout& layout,
                       detail::StorageRef storage);
  // Fills a fresh tensor: fill(first, n, out) gives values first, ..., first + n - 1.
  template <typename Fill>
  static Result<Tensor> generate(const Shape& shape, FormatChoice format, MemoryResource& resource,
                                 Fill fill);
  FormatLayout base_layout() const;  // of the block
  bool is_plain() const { return !format_.is_planar() && border_elements(format_) == 1; }
  bool is_dense() const;         // elements follow each other in the order of the block
  bool rows_are_linear() const;  // codes and scales of the block's rows follow each other without a gap
  Status check_host(const char* what) const;
  Status check_in_one_piece(const char* what) const;
  Status check_row_planes(const char* what) const;
  const std::byte* first_byte() const;  // of a contiguous tensor
  Tensor view(const Shape& shape, const Strides& strides, uint64_t offset) const;
  // This tensor, id and name and all, over a block that holds its values in one piece, or over none.
  Tensor over(detail::StorageRef storage) const;
  // The bytes, after making them this tensor's own; of a contiguous tensor of the CPU.
  Result<std::span<std::byte>> own_bytes();
  void copy_values(std::byte* out) const;
  void copy_planar(std::byte* out) const;
  void decode_span(uint64_t element, uint64_t count, float* out) const;
  void decode_planar_span(uint64_t element, uint64_t count, float* out) const;
  void decode_strided(uint64_t element, uint64_t count, int64_t stride, float* out) const;
  void gather(uint64_t element, uint64_t count, int64_t stride, std::byte* out) const;
  // Calls use(element, n, stride) for pieces of logical elements whose places in the block are `element`,
  // `element` + stride, ...
  template <typename Use>
  void for_each_piece(uint64_t first, uint64_t count, Use use) const;
  Status check_reshape(const Shape& shape) const;
  Result<std::span<const std::byte>> numbers(detail::NumberKind kind) const;
  Result<std::span<std::byte>> mutable_numbers(detail::NumberKind kind);

  detail::StorageRef storage_;
  std::shared_ptr<const Label> label_;  // shared by copies; nullptr for no name and no tags
  Shape shape_ = Shape::of_nothing();
  Strides strides_{1};
  // Elements are counted in the order in which they lie in the block, which was made for base_rows_ rows of
  // base_columns_. This one is the view's first.
  uint64_t offset_ = 0;
  uint64_t base_rows_ = 1;
  uint64_t base_columns_ = 0;
  ValueFormat format_;
  FormatLayout layout_;  // of the shape in one piece
  uint64_t id_ = 0;
  int64_t created_ = 0;
};

// to_string().
LOBIT_API std::ostream& operator<<(std::ostream& out, const Tensor& tensor);

inline Tensor::Tensor(Tensor&& other) noexcept
    : storage_(std::move(other.storage_)),
      label_(std::move(other.label_)),
      shape_(std::exchange(other.shape_, Shape::of_nothing())),
      strides_(other.strides_),
      offset_(std::exchange(other.offset_, 0)),
      base_rows_(std::exchange(other.base_rows_, 1)),
      base_columns_(std::exchange(other.base_columns_, 0)),
      format_(std::exchange(other.format_, ValueFormat())),
      layout_(std::exchange(other.layout_, FormatLayout())),
      id_(std::exchange(other.id_, 0)),
      created_(std::exchange(other.created_, 0)) {
  other.strides_[0] = 1;
}

template <typename T>
Result<std::span<const T>> Tensor::values() const {
  LOBIT_TRY(const std::span<const std::byte> found, numbers(detail::kNumberKind<T>));
  return std::span<const T>(reinterpret_cast<const T*>(found.data()), found.size() / sizeof(T));
}

template <typename T>
Result<std::span<T>> Tensor::mutable_values() {
  LOBIT_TRY(const std::span<std::byte> found, mutable_numbers(detail::kNumberKind<T>));
  return std::span<T>(reinterpret_cast<T*>(found.data()), found.size() / sizeof(T));
}

}  // namespace lobit

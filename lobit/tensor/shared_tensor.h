// SharedTensor: a tensor whose values lie in a segment of memory that several processes have mapped
// (io/shared_memory.h). One process creates it and tells others its name; they open it and see the same bytes
// without a copy. The memory is freed when the last process that has it closes it or ends, however it ends:
// a killed one leaves nothing behind.
//
// tensor() gives an ordinary Tensor over the shared bytes, which keeps the segment; writing to that tensor
// makes a copy, as with all that is shared. writable_bytes() writes for everybody. Processes keep order among
// themselves: who reads while another writes may see half of it, content keys do not notice writes of others,
// and everybody who may write must be trusted with the values, though never with more. What the opener needs
// to know lies in the segment's first bytes. It is copied out, and checked against the segment's size, before
// it is used.
//
// Owns its share in the segment. Movable; copies would be second names of the same. One that was moved from
// has no segment any more: an empty name, the descriptor -1, the shape [0] and no bytes. One thread at a time
// may change the object, any number may use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/io/shared_memory.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/tensor/format_choice.h"
#include "lobit/tensor/shape.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

class LOBIT_API SharedTensor {
 public:
  // A new one of zero bytes that this process reads and writes; `others` is what the processes that open it
  // may do. kInvalidArgument for a shape that the format cannot have; kOutOfMemory for more than the machine
  // and the container of this process have left, and the other errors of SharedMemory::create.
  static Result<SharedTensor> create(const Shape& shape, FormatChoice format,
                                     SharedAccess others = SharedAccess::kReadWrite);
  // A new one with the values of a tensor of the CPU, of any view; not its name and tags.
  static Result<SharedTensor> copy_of(const Tensor& tensor, SharedAccess others = SharedAccess::kReadWrite);

  // The one that a living process, this one too, holds under `name`, or whose descriptor came another way.
  // The errors of SharedMemory::open and adopt; kCorrupt for a segment that is no tensor, kUnsupported for
  // one of another version of lobit.
  static Result<SharedTensor> open(std::string_view name, SharedAccess access);
  static Result<SharedTensor> adopt(int descriptor, SharedAccess access);

  SharedTensor(SharedTensor&& other) noexcept { swap(other); }
  SharedTensor& operator=(SharedTensor&& other) noexcept {
    SharedTensor(std::move(other)).swap(*this);
    return *this;
  }
  SharedTensor(const SharedTensor&) = delete;
  SharedTensor& operator=(const SharedTensor&) = delete;
  ~SharedTensor() = default;
  void swap(SharedTensor& other) noexcept;

  // As SharedMemory's; good until this object and the last of its tensors have gone.
  std::string name() const { return segment_ == nullptr ? std::string() : segment_->name(); }
  int descriptor() const { return segment_ == nullptr ? -1 : segment_->descriptor(); }
  SharedAccess access() const { return segment_ == nullptr ? SharedAccess::kRead : segment_->access(); }

  const Shape& shape() const { return shape_; }
  ValueFormat format() const { return format_; }
  // Codes (or blocks, or numbers), then scales, from a multiple of 64 on.
  std::span<const std::byte> bytes() const {
    return segment_ == nullptr ? std::span<const std::byte>() : segment_->bytes().subspan(offset_, bytes_);
  }
  // kInvalidArgument when it was opened to be read, or moved from.
  Result<std::span<std::byte>> writable_bytes() const;
  // A tensor over these bytes, whose copies come from `resource`, one of the CPU. kInvalidArgument when it
  // was moved from.
  Result<Tensor> tensor(MemoryResource& resource) const;

 private:
  SharedTensor() = default;
  static Result<SharedTensor> over(SharedMemory segment);
  Status check_segment() const;

  std::shared_ptr<const SharedMemory> segment_;
  Shape shape_ = Shape::of_nothing();
  ValueFormat format_;
  uint64_t offset_ = 0;  // of the values in the segment
  uint64_t bytes_ = 0;
};

}  // namespace lobit

// Buffer: a block of a MemoryResource that is freed when its owner goes. Movable, not copyable; one thread at
// a time. The resource must outlive it.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "lobit/base/export.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

class LOBIT_API Buffer {
 public:
  // The errors of MemoryResource::allocate.
  static Result<Buffer> allocate(MemoryResource& resource, size_t bytes, size_t alignment = kDefaultAlignment,
                                 Stream stream = {});

  Buffer() = default;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer(std::move(other)).swap(*this);
    return *this;
  }
  ~Buffer() { static_cast<void>(free()); }

  // Frees the block before its time. kInvalidArgument when it holds none, or when somebody freed it behind
  // its back; it is empty afterwards in either case.
  Status free();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return data_ == nullptr; }
  std::span<std::byte> bytes() const { return {data_, size_}; }
  MemoryResource* resource() const { return resource_; }

  void swap(Buffer& other) noexcept {
    std::swap(resource_, other.resource_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(alignment_, other.alignment_);
    std::swap(stream_, other.stream_);
  }

 private:
  MemoryResource* resource_ = nullptr;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t alignment_ = kDefaultAlignment;
  Stream stream_;
};

}  // namespace lobit

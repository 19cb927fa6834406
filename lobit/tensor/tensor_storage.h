// StorageRef: a share in the block of memory that tensors stand on. The last share to go gives the block back
// to its MemoryResource; WeakStorageRef knows a block without keeping it. For Tensor and WeakTensor, which
// are what programs use.
//
// Copying a share is one atomic addition. Different objects may be used from different threads at once, also
// when they share a block; one object by one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/memory/memory_resource.h"

namespace lobit::detail {

struct TensorBlock;  // the block and its counts

class WeakStorageRef;

class LOBIT_API StorageRef {
 public:
  // A block of its own of `bytes`, rounded up to a multiple of 64, undefined; no memory at all for 0 bytes.
  // The errors of MemoryResource::allocate.
  static Result<StorageRef> allocate(MemoryResource& resource, uint64_t bytes);
  // Bytes that are never written to. They live as long as `owner`, which goes with the last share; without
  // one, somebody else keeps them while shares last. `resource` is where copies of them come from.
  static StorageRef borrow(MemoryResource& resource, std::span<const std::byte> bytes,
                           std::shared_ptr<const void> owner = nullptr);

  StorageRef() = default;
  StorageRef(const StorageRef& other) noexcept : block_(other.block_) {
    if (block_ != nullptr) retain();
  }
  StorageRef(StorageRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  StorageRef& operator=(StorageRef other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~StorageRef() {
    if (block_ != nullptr) static_cast<void>(release());
  }

  // Gives up the share. The error of the resource when this was the last one and the block was refused.
  Status release();

  bool empty() const { return block_ == nullptr; }
  const std::byte* data() const;
  size_t capacity() const;
  MemoryResource* resource() const;
  uint64_t serial() const;   // no other block of this process has it
  uint64_t version() const;  // rises with every acquire_mutable()
  size_t owners() const;     // shares at this moment
  int64_t last_access() const;
  void touch() const;  // notes an access

  // Whether this is the only share of a block that is not borrowed.
  bool is_exclusive() const;
  // For a share that is the only one of a block that is not borrowed: ends all weak references to the block
  // and raises the version; mutable_data() may then be written to. false, without effect, for any other.
  bool acquire_mutable();
  std::byte* mutable_data() const;

 private:
  friend class WeakStorageRef;
  explicit StorageRef(TensorBlock* block) : block_(block) {}
  void retain() const noexcept;

  TensorBlock* block_ = nullptr;
};

class LOBIT_API WeakStorageRef {
 public:
  WeakStorageRef() = default;
  explicit WeakStorageRef(const StorageRef& strong) noexcept : block_(strong.block_) { retain(); }
  WeakStorageRef(const WeakStorageRef& other) noexcept : block_(other.block_) { retain(); }
  WeakStorageRef(WeakStorageRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  WeakStorageRef& operator=(WeakStorageRef other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~WeakStorageRef();

  // A share, or an empty one when the last has gone.
  StorageRef lock() const;
  bool expired() const;

 private:
  void retain() const noexcept;

  TensorBlock* block_ = nullptr;
};

// Nanoseconds since 1970, a few milliseconds behind; costs a few nanoseconds.
int64_t coarse_time();

}  // namespace lobit::detail

#include "lobit/tensor/tensor_storage.h"

#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <optional>
#include <string>

#include "lobit/base/check.h"
#include "lobit/base/checked.h"

namespace lobit::detail {
namespace {

// Two counts in one word, so that one load or exchange sees both: shares in the low half, weak references in
// the high half. All shares together are one weak reference; the object goes with the last.
constexpr uint64_t kShare = 1;
constexpr uint64_t kWeak = uint64_t{1} << 32;

constexpr uint64_t shares(uint64_t counts) {
  return counts & 0xFFFFFFFF;
}

uint64_t next_serial() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

struct TensorBlock {
  explicit TensorBlock(MemoryResource* from) : resource(from) {}

  MemoryResource* resource;
  std::byte* data = nullptr;  // never written to when borrowed
  size_t capacity = 0;
  bool borrowed = false;
  std::shared_ptr<const void> owner;  // of borrowed memory, where it has one
  uint64_t serial = next_serial();
  uint64_t version = 0;  // written by the only share, read by all
  std::atomic<uint64_t> counts{kShare + kWeak};
  std::atomic<int64_t> last_access{coarse_time()};

  // Gives the memory back and leaves none behind.
  Status free_memory() {
    std::byte* const memory = std::exchange(data, nullptr);
    owner.reset();
    if (memory == nullptr || borrowed) return {};
    return resource->deallocate(memory, capacity);
  }

  void release_weak() {
    // Other threads' last looks come before the end.
    if (counts.fetch_sub(kWeak, std::memory_order_acq_rel) == kWeak) delete this;
  }
};

Result<StorageRef> StorageRef::allocate(MemoryResource& resource, uint64_t bytes) {
  const std::optional<uint64_t> capacity = checked_round_up<uint64_t>(bytes, kDefaultAlignment);
  if (!capacity) {
    return fail(ErrorCode::kOutOfMemory,
                "tensor: expected bytes below 2^64, found " + std::to_string(bytes) + " before rounding",
                {.required = bytes});
  }
  // The object first: when the heap is exhausted nothing is left behind.
  auto block = std::make_unique<TensorBlock>(&resource);
  if (*capacity > 0) {
    LOBIT_TRY(void* data, resource.allocate(*capacity));
    block->data = static_cast<std::byte*>(data);
    block->capacity = *capacity;
  }
  return StorageRef(block.release());
}

StorageRef StorageRef::borrow(MemoryResource& resource, std::span<const std::byte> bytes,
                              std::shared_ptr<const void> owner) {
  // The bytes are handed out as const alone while `borrowed` is set.
  auto block = std::make_unique<TensorBlock>(&resource);
  block->data = const_cast<std::byte*>(bytes.data());
  block->capacity = bytes.size();
  block->borrowed = true;
  block->owner = std::move(owner);
  return StorageRef(block.release());
}

void StorageRef::retain() const noexcept {
  block_->counts.fetch_add(kShare, std::memory_order_relaxed);
}

Status StorageRef::release() {
  TensorBlock* const block = std::exchange(block_, nullptr);
  if (block == nullptr) return {};
  const uint64_t before = block->counts.fetch_sub(kShare, std::memory_order_acq_rel);
  if (shares(before) != 1) return {};
  Status freed = block->free_memory();
  block->release_weak();
  return freed;
}

const std::byte* StorageRef::data() const {
  return block_ == nullptr ? nullptr : block_->data;
}

size_t StorageRef::capacity() const {
  return block_ == nullptr ? 0 : block_->capacity;
}

MemoryResource* StorageRef::resource() const {
  return block_ == nullptr ? nullptr : block_->resource;
}

uint64_t StorageRef::serial() const {
  return block_ == nullptr ? 0 : block_->serial;
}

uint64_t StorageRef::version() const {
  return block_ == nullptr ? 0 : block_->version;
}

size_t StorageRef::owners() const {
  return block_ == nullptr ? 0 : shares(block_->counts.load(std::memory_order_relaxed));
}

int64_t StorageRef::last_access() const {
  return block_ == nullptr ? 0 : block_->last_access.load(std::memory_order_relaxed);
}

void StorageRef::touch() const {
  if (block_ != nullptr) block_->last_access.store(coarse_time(), std::memory_order_relaxed);
}

bool StorageRef::is_exclusive() const {
  if (block_ == nullptr || block_->borrowed) return false;
  return shares(block_->counts.load(std::memory_order_acquire)) == 1;
}

bool StorageRef::acquire_mutable() {
  if (block_ == nullptr || block_->borrowed) return false;
  uint64_t counts = block_->counts.load(std::memory_order_acquire);
  if (counts != kShare + kWeak) {
    // A weak reference could become a share of another thread while bytes change. The memory moves to a new
    // object, and the old one ends here: nobody can share it any more.
    if (shares(counts) != 1) return false;
    auto moved = std::make_unique<TensorBlock>(block_->resource);
    while (!block_->counts.compare_exchange_weak(counts, counts - kShare, std::memory_order_acq_rel,
                                                 std::memory_order_acquire)) {
      if (shares(counts) == 1) continue;
      return false;
    }
    moved->data = std::exchange(block_->data, nullptr);
    moved->capacity = block_->capacity;
    moved->serial = block_->serial;
    moved->version = block_->version;
    std::exchange(block_, moved.release())->release_weak();
  }
  ++block_->version;
  return true;
}

std::byte* StorageRef::mutable_data() const {
  LOBIT_DCHECK(block_ == nullptr || !block_->borrowed);
  return block_ == nullptr ? nullptr : block_->data;
}

WeakStorageRef::~WeakStorageRef() {
  if (block_ != nullptr) block_->release_weak();
}

void WeakStorageRef::retain() const noexcept {
  if (block_ != nullptr) block_->counts.fetch_add(kWeak, std::memory_order_relaxed);
}

StorageRef WeakStorageRef::lock() const {
  if (block_ == nullptr) return {};
  uint64_t counts = block_->counts.load(std::memory_order_relaxed);
  while (shares(counts) != 0) {
    if (block_->counts.compare_exchange_weak(counts, counts + kShare, std::memory_order_acq_rel,
                                             std::memory_order_relaxed)) {
      return StorageRef(block_);
    }
  }
  return {};
}

bool WeakStorageRef::expired() const {
  return block_ == nullptr || shares(block_->counts.load(std::memory_order_acquire)) == 0;
}

int64_t coarse_time() {
#ifdef CLOCK_REALTIME_COARSE
  timespec now{};
  if (clock_gettime(CLOCK_REALTIME_COARSE, &now) == 0)
    return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
#endif
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

}  // namespace lobit::detail

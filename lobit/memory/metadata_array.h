// MetadataArray<T>: an array of zeroed T in address space of its own that grows in place, so that references
// stay valid and threads read it while it grows. Out of band: damage to user blocks cannot reach it. Grown
// under its owner's lock.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "lobit/base/checked.h"
#include "lobit/device/cpu/virtual_memory.h"

namespace lobit::detail {

template <typename T>
class MetadataArray {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  MetadataArray() = default;
  MetadataArray(const MetadataArray&) = delete;
  MetadataArray& operator=(const MetadataArray&) = delete;
  ~MetadataArray() {
    if (data_ != nullptr) memory_->release(reinterpret_cast<std::byte*>(data_), reserved_);
  }

  // Room for `most` elements; none can be used yet.
  Status reserve(VirtualMemory& memory, size_t most) {
    reserved_ = checked_round_up(most * sizeof(T), kStepBytes).value();
    LOBIT_TRY(std::byte * data, memory.reserve(reserved_));
    memory_ = &memory;
    data_ = reinterpret_cast<T*>(data);
    return {};
  }

  // Makes elements [0, count) usable. False when the system refuses.
  bool ensure(size_t count) {
    if (count <= size_.load(std::memory_order_relaxed)) return true;
    const size_t wanted = std::min(checked_round_up(count * sizeof(T), kStepBytes).value(), reserved_);
    if (count * sizeof(T) > wanted) return false;
    auto* base = reinterpret_cast<std::byte*>(data_);
    if (!memory_->make_accessible(base + accessible_, wanted - accessible_)) return false;
    accessible_ = wanted;
    size_.store(wanted / sizeof(T), std::memory_order_release);
    return true;
  }

  T& operator[](size_t index) { return data_[index]; }
  const T& operator[](size_t index) const { return data_[index]; }
  // Elements that may be used; any thread.
  size_t size() const { return size_.load(std::memory_order_acquire); }
  // Bytes that may have been touched.
  size_t bytes() const { return accessible_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kStepBytes = size_t{64} << 10;

  VirtualMemory* memory_ = nullptr;
  T* data_ = nullptr;
  size_t reserved_ = 0;
  std::atomic<size_t> accessible_{0};  // written under the owner's lock
  std::atomic<size_t> size_{0};
};

}  // namespace lobit::detail

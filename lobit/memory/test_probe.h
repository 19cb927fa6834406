// For tests alone (not installed): a resource that shows what is asked of it and refuses when told to.
#pragma once

#include <functional>
#include <limits>
#include <mutex>
#include <vector>

#include "lobit/memory/memory_resource.h"
#include "lobit/memory/system_resource.h"

namespace lobit {

class ProbeResource final : public MemoryResource {
 public:
  explicit ProbeResource(Device device = {}) : device_(device) {}

  // Requests that would bring its live bytes above this are kOutOfMemory.
  void set_capacity(uint64_t bytes) { capacity_ = bytes; }
  // Called at the start of each allocation.
  void on_allocate(std::function<void()> call) { on_allocate_ = std::move(call); }

  // Calls of either kind, also those that failed.
  uint64_t calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  // The sizes asked for, in order.
  std::vector<size_t> sizes() const {
    const std::lock_guard lock(mutex_);
    return sizes_;
  }
  uint64_t live_bytes() const { return system_.usage().allocated; }

 private:
  // Streams stay here: those of another device are none of the CPU's.
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream /*stream*/) override {
    if (on_allocate_) on_allocate_();
    const std::lock_guard lock(mutex_);
    ++calls_;
    sizes_.push_back(bytes);
    if (live_bytes() + bytes > capacity_) {
      return fail(ErrorCode::kOutOfMemory, "probe: full",
                  {.required = bytes, .available = capacity_ - live_bytes()});
    }
    return system_.allocate(bytes, alignment);
  }
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream /*stream*/) override {
    const std::lock_guard lock(mutex_);
    ++calls_;
    return system_.deallocate(pointer, bytes, alignment);
  }
  MemoryUsage do_usage() const override { return system_.usage(); }
  Device do_device() const override { return device_; }

  const Device device_;
  mutable std::mutex mutex_;
  SystemResource system_;
  std::function<void()> on_allocate_;
  uint64_t capacity_ = std::numeric_limits<uint64_t>::max();
  uint64_t calls_ = 0;
  std::vector<size_t> sizes_;
};

}  // namespace lobit

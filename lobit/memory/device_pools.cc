#include "lobit/memory/device_pools.h"

#include <algorithm>

#include <fmt/format.h>

#include "lobit/base/check.h"

namespace lobit {

// Nothing of it changes once it is in the list.
struct DevicePools::DevicePool {
  Device device;
  std::unique_ptr<MemoryResource> pool;
  std::unique_ptr<const DevicePool> older;
};

Result<std::unique_ptr<MemoryResource>> make_device_pool(Device device, const MemoryPoolOptions& options) {
  LOBIT_TRY(const Backend* there, backend(device));
  if (there->device().kind != DeviceKind::kCpu) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: no pool of pages stands on its memory", device_name(device)));
  }
  return HybridMemoryPool::create(options);
}

DevicePools::DevicePools(const MemoryPoolOptions& options, MakePool make_pool)
    : make_pool_(std::move(make_pool)), options_(options) {}
DevicePools::~DevicePools() = default;

template <typename Visit>
void DevicePools::for_each(Visit visit) const {
  const DevicePool* const newest = newest_.load(std::memory_order_acquire);
  for (const DevicePool* entry = newest; entry != nullptr; entry = entry->older.get()) visit(*entry);
}

MemoryResource* DevicePools::find(Device device) const {
  MemoryResource* found = nullptr;
  for_each([&](const DevicePool& entry) {
    if (entry.device == device) found = entry.pool.get();
  });
  return found;
}

Status DevicePools::configure(Device device, const MemoryPoolOptions& options) {
  const std::lock_guard lock(mutex_);
  if (find(device) != nullptr) {
    const std::string name = device_name(device);
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("device pools: {}: expected a device whose pool is not made yet", name),
                {.to = name});
  }
  std::erase_if(configured_, [&](const auto& own) { return own.first == device; });
  configured_.emplace_back(device, options);
  return {};
}

Result<MemoryResource*> DevicePools::pool(Device device) {
  if (MemoryResource* const found = find(device); found != nullptr) return found;
  const std::lock_guard lock(mutex_);
  // Another thread may have been first.
  if (MemoryResource* const found = find(device); found != nullptr) return found;
  const auto own = std::ranges::find(configured_, device, &std::pair<Device, MemoryPoolOptions>::first);
  auto entry = std::make_unique<DevicePool>();
  entry->device = device;
  LOBIT_TRY(entry->pool, make_pool_(device, own == configured_.end() ? options_ : own->second));
  MemoryResource* const made = entry->pool.get();
  entry->older = std::move(owned_);
  owned_ = std::move(entry);
  newest_.store(owned_.get(), std::memory_order_release);
  return made;
}

Result<Buffer> DevicePools::allocate(size_t bytes, size_t alignment, Device device, Stream stream) {
  LOBIT_TRY(MemoryResource * from, pool(device));
  return Buffer::allocate(*from, bytes, alignment, stream);
}

Result<void*> DevicePools::allocate_raw(size_t bytes, size_t alignment, Device device, Stream stream) {
  LOBIT_TRY(MemoryResource * from, pool(device));
  return from->allocate(bytes, alignment, stream);
}

Status DevicePools::deallocate_raw(void* pointer, size_t bytes, size_t alignment, Device device,
                                   Stream stream) {
  if (MemoryResource* const to = find(device); to != nullptr) {
    return to->deallocate(pointer, bytes, alignment, stream);
  }
  const std::string name = device_name(device);
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("deallocate: {}: expected the device of the block, found one that gave none", name),
              {.to = name});
}

size_t DevicePools::trim(Device device) {
  MemoryResource* const found = find(device);
  return found == nullptr ? 0 : found->trim();
}

size_t DevicePools::trim() {
  size_t given_back = 0;
  for_each([&](const DevicePool& entry) { given_back += entry.pool->trim(); });
  return given_back;
}

MemoryUsage DevicePools::usage(Device device) const {
  const MemoryResource* const found = find(device);
  return found == nullptr ? MemoryUsage() : found->usage();
}

MemoryUsage DevicePools::usage() const {
  MemoryUsage sum;
  for_each([&](const DevicePool& entry) {
    const MemoryUsage one = entry.pool->usage();
    sum.allocated += one.allocated;
    sum.used += one.used;
    sum.committed += one.committed;
    sum.peak_allocated += one.peak_allocated;
    sum.peak_committed += one.peak_committed;
    sum.allocations += one.allocations;
    sum.deallocations += one.deallocations;
  });
  return sum;
}

std::vector<Device> DevicePools::devices() const {
  std::vector<Device> all;
  for_each([&](const DevicePool& entry) { all.push_back(entry.device); });
  std::ranges::reverse(all);
  return all;
}

std::optional<Device> DevicePools::largest() const {
  std::optional<Device> largest;
  uint64_t most = 0;
  for_each([&](const DevicePool& entry) {
    const uint64_t committed = entry.pool->usage().committed;
    if (largest.has_value() && committed < most) return;
    most = committed;
    largest = entry.device;
  });
  return largest;
}

}  // namespace lobit

// DevicePools: a pool for each device, with limits of its own, behind one call. A device's pool is made when
// memory of it is first asked for. Nothing falls back to another device: one that this build lacks is
// kUnsupported and names the build option.
//
// Any thread may call anything. The pools live as long as this object, which must outlive the Buffers of its
// pools; blocks must be freed, or never touched again, before it goes. Finding a pool that is there takes no
// lock; who allocates often keeps the pool() and need not find it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/device/backend.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/hybrid_memory_pool.h"

namespace lobit {

// A HybridMemoryPool of the device's memory. The errors of backend() and of HybridMemoryPool::create().
LOBIT_API Result<std::unique_ptr<MemoryResource>> make_device_pool(Device device,
                                                                   const MemoryPoolOptions& options);

class LOBIT_API DevicePools {
 public:
  using MakePool =
      std::function<Result<std::unique_ptr<MemoryResource>>(Device device, const MemoryPoolOptions& options)>;

  // `options` are those of every device that has none of its own. `make_pool` makes another kind of pool, or
  // puts wrappers around it; it is called under a lock, once at a time, and may not call these pools.
  explicit DevicePools(const MemoryPoolOptions& options = {}, MakePool make_pool = make_device_pool);
  ~DevicePools();
  DevicePools(const DevicePools&) = delete;
  DevicePools& operator=(const DevicePools&) = delete;

  // The options of one device's pool. Whether they make sense is seen when it is made. kInvalidArgument once
  // it is there.
  Status configure(Device device, const MemoryPoolOptions& options);

  // The errors of make_device_pool(); the next call tries again.
  Result<MemoryResource*> pool(Device device = auto_select_device());

  // The errors of pool() and of its allocate(). The Buffer goes back to the pool that it came from.
  Result<Buffer> allocate(size_t bytes, size_t alignment = kDefaultAlignment,
                          Device device = auto_select_device(), Stream stream = {});

  // The same with bare pointers. A block that is no live one of that device's pool is kInvalidArgument and
  // stays as it is.
  Result<void*> allocate_raw(size_t bytes, size_t alignment = kDefaultAlignment,
                             Device device = auto_select_device(), Stream stream = {});
  Status deallocate_raw(void* pointer, size_t bytes, size_t alignment, Device device, Stream stream = {});

  // Gives memory that nobody uses back to the system; by how many bytes committed memory fell. 0 for a device
  // that has no pool yet.
  size_t trim(Device device);
  size_t trim();

  // Zeroes for a device that has no pool yet. The peaks of all devices together are the sums of their peaks:
  // what they held at most, had they all held it at one time.
  MemoryUsage usage(Device device) const;
  MemoryUsage usage() const;

  // Those that have a pool, in the order in which the pools were made.
  std::vector<Device> devices() const;
  // The one of them with the most committed bytes.
  std::optional<Device> largest() const;

 private:
  struct DevicePool;
  // nullptr: none so far.
  MemoryResource* find(Device device) const;
  template <typename Visit>
  void for_each(Visit visit) const;

  const MakePool make_pool_;
  const MemoryPoolOptions options_;
  std::mutex mutex_;  // of what changes: the options, and who owns the pools
  std::vector<std::pair<Device, MemoryPoolOptions>> configured_;
  std::unique_ptr<const DevicePool> owned_;
  std::atomic<const DevicePool*> newest_ = nullptr;  // the same list, for those who look only
};

}  // namespace lobit

// The CPU's backend: the C library's memory, and streams whose work is done when the call returns.
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>
#include <unordered_set>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/device/backend_internal.h"
#include "lobit/device/cpu/machine.h"
#include "lobit/device/cpu/virtual_memory.h"

namespace lobit {
namespace {

// The streams or the events that are alive. They have no state: all work before them is done. A handle is a
// number that is given once, so that one that was destroyed never means another that was created later.
class Handles {
 public:
  explicit Handles(std::string_view noun) : noun_(noun) {}

  void* create() {
    static std::atomic<uintptr_t> last = 0;  // of both kinds: an event is no stream either
    void* const handle = std::bit_cast<void*>(last.fetch_add(1, std::memory_order_relaxed) + 1);
    const std::lock_guard lock(mutex_);
    alive_.insert(handle);
    return handle;
  }

  Status check(const void* handle) const {
    const std::lock_guard lock(mutex_);
    return alive_.contains(handle) ? Status() : unknown();
  }

  Status destroy(const void* handle) {
    const std::lock_guard lock(mutex_);
    return alive_.erase(handle) > 0 ? Status() : unknown();
  }

 private:
  Status unknown() const {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{0}: cpu: expected a live {0}, found another handle", noun_));
  }

  std::string_view noun_;
  mutable std::mutex mutex_;
  std::unordered_set<const void*> alive_;
};

// Large blocks are read and filled faster from huge pages. The ends of a block keep what they have, so one
// that is filled takes no more memory.
void prefer_huge_pages(void* block, size_t bytes) {
  if (bytes < 2 * kHugePageBytes) return;
  auto* const data = static_cast<std::byte*>(block);
  const size_t before =
      (kHugePageBytes - reinterpret_cast<uintptr_t>(data) % kHugePageBytes) % kHugePageBytes;
  const size_t whole = (bytes - before) / kHugePageBytes * kHugePageBytes;
  system_virtual_memory().prefer_huge_pages(data + before, whole, true);
}

class CpuBackend final : public Backend {
 public:
  Device device() const override { return {}; }

  Result<void*> allocate(size_t bytes, size_t alignment, Stream stream) override {
    LOBIT_RETURN_IF_ERROR(check(stream));
    if (bytes == 0 || !std::has_single_bit(alignment)) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("allocate: cpu: expected at least 1 byte and a power of two as alignment, found "
                      "{} aligned to {}",
                      bytes, alignment));
    }
    const std::optional<size_t> rounded = checked_round_up(bytes, alignment);
    void* block = nullptr;
    if (rounded.has_value() && *rounded <= PTRDIFF_MAX) block = std::aligned_alloc(alignment, *rounded);
    if (block != nullptr) {
      prefer_huge_pages(block, *rounded);
      return block;
    }
    return fail(ErrorCode::kOutOfMemory, fmt::format("allocate: cpu: the system refused {} bytes", bytes),
                {.required = bytes});
  }

  Status deallocate(void* pointer, size_t /*bytes*/, size_t /*alignment*/, Stream stream) override {
    LOBIT_RETURN_IF_ERROR(check(stream));
    if (pointer == nullptr) {
      return fail(ErrorCode::kInvalidArgument, "deallocate: cpu: expected a block, found a null pointer");
    }
    std::free(pointer);
    return {};
  }

  Status copy(void* to, const void* from, size_t bytes, CopyKind /*kind*/, Stream stream) override {
    LOBIT_RETURN_IF_ERROR(check(stream));
    if (bytes == 0) return {};
    if (to == nullptr || from == nullptr) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("copy: cpu: expected two ranges of {} bytes, found a null pointer", bytes));
    }
    std::memmove(to, from, bytes);
    return {};
  }

  Result<Stream> create_stream() override { return Stream{streams_.create()}; }
  Status destroy_stream(Stream stream) override { return streams_.destroy(stream.handle); }
  Result<Event> create_event() override { return Event{events_.create()}; }
  Status destroy_event(Event event) override { return events_.destroy(event.handle); }

  Status record(Event event, Stream stream) override {
    LOBIT_RETURN_IF_ERROR(check(stream));
    return events_.check(event.handle);
  }
  Status wait(Stream stream, Event event) override { return record(event, stream); }
  Status synchronize(Event event) override { return events_.check(event.handle); }
  Status synchronize(Stream stream) override { return check(stream); }

  Result<DeviceMemory> memory() const override { return detail::process_memory("/"); }

 private:
  // The default stream is always there.
  Status check(Stream stream) const {
    return stream.handle == nullptr ? Status() : streams_.check(stream.handle);
  }

  Handles streams_{"stream"};
  Handles events_{"event"};
};

std::vector<Device> devices() {
  return {Device{}};
}

Status check_index(Device device) {
  if (device.index == 0) return {};
  return fail(ErrorCode::kNotFound, fmt::format("device cpu: expected index 0, found {}", device.index));
}

Result<Backend*> cpu_backend(Device device) {
  LOBIT_RETURN_IF_ERROR(check_index(device));
  // Never destroyed: memory may be given back while the program ends.
  static CpuBackend& the_backend = *new CpuBackend;
  return &the_backend;
}

Result<DeviceCapabilities> cpu_capabilities(Device device, Bandwidth bandwidth) {
  LOBIT_RETURN_IF_ERROR(check_index(device));
  return detail::machine_capabilities("/", bandwidth);
}

}  // namespace

namespace detail {
const BackendKind kCpuKind = {DeviceKind::kCpu, devices, cpu_backend, cpu_capabilities};
}  // namespace detail

}  // namespace lobit

// MemoryResource: where memory comes from. Pools, strategies and wrappers have this face, so that any of them
// can stand on any other; only the tensor pools, which hand out tensors, have one of their own on top. Memory
// is ordered by streams: what is freed on a stream may be handed out again to work that comes later on that
// stream; the CPU ignores streams.
//
// allocate() and deallocate() may be called from any thread, and a block may be freed by another thread than
// the one that allocated it, unless the class says otherwise. A resource outlives what it handed out: its
// destructor takes back everything that is still allocated. A ResourceWrapper leaves it to the resource
// below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/base/time_budget.h"
#include "lobit/device/device.h"
#include "lobit/device/stream.h"

namespace lobit {

struct MemoryFragmentation;  // memory_profile.h

// A cache line: what kernels like, and what a caller who names no alignment gets.
inline constexpr size_t kDefaultAlignment = 64;
// The largest alignment that every resource keeps.
inline constexpr size_t kMaxAlignment = size_t{1} << 20;

// What a resource holds, in bytes, and what was done with it. Exact when no other thread is inside the
// resource.
struct MemoryUsage {
  uint64_t allocated = 0;       // live blocks, as they were asked for
  uint64_t used = 0;            // live blocks, as they were rounded
  uint64_t committed = 0;       // taken from the system or the resource below, whether used or free
  uint64_t peak_allocated = 0;  // the most that `allocated` was
  uint64_t peak_committed = 0;  // the most that `committed` was
  uint64_t allocations = 0;     // calls that succeeded
  uint64_t deallocations = 0;
};

// What trim_within() did.
struct TrimResult {
  size_t bytes = 0;      // by which usage().committed fell
  bool finished = true;  // false: the time was up and there may be more to give back
};

class LOBIT_API MemoryResource {
 public:
  MemoryResource() = default;
  MemoryResource(const MemoryResource&) = delete;
  MemoryResource& operator=(const MemoryResource&) = delete;
  virtual ~MemoryResource() = default;

  // `bytes` >= 1 of memory whose address is a multiple of `alignment` (a power of two up to kMaxAlignment).
  // The content is undefined. kInvalidArgument for 0 bytes or another alignment; kLimit when it does not fit
  // a limit that the user named and kOutOfMemory when the system or an arena has no more: both name required
  // and available bytes, and leave the resource as it was.
  Result<void*> allocate(size_t bytes, size_t alignment = kDefaultAlignment, Stream stream = {}) {
    return do_allocate(bytes, alignment, stream);
  }

  // Takes back a block with the bytes and alignment it was asked for. kInvalidArgument, without effect, when
  // `pointer` is no live block of this resource (never was, or is free again) or the bytes are not its own. A
  // wrong alignment is noticed where the resource keeps it.
  Status deallocate(void* pointer, size_t bytes, size_t alignment = kDefaultAlignment, Stream stream = {}) {
    return do_deallocate(pointer, bytes, alignment, stream);
  }

  // Gives memory that nobody uses back to the system (or the resource below) and returns by how many bytes
  // usage().committed fell. Live blocks stay as they are.
  size_t trim() { return do_trim(); }
  // The same in steps, and no further step once the budget is spent: a step, at least one, is some
  // milliseconds of work. A resource that cannot trim in steps does it in one.
  TrimResult trim_within(const TimeBudget& budget) { return do_trim_within(budget); }

  // For who moves blocks together (MovableBlockPool): a block like allocate()'s that begins below `block`, or
  // nullptr when there is none to be had from memory that is committed already.
  void* allocate_below(const void* block, size_t bytes, size_t alignment = kDefaultAlignment,
                       Stream stream = {}) {
    return do_allocate_below(block, bytes, alignment, stream);
  }

  MemoryUsage usage() const { return do_usage(); }
  // How what is committed is made use of; empty when the resource does not know. Exact like usage().
  std::optional<MemoryFragmentation> fragmentation() const;
  Device device() const { return do_device(); }

 private:
  virtual Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) = 0;
  virtual Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) = 0;
  virtual size_t do_trim() { return 0; }
  virtual TrimResult do_trim_within(const TimeBudget& budget);
  virtual void* do_allocate_below(const void* block, size_t bytes, size_t alignment, Stream stream);
  virtual MemoryUsage do_usage() const = 0;
  virtual std::optional<MemoryFragmentation> do_fragmentation() const;
  virtual Device do_device() const { return {}; }
};

// The one check of arguments that every resource makes first.
constexpr bool is_valid_request(size_t bytes, size_t alignment) {
  return bytes != 0 && alignment != 0 && (alignment & (alignment - 1)) == 0 && alignment <= kMaxAlignment;
}
// The same with the error that says what is wrong.
LOBIT_API Status check_request(size_t bytes, size_t alignment);

}  // namespace lobit

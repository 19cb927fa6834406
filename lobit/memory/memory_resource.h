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

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/device/device.h"
#include "lobit/device/stream.h"

namespace lobit {

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

  MemoryUsage usage() const { return do_usage(); }
  Device device() const { return do_device(); }

 private:
  virtual Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) = 0;
  virtual Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) = 0;
  virtual size_t do_trim() { return 0; }
  virtual MemoryUsage do_usage() const = 0;
  virtual Device do_device() const { return {}; }
};

// The one check of arguments that every resource makes first.
constexpr bool is_valid_request(size_t bytes, size_t alignment) {
  return bytes != 0 && alignment != 0 && (alignment & (alignment - 1)) == 0 && alignment <= kMaxAlignment;
}
// The same with the error that says what is wrong.
LOBIT_API Status check_request(size_t bytes, size_t alignment);

}  // namespace lobit

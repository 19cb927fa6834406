// Backend: what a device must offer so that memory and kernels can be built on it, in the order of its
// streams. One object for each device; the library owns it and it lives as long as the program. All calls may
// come from any thread.
//
// A kind of device that this build lacks has no backend: every way to one is a kUnsupported that names the
// device and the build option. Nothing falls back to the CPU on its own; auto_select_device() is how a caller
// asks for the best that there is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/device/device.h"
#include "lobit/device/stream.h"

namespace lobit {

// Which memories a copy joins. "Device" includes other devices of the same kind.
enum class CopyKind : uint8_t { kHostToHost, kHostToDevice, kDeviceToHost, kDeviceToDevice };

// In bytes. The CPU's total is the machine's memory or the container's limit if that is less, and its free
// memory what the process could still take, file cache that the system would drop included.
struct DeviceMemory {
  uint64_t total = 0;
  uint64_t free = 0;
};

class LOBIT_API Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  virtual Device device() const = 0;

  // `bytes` >= 1 of the device's memory at a multiple of `alignment`, a power of two; the content is
  // undefined. kInvalidArgument; kOutOfMemory with the bytes that were required. Every call goes to the
  // system: pools are what makes allocation cheap.
  virtual Result<void*> allocate(size_t bytes, size_t alignment, Stream stream) = 0;

  // Takes back what allocate() gave, with the same bytes and alignment, once the work put on `stream` so far
  // is done. A pointer that allocate() did not give is the caller's bug; only a null pointer is refused.
  virtual Status deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) = 0;

  // Copies in the order of `stream`: it may return before the copy is done, and both ranges must stay until
  // then. On the CPU all four kinds are the same and the copy is done on return. Ranges may overlap when
  // both are the host's.
  virtual Status copy(void* to, const void* from, size_t bytes, CopyKind kind, Stream stream) = 0;

  virtual Result<Stream> create_stream() = 0;
  // Waits for the work on it. kInvalidArgument for the default stream and for one that is not alive; so do
  // all calls that take a stream or an event.
  virtual Status destroy_stream(Stream stream) = 0;
  virtual Result<Event> create_event() = 0;
  virtual Status destroy_event(Event event) = 0;

  // Marks the point that `stream` has reached; an event recorded again forgets its earlier point.
  virtual Status record(Event event, Stream stream) = 0;
  // Lets later work on `stream` wait for the event. One that was never recorded has passed.
  virtual Status wait(Stream stream, Event event) = 0;
  // Blocks the calling thread until the event, or all work on the stream, is done.
  virtual Status synchronize(Event event) = 0;
  virtual Status synchronize(Stream stream) = 0;

  // As it is now. kCorrupt when the system's figures cannot be read.
  virtual Result<DeviceMemory> memory() const = 0;
};

// Every device that this build can use on this machine, the best first; the CPU is always there, and last.
LOBIT_API std::vector<Device> available_devices();

// The first of available_devices().
LOBIT_API Device auto_select_device();

// kUnsupported for a kind that this build lacks; kNotFound for an index beyond those of its kind.
LOBIT_API Result<Backend*> backend(Device device);

// Copies between the memories of any two devices, in the order of `stream`, which belongs to the target, or
// to the source when the target is the CPU. The errors of backend() for either device; kUnsupported, naming
// both, for devices of two kinds neither of which is the CPU.
LOBIT_API Status copy_between(Device to_device, void* to, Device from_device, const void* from, size_t bytes,
                              Stream stream);

}  // namespace lobit

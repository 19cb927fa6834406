// VirtualMemory: the calls to the operating system that memory pools are built from. Address space is
// reserved once, made accessible in pieces, and its pages are given back without giving up the addresses.
// An interface, so that tests can refuse any call; system_virtual_memory() is the real one. Thread-safe.
#pragma once

#include <cstddef>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

// The size and alignment of a huge page on the systems that lobit runs on.
inline constexpr size_t kHugePageBytes = size_t{2} << 20;

class LOBIT_API VirtualMemory {
 public:
  virtual ~VirtualMemory() = default;

  // `bytes` of addresses that cannot be touched yet, aligned to kHugePageBytes. Takes no memory and counts
  // against no limit but RLIMIT_AS. kOutOfMemory when the system refuses.
  virtual Result<std::byte*> reserve(size_t bytes) = 0;

  // Ends a reservation: everything in it is gone.
  virtual void release(std::byte* data, size_t bytes) = 0;

  // Makes a part of a reservation readable and writable; its pages come, zeroed, on first touch.
  // kOutOfMemory when the system refuses (RLIMIT_DATA, overcommit).
  virtual Status make_accessible(std::byte* data, size_t bytes) = 0;

  // Whether first touch brings huge pages where the range holds whole ones. Advice: the system may have none.
  virtual void prefer_huge_pages(std::byte* data, size_t bytes, bool huge) = 0;

  // Takes pages now that first touch would bring one by one. Advice.
  virtual void populate(std::byte* data, size_t bytes) = 0;

  // Gives the pages of an accessible range back at once; the next touch brings zeroes. `splits` says that
  // the range may hold a part of a huge page, which is then split so that this part returns too.
  virtual void discard(std::byte* data, size_t bytes, bool splits) = 0;
};

LOBIT_API VirtualMemory& system_virtual_memory();

}  // namespace lobit

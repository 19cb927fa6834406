#include "lobit/device/cpu/virtual_memory.h"

#include <cerrno>
#include <cstdint>
#include <system_error>

#include <fmt/format.h>
#include <sys/mman.h>

#include "lobit/base/checked.h"

namespace lobit {
namespace {

// Linux 5.14; older headers lack the name.
constexpr int kPopulateWrite = 23;

Error refused(const char* what, size_t bytes, int code) {
  return {.code = ErrorCode::kOutOfMemory,
          .message = fmt::format("{}: the system refused {} bytes: {}", what, bytes,
                                 std::generic_category().message(code)),
          .detail = {.required = bytes}};
}

class SystemVirtualMemory final : public VirtualMemory {
 public:
  Result<std::byte*> reserve(size_t bytes) override {
    const auto padded = checked_add(bytes, kHugePageBytes);
    void* mapped = padded.has_value() ? ::mmap(nullptr, *padded, PROT_NONE,
                                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                                      : MAP_FAILED;
    if (mapped == MAP_FAILED)
      return fail(refused("address space", bytes, padded.has_value() ? errno : ENOMEM));
    // What lies before and behind the aligned part goes back.
    auto* start = static_cast<std::byte*>(mapped);
    const size_t before =
        (kHugePageBytes - reinterpret_cast<uintptr_t>(start) % kHugePageBytes) % kHugePageBytes;
    if (before != 0) ::munmap(start, before);
    ::munmap(start + before + bytes, kHugePageBytes - before);
    return start + before;
  }

  void release(std::byte* data, size_t bytes) override { ::munmap(data, bytes); }

  Status make_accessible(std::byte* data, size_t bytes) override {
    if (::mprotect(data, bytes, PROT_READ | PROT_WRITE) != 0) return fail(refused("memory", bytes, errno));
    return {};
  }

  void prefer_huge_pages(std::byte* data, size_t bytes, bool huge) override {
    ::madvise(data, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  }

  void populate(std::byte* data, size_t bytes) override { ::madvise(data, bytes, kPopulateWrite); }

  void discard(std::byte* data, size_t bytes, bool splits) override {
    // MADV_DONTNEED alone leaves a huge page whole until the system runs short; MADV_FREE splits it first.
    if (splits) ::madvise(data, bytes, MADV_FREE);
    ::madvise(data, bytes, MADV_DONTNEED);
  }
};

}  // namespace

VirtualMemory& system_virtual_memory() {
  static SystemVirtualMemory memory;
  return memory;
}

}  // namespace lobit

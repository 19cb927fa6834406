// For tests alone: the system's memory with a switch that refuses calls, and counts of what was asked.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "lobit/device/cpu/virtual_memory.h"

namespace lobit {

class TestVirtualMemory final : public VirtualMemory {
 public:
  static constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

  // The n-th call that can fail (reserve, make_accessible), counted from 0, fails, and so do those after it.
  void fail_from(uint64_t n) { fails_from_ = n; }
  // All reservations together may have so many bytes, as under RLIMIT_AS.
  void limit_addresses(uint64_t most) { most_reserved_ = most; }
  uint64_t calls() const { return calls_; }
  uint64_t reserved() const { return reserved_; }
  uint64_t huge_bytes() const { return huge_bytes_; }
  uint64_t populated() const { return populated_; }
  uint64_t discarded() const { return discarded_; }

  Result<std::byte*> reserve(size_t bytes) override {
    LOBIT_RETURN_IF_ERROR(count());
    if (bytes > most_reserved_ - reserved_) return fail(ErrorCode::kOutOfMemory, "too many addresses");
    LOBIT_TRY(std::byte* const data, system_virtual_memory().reserve(bytes));
    reserved_ += bytes;
    return data;
  }
  void release(std::byte* data, size_t bytes) override {
    reserved_ -= bytes;
    system_virtual_memory().release(data, bytes);
  }
  Status make_accessible(std::byte* data, size_t bytes) override {
    LOBIT_RETURN_IF_ERROR(count());
    return system_virtual_memory().make_accessible(data, bytes);
  }
  void prefer_huge_pages(std::byte* data, size_t bytes, bool huge) override {
    if (huge) huge_bytes_ += bytes;
    system_virtual_memory().prefer_huge_pages(data, bytes, huge);
  }
  void populate(std::byte* data, size_t bytes) override {
    populated_ += bytes;
    system_virtual_memory().populate(data, bytes);
  }
  void discard(std::byte* data, size_t bytes, bool splits) override {
    discarded_ += bytes;
    system_virtual_memory().discard(data, bytes, splits);
  }

 private:
  Status count() {
    if (calls_++ >= fails_from_) return fail(ErrorCode::kOutOfMemory, "refused by the test");
    return {};
  }

  std::atomic<uint64_t> fails_from_{kNever};
  std::atomic<uint64_t> most_reserved_{kNever};
  std::atomic<uint64_t> calls_{0};
  std::atomic<uint64_t> reserved_{0};
  std::atomic<uint64_t> huge_bytes_{0};
  std::atomic<uint64_t> populated_{0};
  std::atomic<uint64_t> discarded_{0};
};

}  // namespace lobit

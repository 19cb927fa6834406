// SharedMemory: a segment of memory that several processes have mapped at once, from whichever of them the
// others learn its name. The object owns its own mapping and descriptor; the memory is freed with the last of
// them, however their processes end. One thread at a time may change the object; what lies in the segment is
// shared by all threads and processes, which keep order among themselves (with atomics in it, or messages).
//
// The segments are anonymous files of the kernel (memfd) and not files under /dev/shm, for two reasons.
// Nothing has to be cleared after a crash: there is no entry in a folder, so a process that is killed leaves
// none, at no instant, and no lock has to tell the living from the dead. And the size is sealed: another
// process cannot cut the segment short, which in /dev/shm makes the next access of everybody else end in
// SIGBUS.
//
// The name leads to a holder's descriptor through /proc, so it opens for processes of the same user (or with
// the right to trace the holder) that see the same process numbers. Others, in another container say, are
// sent the descriptor (SCM_RIGHTS over a Unix socket) and adopt it.
//
// What lies in a segment that others may write can change between two reads: take what is checked out first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

enum class SharedAccess : uint8_t { kRead, kReadWrite };

class LOBIT_API SharedMemory {
 public:
  // A new segment of `bytes` >= 1, all zero, that this process reads and writes. With `others` = kRead the
  // kernel refuses every further writable mapping and every write. The pages are taken at once, so that
  // running out of memory is an error here and not SIGBUS later: kOutOfMemory.
  // A container that goes beyond its limit is killed instead, so `available` says what this process may still
  // take (Backend::memory().free, which knows such limits): more is kOutOfMemory before a page is taken.
  static Result<SharedMemory> create(uint64_t bytes, uint64_t available,
                                     SharedAccess others = SharedAccess::kReadWrite);

  // Maps the segment that a living process, this one too, holds under `name`. kNotFound when nobody does any
  // more, kInvalidArgument for what is no name, another size than `bytes`, and for kReadWrite where others
  // may only read; kIo when the system does not let this user see it.
  static Result<SharedMemory> open(std::string_view name, uint64_t bytes, SharedAccess access);

  // The same, of whatever size it is: nobody can change that any more.
  static Result<SharedMemory> open(std::string_view name, SharedAccess access);

  // The same for a descriptor that came another way. It is duplicated; the caller's stays open. kUnsupported
  // for one that is not a segment of SharedMemory, with its size sealed.
  static Result<SharedMemory> adopt(int descriptor, uint64_t bytes, SharedAccess access);
  static Result<SharedMemory> adopt(int descriptor, SharedAccess access);

  SharedMemory(SharedMemory&& other) noexcept { swap(other); }
  SharedMemory& operator=(SharedMemory&& other) noexcept {
    SharedMemory(std::move(other)).swap(*this);
    return *this;
  }
  ~SharedMemory();

  // "lobit:PID:DESCRIPTOR:TOKEN", good while this object lives. Every holder has its own, so those who joined
  // can still be joined after the creator has gone.
  std::string name() const;
  // To be sent to a process that cannot use the name; the object keeps it.
  int descriptor() const { return descriptor_; }

  SharedAccess access() const { return access_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // kInvalidArgument when it was opened to be read.
  Result<std::span<std::byte>> writable_bytes() const;

  void swap(SharedMemory& other) noexcept;

 private:
  SharedMemory(int descriptor, std::string token) : descriptor_(descriptor), token_(std::move(token)) {}
  static Result<SharedMemory> join(std::string_view name, std::optional<uint64_t> bytes, SharedAccess access);
  static Result<SharedMemory> join(int descriptor, std::optional<uint64_t> bytes, SharedAccess access);
  // Maps the descriptor, once its size is known to be `bytes` where they are named.
  Status map(std::optional<uint64_t> bytes, SharedAccess access);

  int descriptor_ = -1;
  std::string token_;  // random, 16 hexadecimal digits
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  SharedAccess access_ = SharedAccess::kRead;
};

}  // namespace lobit

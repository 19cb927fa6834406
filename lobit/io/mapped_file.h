// MappedFile: the bytes of a file as memory, which the system reads when they are first touched and may drop
// and read again whenever it is short of memory. Read only; any number of threads. Owns the mapping and
// nothing else: the file may be renamed, replaced by another or removed, and its bytes stay.
//
// The size is checked once, when the file is mapped. Whoever cuts the file short afterwards makes the next
// access behind its new end a SIGBUS, which no program can turn into an error; whoever writes to it may
// change bytes that were checked. So only files that are replaced as a whole, as OutputFile does it, should
// be mapped; File reads others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/io/file.h"

namespace lobit {

class LOBIT_API MappedFile {
 public:
  // All bytes of an open file, so that what was read from it and what is mapped are the same file. kIo when
  // it is no longer as long as it was when it was opened, or the system refuses; kOutOfMemory without room
  // for so many addresses.
  static Result<MappedFile> map(const File& file);

  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    MappedFile(std::move(other)).swap(*this);
    return *this;
  }
  ~MappedFile();

  const std::string& name() const { return name_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Asks the system to have the pages of a range in memory soon; returns at once.
  void prefetch(uint64_t offset, uint64_t bytes) const;

  void swap(MappedFile& other) noexcept;

 private:
  MappedFile() = default;

  std::string name_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lobit

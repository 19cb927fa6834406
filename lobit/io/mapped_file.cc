#include "lobit/io/mapped_file.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lobit/io/system_error_internal.h"

namespace lobit {

Result<MappedFile> MappedFile::map(const File& file) {
  struct stat info{};
  if (::fstat(file.fd_, &info) != 0) return system_error("cannot read its size", file.name(), errno);
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size != file.size()) {
    return fail(ErrorCode::kIo,
                fmt::format("{}: expected the {} bytes that it had when it was opened, found {}", file.name(),
                            file.size(), size),
                {.required = file.size(), .available = size});
  }
  MappedFile mapped;
  mapped.name_ = file.name();
  if (size == 0) return mapped;  // there is no mapping of no bytes
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd_, 0);
  if (data == MAP_FAILED) return system_error(fmt::format("cannot map {} bytes", size), file.name(), errno);
  mapped.data_ = static_cast<const std::byte*>(data);
  mapped.size_ = size;
  return mapped;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::prefetch(uint64_t offset, uint64_t bytes) const {
  if (offset >= size_) return;
  // madvise() wants the address of a page.
  const uint64_t begin = offset - offset % static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t end = offset + std::min<uint64_t>(bytes, size_ - offset);
  ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_WILLNEED);
}

void MappedFile::swap(MappedFile& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
}

}  // namespace lobit

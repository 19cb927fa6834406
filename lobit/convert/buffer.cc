#include "lobit/convert/buffer.h"

#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>

namespace lobit {

Result<ScratchBuffer> ScratchBuffer::create(size_t bytes) {
  if (bytes == 0) return ScratchBuffer(nullptr, 0);
  // Pages come on first touch, so a large limit that a small file does not need costs nothing.
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return fail(ErrorCode::kOutOfMemory, fmt::format("buffer: the system refused {} bytes", bytes),
                {.required = bytes});
  }
  return ScratchBuffer(static_cast<std::byte*>(data), bytes);
}

ScratchBuffer::ScratchBuffer(ScratchBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

ScratchBuffer& ScratchBuffer::operator=(ScratchBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

ScratchBuffer::~ScratchBuffer() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace lobit

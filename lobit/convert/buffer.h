// ScratchBuffer: page-aligned memory of a fixed size for one worker, touched once and reused for every chunk.
// Owns its memory; movable.
#pragma once

#include <cstddef>
#include <span>

#include "lobit/base/result.h"

namespace lobit {

class ScratchBuffer {
 public:
  // kOutOfMemory when the system refuses.
  static Result<ScratchBuffer> create(size_t bytes);

  ScratchBuffer(ScratchBuffer&& other) noexcept;
  ScratchBuffer& operator=(ScratchBuffer&& other) noexcept;
  ~ScratchBuffer();

  std::span<std::byte> bytes() { return {data_, size_}; }

 private:
  ScratchBuffer(std::byte* data, size_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lobit

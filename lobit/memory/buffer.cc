#include "lobit/memory/buffer.h"

namespace lobit {

Result<Buffer> Buffer::allocate(MemoryResource& resource, size_t bytes, size_t alignment, Stream stream) {
  LOBIT_TRY(void* data, resource.allocate(bytes, alignment, stream));
  Buffer buffer;
  buffer.resource_ = &resource;
  buffer.data_ = static_cast<std::byte*>(data);
  buffer.size_ = bytes;
  buffer.alignment_ = alignment;
  buffer.stream_ = stream;
  return buffer;
}

Status Buffer::free() {
  if (data_ == nullptr) return fail(ErrorCode::kInvalidArgument, "buffer: there is no block to free");
  std::byte* data = std::exchange(data_, nullptr);
  return resource_->deallocate(data, std::exchange(size_, 0), alignment_, stream_);
}

}  // namespace lobit

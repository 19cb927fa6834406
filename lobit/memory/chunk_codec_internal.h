// ChunkCodec: one chunk of a compressed block, from bytes to a Buffer and back. Its scratch memory comes from
// the resource, once, so that a whole block needs no other. One thread. Not installed.
//
// A stored chunk is a 64-bit XXH3 checksum (of the original bytes, the chunk's number and what follows), the
// stored size of each plane (32 bits), then the planes. A plane as large as it was is the plane itself, a
// smaller one a zstd frame. The numbers are in the machine's own order: compressed blocks do not leave the
// process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lobit/base/result.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

inline constexpr size_t kCompressionPage = 4096;
// Holds in the second-level cache with its shuffled copy; a multiple of every element's width.
inline constexpr size_t kCompressionChunk = size_t{256} << 10;

class ChunkCodec {
 public:
  enum class Use : uint8_t { kCompress, kRestore };

  // `level` counts for kCompress alone.
  static Result<ChunkCodec> create(MemoryResource& resource, size_t element_bytes, Use use, int level);

  // Where the caller puts a chunk before compress(), and finds it after restore().
  std::span<std::byte> chunk() const { return chunk_.bytes(); }

  // Compresses the first `bytes` of chunk() and returns the stored size; stored() is the result until the
  // next call.
  size_t compress(size_t bytes, uint64_t number);
  std::span<const std::byte> stored() const { return stored_.bytes().first(stored_bytes_); }

  // Puts the `bytes` of the chunk stored in `from` into chunk(). False when they are not what was stored.
  bool restore(std::span<const std::byte> from, size_t bytes, uint64_t number);

 private:
  size_t plane_bytes(size_t plane, size_t bytes) const;
  size_t header_bytes() const;

  size_t width_ = 1;
  int level_ = 0;
  Buffer chunk_;
  Buffer planes_;
  Buffer stored_;            // to compress: room for the header and planes that did not shrink
  Buffer workspace_;         // of zstd
  void* context_ = nullptr;  // ZSTD_CCtx or ZSTD_DCtx, inside workspace_
  size_t stored_bytes_ = 0;
};

}  // namespace lobit

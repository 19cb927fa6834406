#include <algorithm>
#include <cstring>

// Contexts in memory of our own are part of zstd's static interface, whose functions Debian's shared library
// exports as well.
#define ZSTD_STATIC_LINKING_ONLY
#include <xxhash.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "lobit/base/check.h"
#include "lobit/memory/byte_shuffle_internal.h"
#include "lobit/memory/chunk_codec_internal.h"

namespace lobit {
namespace {

constexpr size_t kChecksumBytes = sizeof(uint64_t);

// What zstd chooses at a level depends on the size of its input in these steps; a context must hold for all.
size_t compression_workspace(int level) {
  size_t most = 0;
  for (const unsigned long long input : {16ULL << 10, 128ULL << 10, 256ULL << 10}) {
    most = std::max(most, ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(level, input, 0)));
  }
  return most;
}

// Of what was compressed and of what is stored behind the checksum: either may be damaged where the other is
// not.
uint64_t checksum(std::span<const std::byte> original, std::span<const std::byte> stored, uint64_t number) {
  const uint64_t seed = XXH3_64bits_withSeed(original.data(), original.size(), number);
  return XXH3_64bits_withSeed(stored.data() + kChecksumBytes, stored.size() - kChecksumBytes, seed);
}

}  // namespace

Result<ChunkCodec> ChunkCodec::create(MemoryResource& resource, size_t element_bytes, Use use, int level) {
  ChunkCodec codec;
  codec.width_ = element_bytes;
  codec.level_ = level;
  LOBIT_TRY(codec.chunk_, Buffer::allocate(resource, kCompressionChunk));
  LOBIT_TRY(codec.planes_, Buffer::allocate(resource, kCompressionChunk));
  if (use == Use::kCompress) {
    LOBIT_TRY(codec.stored_, Buffer::allocate(resource, codec.header_bytes() + kCompressionChunk));
    LOBIT_TRY(codec.workspace_, Buffer::allocate(resource, compression_workspace(level)));
    codec.context_ = ZSTD_initStaticCCtx(codec.workspace_.data(), codec.workspace_.size());
  } else {
    LOBIT_TRY(codec.workspace_, Buffer::allocate(resource, ZSTD_estimateDCtxSize()));
    codec.context_ = ZSTD_initStaticDCtx(codec.workspace_.data(), codec.workspace_.size());
  }
  LOBIT_CHECK(codec.context_ != nullptr);
  return codec;
}

// Bytes behind the last whole element belong to the last plane.
size_t ChunkCodec::plane_bytes(size_t plane, size_t bytes) const {
  return bytes / width_ + (plane + 1 == width_ ? bytes % width_ : 0);
}

size_t ChunkCodec::header_bytes() const {
  return kChecksumBytes + width_ * sizeof(uint32_t);
}

size_t ChunkCodec::compress(size_t bytes, uint64_t number) {
  const std::span<const std::byte> original(chunk_.data(), bytes);
  shuffle_bytes(original, width_, planes_.data());
  auto* const context = static_cast<ZSTD_CCtx*>(context_);
  const std::byte* from = planes_.data();
  std::byte* to = stored_.data() + header_bytes();
  for (size_t plane = 0; plane < width_; ++plane) {
    const size_t whole = plane_bytes(plane, bytes);
    // Room for a byte less, so that what does not shrink is an error of this one kind.
    size_t size = whole < 2 ? whole : ZSTD_compressCCtx(context, to, whole - 1, from, whole, level_);
    const bool failed = ZSTD_isError(size) != 0;
    LOBIT_CHECK(!failed || ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall);
    if (whole < 2 || failed) {
      std::memcpy(to, from, whole);
      size = whole;
    }
    const auto size32 = static_cast<uint32_t>(size);
    std::memcpy(stored_.data() + kChecksumBytes + plane * sizeof size32, &size32, sizeof size32);
    from += whole;
    to += size;
  }
  stored_bytes_ = static_cast<size_t>(to - stored_.data());
  const uint64_t sum = checksum(original, stored(), number);
  std::memcpy(stored_.data(), &sum, sizeof sum);
  return stored_bytes_;
}

bool ChunkCodec::restore(std::span<const std::byte> from, size_t bytes, uint64_t number) {
  if (from.size() < header_bytes()) return false;
  auto* const context = static_cast<ZSTD_DCtx*>(context_);
  std::span<const std::byte> rest = from.subspan(header_bytes());
  std::byte* to = planes_.data();
  for (size_t plane = 0; plane < width_; ++plane) {
    const size_t whole = plane_bytes(plane, bytes);
    uint32_t size = 0;
    std::memcpy(&size, from.data() + kChecksumBytes + plane * sizeof size, sizeof size);
    if (size > whole || size > rest.size()) return false;
    if (size == whole) {
      std::memcpy(to, rest.data(), whole);
    } else if (ZSTD_decompressDCtx(context, to, whole, rest.data(), size) != whole) {
      return false;
    }
    rest = rest.subspan(size);
    to += whole;
  }
  if (!rest.empty()) return false;
  unshuffle_bytes({planes_.data(), bytes}, width_, chunk_.data());
  uint64_t sum = 0;
  std::memcpy(&sum, from.data(), sizeof sum);
  return sum == checksum({chunk_.data(), bytes}, from, number);
}

}  // namespace lobit

// BlockCompressor: makes memory that is not in use for a while smaller, when that pays. A block is compressed
// into a CompressedBlock, whose owner then frees the original and has it restored later; everything that is
// allocated on the way and kept comes from the MemoryResource given, so its limit holds. The compressor keeps
// counts alone; any number of threads may use it at once. It and the resource outlive the compressed blocks.
//
// First some samples are compressed: if they promise less than `least_ratio`, nothing else is done. Pages of
// zeros are dropped. The rest is cut into chunks; in each the bytes of one place in the elements are put
// together (byte shuffle) and coded by zstd, place by place. Exponents shrink, mantissas are noise and stay
// as they are: BF16 weights of a normal distribution become 1.4 times smaller, F16 and F32 no more than 1.2
// times. Every chunk has a checksum, so that a byte that changed meanwhile is an error and not a wrong
// weight.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

struct CompressionOptions {
  // zstd's, from 1 (fastest) to 19 (smallest, for other data than weights); the time to restore hardly
  // depends on it.
  int level = 1;
  // Blocks that would not shrink by this factor stay as they are. At least 1.
  double least_ratio = 1.2;
};

// Exact when no other thread is inside the compressor.
struct CompressionStatistics {
  uint64_t compressed_blocks = 0;
  uint64_t bytes_in = 0;    // of those blocks, before
  uint64_t bytes_out = 0;   // and after
  uint64_t zero_bytes = 0;  // of bytes_in, in pages that were dropped
  uint64_t skipped_blocks = 0;
  uint64_t skipped_bytes = 0;  // of blocks for which it did not pay
  uint64_t restored_blocks = 0;
  uint64_t restored_bytes = 0;
};

// A block in its compressed form. Owns its buffers; movable, one thread at a time (restoring reads alone).
class LOBIT_API CompressedBlock {
 public:
  uint64_t original_bytes() const { return original_bytes_; }
  uint64_t stored_bytes() const { return stored_bytes_; }
  uint64_t zero_bytes() const { return zero_bytes_; }  // of the original, in pages that were dropped
  size_t element_bytes() const { return element_bytes_; }
  double ratio() const { return static_cast<double>(original_bytes_) / static_cast<double>(stored_bytes_); }
  // What it occupies: which pages are zero, then the chunks.
  std::span<const Buffer> buffers() const { return buffers_; }

 private:
  friend class BlockCompressor;
  CompressedBlock(uint64_t bytes, size_t element_bytes)
      : original_bytes_(bytes), element_bytes_(element_bytes) {}

  uint64_t original_bytes_;
  uint64_t stored_bytes_ = 0;
  uint64_t zero_bytes_ = 0;
  size_t element_bytes_;
  std::vector<Buffer> buffers_;
};

class LOBIT_API BlockCompressor {
 public:
  explicit BlockCompressor(MemoryResource& resource, const CompressionOptions& options = {})
      : resource_(resource), options_(options) {}
  BlockCompressor(const BlockCompressor&) = delete;
  BlockCompressor& operator=(const BlockCompressor&) = delete;

  // The block compressed; nothing when it does not pay. `element_bytes` is the width of its numbers, 1, 2, 4
  // or 8 (1 for packed codes). kInvalidArgument for other widths and options beyond their range, kUnsupported
  // for a resource whose memory is not the CPU's; the errors of the resource, with everything taken back.
  Result<std::optional<CompressedBlock>> compress(std::span<const std::byte> block, size_t element_bytes);

  // Writes the original bytes into `out`. kInvalidArgument when it has another size; kCorrupt, naming the
  // buffer, when a stored byte is not what it was: `out` is then undefined. The errors of the resource.
  Status restore(const CompressedBlock& block, std::span<std::byte> out);

  CompressionStatistics statistics() const;

 private:
  Status check_arguments(size_t element_bytes) const;
  void count(const CompressedBlock& block);
  void count_skipped(uint64_t bytes);

  MemoryResource& resource_;
  const CompressionOptions options_;
  std::atomic<uint64_t> compressed_blocks_ = 0;
  std::atomic<uint64_t> bytes_in_ = 0;
  std::atomic<uint64_t> bytes_out_ = 0;
  std::atomic<uint64_t> zero_bytes_ = 0;
  std::atomic<uint64_t> skipped_blocks_ = 0;
  std::atomic<uint64_t> skipped_bytes_ = 0;
  std::atomic<uint64_t> restored_blocks_ = 0;
  std::atomic<uint64_t> restored_bytes_ = 0;
};

}  // namespace lobit

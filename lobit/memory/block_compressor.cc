#include "lobit/memory/block_compressor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <xxhash.h>

#include "lobit/device/device.h"
#include "lobit/memory/byte_shuffle_internal.h"
#include "lobit/memory/chunk_codec_internal.h"

namespace lobit {
namespace {

constexpr int kLeastLevel = 1;
constexpr int kMostLevel = 19;
// What is compressed to see whether it pays: so many runs of pages at equal distances, a chunk in all.
constexpr size_t kProbeRuns = 8;
constexpr size_t kProbeRunPages = kCompressionChunk / kCompressionPage / kProbeRuns;
// Smaller blocks are compressed without asking.
constexpr size_t kLeastProbed = 4 * kCompressionChunk;

constexpr auto kRelaxed = std::memory_order_relaxed;

size_t pages_of(uint64_t bytes) {
  return static_cast<size_t>(bytes / kCompressionPage + (bytes % kCompressionPage != 0 ? 1 : 0));
}

template <typename Byte>
std::span<Byte> page_of(std::span<Byte> block, size_t page) {
  const size_t begin = page * kCompressionPage;
  return block.subspan(begin, std::min(kCompressionPage, block.size() - begin));
}

bool is_zero(std::span<const std::byte> page) {
  // Most pages that are not zero show it in their first bytes.
  constexpr size_t kStep = 64;
  size_t at = 0;
  for (; at + kStep <= page.size(); at += kStep) {
    uint64_t words[kStep / sizeof(uint64_t)];
    std::memcpy(words, page.data() + at, sizeof words);
    uint64_t any = 0;
    for (const uint64_t word : words) any |= word;
    if (any != 0) return false;
  }
  return std::all_of(page.begin() + static_cast<ptrdiff_t>(at), page.end(),
                     [](std::byte b) { return b == std::byte{0}; });
}

// Which pages are zero, a bit each, behind an XXH3 checksum of the bits.
class ZeroPages {
 public:
  static size_t bytes(size_t pages) { return kChecksumBytes + (pages + 7) / 8; }
  explicit ZeroPages(std::span<std::byte> bytes) : bytes_(bytes) {}

  void clear() { std::ranges::fill(bytes_, std::byte{0}); }
  void set(size_t page) { bits()[page / 8] |= std::byte{1} << (page % 8); }
  bool test(size_t page) const { return (bits()[page / 8] & std::byte{1} << (page % 8)) != std::byte{0}; }

  void seal() {
    const uint64_t sum = checksum();
    std::memcpy(bytes_.data(), &sum, sizeof sum);
  }
  bool is_intact() const {
    uint64_t sum = 0;
    std::memcpy(&sum, bytes_.data(), sizeof sum);
    return sum == checksum();
  }

 private:
  static constexpr size_t kChecksumBytes = sizeof(uint64_t);
  std::span<std::byte> bits() const { return bytes_.subspan(kChecksumBytes); }
  uint64_t checksum() const { return XXH3_64bits(bits().data(), bits().size()); }

  std::span<std::byte> bytes_;
};

// Appends a page to the `filled` bytes of the codec's chunk.
void put(const ChunkCodec& codec, size_t& filled, std::span<const std::byte> page) {
  std::memcpy(codec.chunk().data() + filled, page.data(), page.size());
  filled += page.size();
}

// By which factor the samples of a block shrink.
double probe(ChunkCodec& codec, std::span<const std::byte> block) {
  const size_t whole_pages = block.size() / kCompressionPage;
  size_t filled = 0;
  for (size_t run = 0; run < kProbeRuns; ++run) {
    const size_t first = run * (whole_pages - kProbeRunPages) / (kProbeRuns - 1);
    for (size_t i = 0; i < kProbeRunPages; ++i) {
      const auto page = page_of(block, first + i);
      if (!is_zero(page)) put(codec, filled, page);
    }
  }
  return static_cast<double>(kCompressionChunk) / static_cast<double>(codec.compress(filled, 0));
}

tl::unexpected<Error> corrupt(size_t buffer, const CompressedBlock& block) {
  return fail(
      ErrorCode::kCorrupt,
      fmt::format("compressed block of {} bytes: buffer {} of {}: expected the bytes that were stored, "
                  "found others",
                  block.original_bytes(), buffer, block.buffers().size()),
      {.index = buffer});
}

}  // namespace

Status BlockCompressor::check_arguments(size_t element_bytes) const {
  if (!is_shuffle_width(element_bytes)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("compress: expected elements of 1, 2, 4 or 8 bytes, found {}", element_bytes),
                {.required = element_bytes});
  }
  if (options_.level < kLeastLevel || options_.level > kMostLevel) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("compress: expected a level from {} to {}, found {}",
                                                         kLeastLevel, kMostLevel, options_.level));
  }
  if (!(options_.least_ratio >= 1)) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("compress: expected a least ratio of at least 1, found {}", options_.least_ratio));
  }
  if (resource_.device().kind != DeviceKind::kCpu) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("compress: expected memory of the CPU, found that of {}",
                            device_name(resource_.device())),
                {.from = device_name(resource_.device()), .to = "cpu"});
  }
  return {};
}

Result<std::optional<CompressedBlock>> BlockCompressor::compress(std::span<const std::byte> block,
                                                                 size_t element_bytes) {
  LOBIT_RETURN_IF_ERROR(check_arguments(element_bytes));
  const auto skip = [&] {
    count_skipped(block.size());
    return std::optional<CompressedBlock>();
  };
  if (block.empty()) return skip();
  LOBIT_TRY(ChunkCodec codec,
            ChunkCodec::create(resource_, element_bytes, ChunkCodec::Use::kCompress, options_.level));
  if (block.size() >= kLeastProbed && probe(codec, block) < options_.least_ratio) return skip();

  const auto most = static_cast<uint64_t>(static_cast<double>(block.size()) / options_.least_ratio);
  CompressedBlock out(block.size(), element_bytes);
  out.buffers_.reserve(1 + block.size() / kCompressionChunk + 1);
  const auto add_buffer = [&](size_t bytes) -> Status {
    LOBIT_TRY(Buffer buffer, Buffer::allocate(resource_, bytes));
    out.buffers_.push_back(std::move(buffer));
    out.stored_bytes_ += bytes;
    return {};
  };
  const size_t pages = pages_of(block.size());
  LOBIT_RETURN_IF_ERROR(add_buffer(ZeroPages::bytes(pages)));
  ZeroPages zeros(out.buffers_.front().bytes());
  zeros.clear();
  size_t filled = 0;
  for (size_t i = 0; i < pages; ++i) {
    const std::span<const std::byte> page = page_of(block, i);
    if (is_zero(page)) {
      zeros.set(i);
      out.zero_bytes_ += page.size();
    } else {
      put(codec, filled, page);
    }
    if (filled == 0 || (filled < kCompressionChunk && i + 1 < pages)) continue;
    const size_t stored = codec.compress(std::exchange(filled, 0), out.buffers_.size());
    if (out.stored_bytes_ + stored > most) return skip();
    LOBIT_RETURN_IF_ERROR(add_buffer(stored));
    std::memcpy(out.buffers_.back().data(), codec.stored().data(), stored);
  }
  if (out.stored_bytes_ > most) return skip();
  zeros.seal();
  count(out);
  return std::optional<CompressedBlock>(std::move(out));
}

Status BlockCompressor::restore(const CompressedBlock& block, std::span<std::byte> out) {
  if (block.buffers_.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "restore: expected a compressed block, found one that was moved from");
  }
  if (out.size() != block.original_bytes()) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("restore: expected room for {} bytes, found {}", block.original_bytes(), out.size()),
        {.required = block.original_bytes(), .available = out.size()});
  }
  const ZeroPages zeros(block.buffers_.front().bytes());
  if (!zeros.is_intact()) return corrupt(0, block);
  LOBIT_TRY(ChunkCodec codec,
            ChunkCodec::create(resource_, block.element_bytes(), ChunkCodec::Use::kRestore, options_.level));
  size_t buffer = 0;
  uint64_t rest = block.original_bytes() - block.zero_bytes();  // bytes in chunks that were not restored yet
  std::span<const std::byte> chunk;
  for (size_t i = 0; i < pages_of(out.size()); ++i) {
    const std::span<std::byte> page = page_of(out, i);
    if (zeros.test(i)) {
      std::ranges::fill(page, std::byte{0});
      continue;
    }
    if (chunk.empty()) {
      chunk = codec.chunk().first(std::min<uint64_t>(kCompressionChunk, rest));
      rest -= chunk.size();
      ++buffer;
      if (!codec.restore(block.buffers_[buffer].bytes(), chunk.size(), buffer)) return corrupt(buffer, block);
    }
    std::memcpy(page.data(), chunk.data(), page.size());
    chunk = chunk.subspan(page.size());
  }
  restored_blocks_.fetch_add(1, kRelaxed);
  restored_bytes_.fetch_add(out.size(), kRelaxed);
  return {};
}

void BlockCompressor::count(const CompressedBlock& block) {
  compressed_blocks_.fetch_add(1, kRelaxed);
  bytes_in_.fetch_add(block.original_bytes(), kRelaxed);
  bytes_out_.fetch_add(block.stored_bytes(), kRelaxed);
  zero_bytes_.fetch_add(block.zero_bytes(), kRelaxed);
}

void BlockCompressor::count_skipped(uint64_t bytes) {
  skipped_blocks_.fetch_add(1, kRelaxed);
  skipped_bytes_.fetch_add(bytes, kRelaxed);
}

CompressionStatistics BlockCompressor::statistics() const {
  CompressionStatistics s;
  s.compressed_blocks = compressed_blocks_.load(kRelaxed);
  s.bytes_in = bytes_in_.load(kRelaxed);
  s.bytes_out = bytes_out_.load(kRelaxed);
  s.zero_bytes = zero_bytes_.load(kRelaxed);
  s.skipped_blocks = skipped_blocks_.load(kRelaxed);
  s.skipped_bytes = skipped_bytes_.load(kRelaxed);
  s.restored_blocks = restored_blocks_.load(kRelaxed);
  s.restored_bytes = restored_bytes_.load(kRelaxed);
  return s;
}

}  // namespace lobit

#include <algorithm>
#include <atomic>
#include <vector>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/convert/budget.h"
#include "lobit/convert/file_chunk.h"
#include "lobit/convert/file_stream_internal.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/memory_tag.h"

namespace lobit {
namespace {

// Bytes of a worker's buffer for chunks of so many elements.
uint64_t buffer_bytes(Encoding from, Encoding to, uint64_t elements) {
  return target_offset(bytes_before(from, elements)) + (from == to ? 0 : bytes_before(to, elements));
}

struct StreamSizes {
  uint64_t chunk_elements = 0;
  size_t workers = 0;
  uint64_t worker_bytes = 0;
};

Status check_values(const FileValues& from, const FileTarget& to) {
  const ErrorDetail both{.from = std::string(encoding_name(from.encoding)),
                         .to = std::string(encoding_name(to.encoding))};
  if (from.encoding != to.encoding &&
      (!traits(from.encoding).can_decode || !traits(to.encoding).can_encode)) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("tensor '{}': lobit cannot turn {} into {}", from.name, both.from, both.to),
                both);
  }
  const auto source_bytes = encoded_bytes(from.encoding, from.elements);
  if (!source_bytes || !encoded_bytes(to.encoding, from.elements)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tensor '{}': {} elements do not fill whole blocks of {} and {}", from.name,
                            from.elements, both.from, both.to),
                {.available = from.elements, .from = both.from, .to = both.to});
  }
  if (from.offset <= from.source->size() && *source_bytes <= from.source->size() - from.offset) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: tensor '{}': expected {} bytes at {}, found a file of {}", from.source->name(),
                          from.name, *source_bytes, from.offset, from.source->size()),
              {.offset = from.offset, .required = *source_bytes, .available = from.source->size()});
}

// The chunk that was asked for unless not even one fits; then as many workers as fit.
Result<StreamSizes> sizes_of(const FileValues& from, const FileTarget& to, const FileStreamSpec& spec) {
  const uint64_t granule = std::max(traits(from.encoding).block_elements, traits(to.encoding).block_elements);
  const uint64_t limit = spec.account->limit();
  const uint64_t room = std::min(std::max(spec.buffer_bytes, spec.chunk_bytes), limit);
  const uint64_t least = buffer_bytes(from.encoding, to.encoding, granule);
  if (limit < least) {
    return fail(ErrorCode::kLimit,
                fmt::format("max_memory_usage: {}: too small to stream tensor '{}': the least that works is "
                            "{} ({} bytes)",
                            format_bytes(limit), from.name, format_bytes(least), least),
                {.required = least, .available = limit});
  }
  const uint64_t granule_bytes = bytes_before(from.encoding, granule);
  uint64_t granules = std::max<uint64_t>(1, spec.chunk_bytes / granule_bytes);
  granules = std::min(granules, std::max<uint64_t>(1, (from.elements + granule - 1) / granule));
  const uint64_t pair_bytes =
      granule_bytes + (from.encoding == to.encoding ? 0 : bytes_before(to.encoding, granule));
  const uint64_t overhead = Recoder::kTileBytes + 64;
  const uint64_t fitting = room > overhead ? (room - overhead) / pair_bytes : 1;
  granules = std::clamp<uint64_t>(granules, 1, std::max<uint64_t>(1, fitting));
  StreamSizes sizes;
  sizes.chunk_elements = granules * granule;
  sizes.worker_bytes = buffer_bytes(from.encoding, to.encoding, sizes.chunk_elements);
  const uint64_t chunks = (from.elements + sizes.chunk_elements - 1) / sizes.chunk_elements;
  sizes.workers = static_cast<size_t>(std::clamp<uint64_t>(
      room / sizes.worker_bytes, 1,
      std::min<uint64_t>(std::max<size_t>(1, spec.workers.count), std::max<uint64_t>(1, chunks))));
  return sizes;
}

}  // namespace

Result<FileStreamFacts> stream_file(const FileValues& from, const FileTarget& to,
                                    const FileStreamSpec& spec) {
  LOBIT_RETURN_IF_ERROR(check_values(from, to));
  LOBIT_TRY(const StreamSizes sizes, sizes_of(from, to, spec));
  LOBIT_TRY(const MemoryAccount::Hold hold, spec.account->hold(sizes.workers * sizes.worker_bytes));
  std::vector<Buffer> buffers;
  {
    const ScopedMemoryTag tag(MemoryTag::kIo);
    for (size_t i = 0; i < sizes.workers; ++i) {
      LOBIT_TRY(Buffer buffer, Buffer::allocate(*spec.memory, sizes.worker_bytes));
      buffers.push_back(std::move(buffer));
    }
  }
  const FileTensor tensor{.name = from.name,
                          .source = from.source,
                          .source_offset = from.offset,
                          .target = to.file,
                          .target_offset = to.offset,
                          .spec = {.from = from.encoding,
                                   .to = to.encoding,
                                   .saturate = spec.overflow == OverflowRule::kSaturate,
                                   .method = spec.method},
                          .remedy = "OverflowRule::kSaturate stores the nearest value"};
  const ChunkedItem item{from.name, from.elements, sizes.chunk_elements,
                         bytes_before(from.encoding, from.elements)};
  std::atomic<uint64_t> flushed = 0;
  std::atomic<uint64_t> saturated = 0;
  const auto convert = [&](size_t worker, const Chunk& chunk) -> Status {
    RecodeCounts counts;
    LOBIT_RETURN_IF_ERROR(convert_file_chunk(tensor, chunk, buffers[worker].bytes(), counts));
    flushed += counts.encode.flushed;
    saturated += counts.saturated;
    return {};
  };
  LOBIT_RETURN_IF_ERROR(
      for_each_chunk({spec.workers.pool, sizes.workers}, {&item, 1}, spec.control, convert));
  return FileStreamFacts{.target_bytes = bytes_before(to.encoding, from.elements),
                         .chunks = (from.elements + sizes.chunk_elements - 1) / sizes.chunk_elements,
                         .chunk_elements = sizes.chunk_elements,
                         .workers = sizes.workers,
                         .buffer_bytes = sizes.workers * sizes.worker_bytes,
                         .flushed = flushed,
                         .saturated = saturated};
}

}  // namespace lobit

#include <algorithm>
#include <atomic>
#include <vector>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/convert/budget.h"
#include "lobit/convert/file_chunk.h"
#include "lobit/convert/file_stream_internal.h"
#include "lobit/convert/planar_stream.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/memory_tag.h"

namespace lobit {
namespace {

// Both ends of a stream by rows, and how it may be cut.
struct StreamRows {
  RowLayout from;
  RowLayout to;
  uint64_t granule = 1;

  bool is_planar() const { return from.format.is_planar() || to.format.is_planar(); }

  // Bytes of a worker's buffer for chunks of so many elements.
  uint64_t buffer_bytes(uint64_t elements) const {
    if (is_planar()) return PlanarStream::buffer_bytes(from, to, elements);
    const Encoding source = from.format.encoding;
    const Encoding target = to.format.encoding;
    return target_offset(bytes_before(source, elements)) +
           (source == target ? 0 : bytes_before(target, elements));
  }
  // Of the source.
  uint64_t granule_bytes() const { return std::max<uint64_t>(1, from.code_offset(granule)); }
};

struct StreamSizes {
  uint64_t chunk_elements = 0;
  size_t workers = 0;
  uint64_t worker_bytes = 0;
};

Result<StreamRows> rows_of(const FileValues& from, const FileTarget& to) {
  const ValueFormat source{from.encoding, from.scales};
  const ValueFormat target{to.encoding, to.scales};
  const ErrorDetail both{.from = to_string(source), .to = to_string(target)};
  if (source != target && (!traits(from.encoding).can_decode || !traits(to.encoding).can_encode)) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("tensor '{}': lobit cannot turn {} into {}", from.name, both.from, both.to),
                both);
  }
  const uint64_t columns = from.columns > 0 ? from.columns : std::max<uint64_t>(1, from.elements);
  const uint64_t rows = from.elements / columns;
  const auto source_layout = format_layout(source, rows, columns);
  const auto target_layout = format_layout(target, rows, columns);
  if (!source_layout || !target_layout || from.elements % columns != 0) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("tensor '{}': {} elements in rows of {} do not fill whole rows and blocks of {} and {}",
                    from.name, from.elements, columns, both.from, both.to),
        {.available = from.elements, .from = both.from, .to = both.to});
  }
  if (from.offset > from.source->size() || source_layout->bytes > from.source->size() - from.offset) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: tensor '{}': expected {} bytes at {}, found a file of {}", from.source->name(),
                    from.name, source_layout->bytes, from.offset, from.source->size()),
        {.offset = from.offset, .required = source_layout->bytes, .available = from.source->size()});
  }
  StreamRows found{{source, *source_layout, columns}, {target, *target_layout, columns}};
  found.granule = found.is_planar()
                      ? PlanarStream::granule(found.from, found.to, rows)
                      : std::max(traits(from.encoding).block_elements, traits(to.encoding).block_elements);
  return found;
}

// The chunk that was asked for unless not even one fits; then as many workers as fit.
Result<StreamSizes> sizes_of(const FileValues& from, const StreamRows& rows, const FileStreamSpec& spec) {
  const uint64_t limit = spec.account->limit();
  const uint64_t room = std::min(std::max(spec.buffer_bytes, spec.chunk_bytes), limit);
  const uint64_t least = rows.buffer_bytes(rows.granule);
  if (limit < least) {
    return fail(ErrorCode::kLimit,
                fmt::format("max_memory_usage: {}: too small to stream tensor '{}': the least that works is "
                            "{} ({} bytes)",
                            format_bytes(limit), from.name, format_bytes(least), least),
                {.required = least, .available = limit});
  }
  uint64_t granules = std::max<uint64_t>(1, spec.chunk_bytes / rows.granule_bytes());
  granules = std::min(granules, std::max<uint64_t>(1, (from.elements + rows.granule - 1) / rows.granule));
  for (uint64_t fitting = 1; fitting < granules;) {
    const uint64_t middle = fitting + (granules - fitting + 1) / 2;
    if (rows.buffer_bytes(middle * rows.granule) <= room) {
      fitting = middle;
    } else {
      granules = middle - 1;
    }
  }
  StreamSizes sizes;
  sizes.chunk_elements = granules * rows.granule;
  sizes.worker_bytes = rows.buffer_bytes(sizes.chunk_elements);
  const uint64_t chunks = (from.elements + sizes.chunk_elements - 1) / sizes.chunk_elements;
  sizes.workers = static_cast<size_t>(std::clamp<uint64_t>(
      room / sizes.worker_bytes, 1,
      std::min<uint64_t>(std::max<size_t>(1, spec.workers.count), std::max<uint64_t>(1, chunks))));
  return sizes;
}

Result<std::vector<Buffer>> make_buffers(const StreamSizes& sizes, MemoryResource& memory) {
  const ScopedMemoryTag tag(MemoryTag::kIo);
  std::vector<Buffer> buffers;
  for (size_t i = 0; i < sizes.workers; ++i) {
    LOBIT_TRY(Buffer buffer, Buffer::allocate(memory, sizes.worker_bytes));
    buffers.push_back(std::move(buffer));
  }
  return buffers;
}

// The control of one of several passes over the same bytes: progress counts them all.
RunControl pass_control(const RunControl& control, uint64_t bytes, size_t pass, size_t passes) {
  if (!control.progress || passes == 1) return control;
  return {.progress = [progress = control.progress, before = bytes * pass, total = bytes * passes](
                          const Progress& p) { progress({before + p.bytes_done, total, p.item}); },
          .stop = control.stop};
}

}  // namespace

Result<FileStreamFacts> stream_file(const FileValues& from, const FileTarget& to,
                                    const FileStreamSpec& spec) {
  LOBIT_TRY(const StreamRows rows, rows_of(from, to));
  PlanarStream planar(from, to, rows.from, rows.to, spec.method, spec.overflow);
  LOBIT_RETURN_IF_ERROR(planar.check_method());
  LOBIT_TRY(const StreamSizes sizes, sizes_of(from, rows, spec));
  LOBIT_TRY(const MemoryAccount::Hold hold, spec.account->hold(sizes.workers * sizes.worker_bytes));
  LOBIT_TRY(std::vector<Buffer> buffers, make_buffers(sizes, *spec.memory));
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
  const ChunkedItem item{from.name, from.elements, sizes.chunk_elements, rows.from.layout.bytes};
  RecodeCounts measured;
  const size_t passes = planar.most_measures() + 1;
  const auto pass = [&](size_t which) { return pass_control(spec.control, item.bytes, which, passes); };
  LOBIT_RETURN_IF_ERROR(planar.measure(item, buffers[0].bytes(), {pass(0), pass(1)}, measured));
  std::atomic<uint64_t> flushed = measured.encode.flushed;
  std::atomic<uint64_t> saturated = measured.saturated;
  const auto convert = [&](size_t worker, const Chunk& chunk) -> Status {
    RecodeCounts counts;
    const std::span<std::byte> buffer = buffers[worker].bytes();
    LOBIT_RETURN_IF_ERROR(rows.is_planar() ? planar.convert(chunk, buffer, counts)
                                           : convert_file_chunk(tensor, chunk, buffer, counts));
    flushed += counts.encode.flushed;
    saturated += counts.saturated;
    return {};
  };
  LOBIT_RETURN_IF_ERROR(
      for_each_chunk({spec.workers.pool, sizes.workers}, {&item, 1}, pass(passes - 1), convert));
  return FileStreamFacts{.target_bytes = rows.to.layout.bytes,
                         .chunks = (from.elements + sizes.chunk_elements - 1) / sizes.chunk_elements,
                         .chunk_elements = sizes.chunk_elements,
                         .workers = sizes.workers,
                         .buffer_bytes = sizes.workers * sizes.worker_bytes,
                         .flushed = flushed,
                         .saturated = saturated};
}

}  // namespace lobit

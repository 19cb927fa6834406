#include <algorithm>
#include <mutex>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/base/check.h"
#include "lobit/base/checked.h"
#include "lobit/convert/budget.h"
#include "lobit/convert/planar_group.h"
#include "lobit/convert/tensor_job.h"

namespace lobit {
namespace {

// Bits that a value's codes take within a row.
double code_bits(ValueFormat format) {
  return format.is_planar() ? planar_bits(format.encoding) : traits(format.encoding).bits_per_weight();
}

// One conversion in place. The tensor's storage is its own and of one piece.
class InPlaceJob {
 public:
  InPlaceJob(const Tensor& tensor, std::byte* storage, const TensorJobSpec& spec)
      : from_(tensor.format()),
        to_(spec.to),
        shape_(tensor.shape()),
        columns_(std::max<uint64_t>(1, shape_.row_elements())),
        from_layout_(*format_layout(from_, shape_.rows(), shape_.row_elements())),
        to_layout_(*format_layout(to_, shape_.rows(), shape_.row_elements())),
        from_rows_{from_, from_layout_, columns_},
        to_rows_{to_, to_layout_, columns_},
        tensor_(tensor),
        storage_(storage),
        spec_(spec) {}

  // Planar scales lie behind the codes, where the source's values still are: they wait beside them.
  uint64_t buffer_bytes() const { return to_layout_.scale_count * sizeof(float); }
  uint64_t new_bytes() const {
    const TensorRecoder recode = recoder(nullptr, nullptr);
    return buffer_bytes() + recode.scratch_bytes() + recode.stand_in_bytes();
  }

  Status run(InPlaceChecks checks, const ChunkWorkers& workers, const RunControl& control) {
    Buffer scales;
    if (buffer_bytes() > 0) {
      LOBIT_TRY(scales, Buffer::allocate(*spec_.memory, buffer_bytes()));
    }
    Buffer stand_ins;
    if (const uint64_t bytes = recoder(nullptr, nullptr).stand_in_bytes(); bytes > 0) {
      LOBIT_TRY(stand_ins, Buffer::allocate(*spec_.memory, bytes));
    }
    const TensorRecoder recode =
        recoder(reinterpret_cast<float*>(scales.data()), reinterpret_cast<float*>(stand_ins.data()));
    if (checks != InPlaceChecks::kNone) {
      LOBIT_RETURN_IF_ERROR(check(recode, &TensorRecoder::check, workers, control));
    }
    LOBIT_RETURN_IF_ERROR(measure(recode, workers, control));
    if (checks == InPlaceChecks::kExact) {
      LOBIT_RETURN_IF_ERROR(check(recode, &TensorRecoder::check_exact, workers, control));
    }
    LOBIT_RETURN_IF_ERROR(encode(recode, workers, control));
    if (to_.is_planar()) place_scales(scales);
    return {};
  }

  RecodeCounts counts() const { return counts_; }
  uint64_t chunks() const { return chunks_; }

 private:
  TensorRecoder recoder(float* scales, float* stand_ins) const {
    TensorRecoder recoder(
        tensor_, to_, to_layout_,
        {.method = spec_.method, .overflow = spec_.overflow, .in_place = true, .memory = spec_.memory});
    recoder.set_target(storage_, scales, stand_ins);
    return recoder;
  }

  uint64_t chunk_elements(uint64_t granule) const {
    const uint64_t bytes = spec_.chunk_bytes > 0 ? spec_.chunk_bytes : kUsualChunkBytes;
    const double each = static_cast<double>(from_layout_.bytes) / static_cast<double>(shape_.elements());
    const auto elements = static_cast<uint64_t>(static_cast<double>(bytes) / each);
    return std::max<uint64_t>(1, elements / granule) * granule;
  }

  Status check(const TensorRecoder& recode, Status (TensorRecoder::*look)(uint64_t, uint64_t) const,
               const ChunkWorkers& workers, const RunControl& control) const {
    const ChunkedItem item{tensor_.name(), shape_.elements(), chunk_elements(recode.granule()), 0};
    return for_each_chunk(workers, {&item, 1}, {.stop = control.stop}, [&](size_t, const Chunk& chunk) {
      return (recode.*look)(chunk.first, chunk.count);
    });
  }

  Status measure(const TensorRecoder& recode, const ChunkWorkers& workers, const RunControl& control) {
    const ChunkedItem item{tensor_.name(), recode.measured_groups(), 1, 0};
    const ChunkWorkers measurers = recode.scratch_bytes() > 0 ? ChunkWorkers{} : workers;
    return for_each_chunk(measurers, {&item, 1}, {.stop = control.stop},
                          [&](size_t, const Chunk& chunk) -> Status {
                            RecodeCounts counts;
                            LOBIT_RETURN_IF_ERROR(recode.measure(chunk.first, counts));
                            add(counts);
                            return {};
                          });
  }

  // Front to back in segments. The bytes that a segment becomes lie before the first byte that it was, so its
  // chunks are independent; each segment is larger than the one before it by as much as the format shrinks.
  Status encode(const TensorRecoder& recode, const ChunkWorkers& workers, const RunControl& control) {
    const uint64_t elements = shape_.elements();
    const uint64_t chunk = chunk_elements(recode.granule());
    const bool same_places =
        code_bits(from_) == code_bits(to_) && from_layout_.row_bytes == to_layout_.row_bytes;
    for (uint64_t first = 0; first < elements;) {
      const uint64_t free = same_places ? elements : independent_end(first, recode.granule());
      if (free < first + 2 * chunk && free < elements) {
        const uint64_t n = std::min(chunk, elements - first);
        LOBIT_RETURN_IF_ERROR(encode_run(recode, first, n));
        ++chunks_;
        first += n;
        continue;
      }
      const ChunkedItem item{tensor_.name(), free - first, chunk, 0};
      LOBIT_RETURN_IF_ERROR(for_each_chunk(workers, {&item, 1}, {}, [&](size_t, const Chunk& part) {
        return encode_run(recode, first + part.first, part.count);
      }));
      chunks_ += (free - first + chunk - 1) / chunk;
      first = free;
    }
    return report_end(control);
  }

  // The first element behind `first` whose new bytes would reach the old ones of `first`.
  uint64_t independent_end(uint64_t first, uint64_t granule) const {
    const uint64_t room = from_rows_.code_offset(first);
    uint64_t low = first / granule;
    uint64_t high = shape_.elements() / granule;
    if (to_rows_.code_offset(shape_.elements()) <= room) return shape_.elements();
    while (low < high) {
      const uint64_t middle = low + (high - low + 1) / 2;
      if (to_rows_.code_offset(middle * granule) <= room) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return low * granule;
  }

  Status encode_run(const TensorRecoder& recode, uint64_t first, uint64_t count) {
    RecodeCounts counts;
    LOBIT_RETURN_IF_ERROR(recode.run(first, count, counts));
    add(counts);
    return {};
  }

  // What came before may not be stopped any more, so progress is told once.
  Status report_end(const RunControl& control) const {
    const ChunkedItem nothing{tensor_.name(), 0, 1, from_layout_.bytes};
    return control.progress ? for_each_chunk(ChunkWorkers{}, {&nothing, 1}, {.progress = control.progress},
                                             [](size_t, const Chunk&) { return Status{}; })
                            : Status{};
  }

  void place_scales(const Buffer& scales) const {
    const uint64_t codes = to_layout_.row_bytes * shape_.rows();
    std::fill(storage_ + codes, storage_ + to_layout_.scale_offset, std::byte{0});
    std::copy_n(scales.data(), buffer_bytes(), storage_ + to_layout_.scale_offset);
  }

  void add(const RecodeCounts& counts) {
    if (counts.encode.flushed == 0 && counts.saturated == 0) return;
    const std::lock_guard lock(mutex_);
    counts_ += counts;
  }

  const ValueFormat from_;
  const ValueFormat to_;
  const Shape shape_;
  const uint64_t columns_;
  const FormatLayout from_layout_;
  const FormatLayout to_layout_;
  const RowLayout from_rows_;
  const RowLayout to_rows_;
  const Tensor& tensor_;
  std::byte* const storage_;
  const TensorJobSpec& spec_;
  std::mutex mutex_;
  RecodeCounts counts_;
  uint64_t chunks_ = 0;
};

}  // namespace

Status check_in_place(ValueFormat from, ValueFormat to, const Shape& shape, uint64_t capacity) {
  const auto old_layout = format_layout(from, shape.rows(), shape.row_elements());
  const auto new_layout = format_layout(to, shape.rows(), shape.row_elements());
  LOBIT_CHECK(old_layout && new_layout);
  if (code_bits(to) <= code_bits(from) && new_layout->row_bytes <= old_layout->row_bytes &&
      new_layout->bytes <= std::max<uint64_t>(capacity, old_layout->bytes)) {
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("in place: {} bytes of {} cannot become {} bytes of {} where they lie: expected a "
                          "format that needs no more room",
                          old_layout->bytes, to_string(from), new_layout->bytes, to_string(to)),
              {.required = new_layout->bytes,
               .available = old_layout->bytes,
               .from = to_string(from),
               .to = to_string(to)});
}

Result<TensorJobFacts> convert_in_place(Tensor& tensor, const TensorJobSpec& spec, InPlaceChecks checks,
                                        const ChunkWorkers& workers, const RunControl& control) {
  TensorJobFacts facts;
  const bool copies = !tensor.is_exclusive();
  const uint64_t capacity = checked_round_up<uint64_t>(tensor.size_bytes(), kDefaultAlignment).value_or(0);
  LOBIT_RETURN_IF_ERROR(check_in_place(tensor.format(), spec.to, tensor.shape(), capacity));
  // A copy of shared storage, and what waits beside the values.
  LOBIT_TRY(const MemoryAccount::Hold copy, spec.account->hold(copies ? capacity : 0));
  LOBIT_TRY(const std::span<std::byte> bytes, tensor.mutable_bytes());
  // Before a byte changes: is this all of its block?
  LOBIT_RETURN_IF_ERROR(tensor.reformat(tensor.format()));
  {
    InPlaceJob job(tensor, bytes.data(), spec);
    LOBIT_TRY(const MemoryAccount::Hold hold, spec.account->hold(job.new_bytes()));
    LOBIT_RETURN_IF_ERROR(job.run(checks, workers, control));
    facts.counts = job.counts();
    facts.chunks = job.chunks();
    facts.allocated_bytes = copy.bytes() + hold.bytes();
    facts.peak_bytes = facts.allocated_bytes;
  }
  LOBIT_RETURN_IF_ERROR(tensor.reformat(spec.to));
  return facts;
}

}  // namespace lobit

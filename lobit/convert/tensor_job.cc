#include "lobit/convert/tensor_job.h"

#include <algorithm>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/base/check.h"
#include "lobit/convert/budget.h"
#include "lobit/memory/memory_tag.h"

namespace lobit {
namespace {

// Elements of a chunk whose bytes are about `chunk_bytes`: whole granules, at least one.
uint64_t elements_of(uint64_t chunk_bytes, uint64_t bytes, uint64_t elements, uint64_t granule) {
  if (elements == 0 || bytes <= chunk_bytes) return std::max<uint64_t>(1, elements);
  const double share = static_cast<double>(chunk_bytes) / static_cast<double>(bytes);
  const auto count = static_cast<uint64_t>(share * static_cast<double>(elements));
  return std::max<uint64_t>(1, count / granule) * granule;
}

FormatLayout layout_of(ValueFormat format, const Shape& shape) {
  const auto layout = format_layout(format, shape.rows(), shape.row_elements());
  LOBIT_CHECK(layout.has_value());
  return *layout;
}

// Invalid codes are looked for in bytes that lie in one piece.
bool needs_contiguous(const Tensor& source) {
  return source.format().encoding == Encoding::kTQ2_0 && !source.is_contiguous();
}

}  // namespace

Status check_convertible(const Tensor& source, ValueFormat to, Device device) {
  const ValueFormat from = source.format();
  const auto both = [&] { return ErrorDetail{.from = to_string(from), .to = to_string(to)}; };
  if (source.device() != device || device.kind != DeviceKind::kCpu) {
    return fail(
        ErrorCode::kDevice,
        fmt::format("tensor '{}': lies on {} and the conversion works on {}: expected both on the cpu "
                    "(to_device() moves a tensor)",
                    source.name(), device_name(source.device()), device_name(device)),
        {.from = device_name(source.device()), .to = device_name(device)});
  }
  if (!traits(from.encoding).can_decode && from.encoding != Encoding::kF32) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("tensor '{}': lobit cannot decode {}, so it cannot become {}", source.name(),
                            to_string(from), to_string(to)),
                both());
  }
  if (!traits(to.encoding).can_encode && to.encoding != Encoding::kF32) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("tensor '{}': lobit cannot encode {}, so {} cannot become it", source.name(),
                            to_string(to), to_string(from)),
                both());
  }
  if (format_layout(to, source.shape().rows(), source.shape().row_elements())) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("tensor '{}': {} cannot become {}: rows of {} do not divide by {}", source.name(),
                          source.shape().to_string(), to_string(to), source.shape().row_elements(),
                          border_elements(to)),
              {.required = border_elements(to),
               .available = source.shape().row_elements(),
               .from = to_string(from),
               .to = to_string(to)});
}

Result<TensorJob> TensorJob::create(const Tensor& source, const TensorJobSpec& spec) {
  const FormatLayout layout = layout_of(spec.to, source.shape());
  const uint64_t source_bytes = source.size_bytes();
  const TensorRecoderOptions options{
      .method = spec.method, .overflow = spec.overflow, .in_place = false, .memory = spec.memory};
  TensorRecoder recoder(source, spec.to, layout, options);
  const bool gather = needs_contiguous(source);
  const uint64_t new_bytes =
      layout.bytes + recoder.scratch_bytes() + recoder.stand_in_bytes() + (gather ? source_bytes : 0);
  LOBIT_TRY(MemoryAccount::Hold hold, spec.account->hold(new_bytes));
  std::unique_ptr<Tensor> gathered;
  if (gather) {
    LOBIT_TRY(Tensor copy, source.contiguous(*spec.memory));
    copy.set_name(source.name());
    gathered = std::make_unique<Tensor>(std::move(copy));
    recoder = TensorRecoder(*gathered, spec.to, layout, options);
  }
  LOBIT_TRY(Tensor result, Tensor::empty(source.shape(), spec.to, *spec.memory));
  if (!source.name().empty()) result.set_name(source.name());
  if (!source.tags().empty()) result.set_tags({source.tags().begin(), source.tags().end()});
  LOBIT_TRY(const std::span<std::byte> bytes, result.mutable_bytes());
  Buffer stand_ins;
  if (recoder.stand_in_bytes() > 0) {
    LOBIT_TRY(stand_ins, Buffer::allocate(*spec.memory, recoder.stand_in_bytes()));
  }
  if (!bytes.empty()) {
    recoder.set_target(bytes.data(), reinterpret_cast<float*>(bytes.data() + layout.scale_offset),
                       reinterpret_cast<float*>(stand_ins.data()));
  }
  if (spec.to.is_planar()) {
    // What lies between codes and scales is zero.
    const std::span<std::byte> codes = bytes.first(layout.scale_offset);
    std::ranges::fill(codes.subspan(layout.row_bytes * source.shape().rows()), std::byte{0});
  }
  const uint64_t granule = recoder.granule();
  TensorJob job(recoder, std::move(result), std::move(hold));
  job.gathered_ = std::move(gathered);
  job.stand_ins_ = std::move(stand_ins);
  job.chunk_elements_ =
      spec.chunk_bytes > 0
          ? elements_of(spec.chunk_bytes, source_bytes, source.elements(), granule)
          : elements_of(kUsualChunkBytes, source_bytes + layout.bytes, source.elements(), granule);
  job.allocated_bytes_ = new_bytes;
  return job;
}

TensorJob::TensorJob(TensorJob&& other) noexcept
    : recoder_(other.recoder_),
      gathered_(std::move(other.gathered_)),
      result_(std::move(other.result_)),
      stand_ins_(std::move(other.stand_ins_)),
      hold_(std::move(other.hold_)),
      chunk_elements_(other.chunk_elements_),
      allocated_bytes_(other.allocated_bytes_),
      flushed_(other.flushed_.load(std::memory_order_relaxed)),
      saturated_(other.saturated_.load(std::memory_order_relaxed)) {}

ChunkedItem TensorJob::measuring() const {
  return {.name = recoder_.source().name(), .elements = recoder_.measured_groups(), .chunk_elements = 1};
}

ChunkedItem TensorJob::encoding() const {
  return {.name = recoder_.source().name(),
          .elements = recoder_.elements(),
          .chunk_elements = chunk_elements_,
          .bytes = recoder_.source().size_bytes()};
}

void TensorJob::add(const RecodeCounts& counts) {
  if (counts.encode.flushed > 0) flushed_.fetch_add(counts.encode.flushed, std::memory_order_relaxed);
  if (counts.saturated > 0) saturated_.fetch_add(counts.saturated, std::memory_order_relaxed);
}

Status TensorJob::measure(const Chunk& chunk) {
  RecodeCounts counts;
  LOBIT_RETURN_IF_ERROR(recoder_.measure(chunk.first, counts));
  add(counts);
  return {};
}

Status TensorJob::encode(const Chunk& chunk) {
  RecodeCounts counts;
  LOBIT_RETURN_IF_ERROR(recoder_.run(chunk.first, chunk.count, counts));
  add(counts);
  return {};
}

Status TensorJob::run(const ChunkWorkers& workers, const RunControl& control) {
  if (recoder_.measured_groups() > 0) {
    // One group after the other: scratch for one is all that was counted.
    const ChunkWorkers measurers = recoder_.scratch_bytes() > 0 ? ChunkWorkers{} : workers;
    const ChunkedItem groups = measuring();
    LOBIT_RETURN_IF_ERROR(for_each_chunk(measurers, {&groups, 1}, {.stop = control.stop},
                                         [&](size_t, const Chunk& chunk) { return measure(chunk); }));
  }
  // The way of small tensors: no list, no threads.
  if (recoder_.elements() > 0 && recoder_.elements() <= chunk_elements_ && !control.progress &&
      !control.stop.stop_requested()) {
    return encode({.first = 0, .count = recoder_.elements()});
  }
  const ChunkedItem values = encoding();
  return for_each_chunk(workers, {&values, 1}, control,
                        [&](size_t, const Chunk& chunk) { return encode(chunk); });
}

Tensor TensorJob::take_result(MemoryAccount::Hold* hold) {
  MemoryAccount::Hold ended = std::move(hold_);
  if (hold != nullptr) *hold = std::move(ended);
  stand_ins_ = {};
  return std::move(result_);
}

TensorJobFacts TensorJob::facts() const {
  TensorJobFacts facts;
  facts.counts.encode.flushed = flushed_.load(std::memory_order_relaxed);
  facts.counts.saturated = saturated_.load(std::memory_order_relaxed);
  facts.allocated_bytes = allocated_bytes_;
  facts.peak_bytes = allocated_bytes_;
  const ChunkedItem values = encoding();
  facts.chunks = (values.elements + values.chunk_elements - 1) / values.chunk_elements;
  return facts;
}

}  // namespace lobit

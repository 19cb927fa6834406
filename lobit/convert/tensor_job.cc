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

// Invalid codes are looked for in bytes that lie in one piece.
bool needs_contiguous(const Tensor& source) {
  return source.format().encoding == Encoding::kTQ2_0 && !source.is_contiguous();
}

}  // namespace

Result<FormatLayout> check_convertible(const Tensor& source, ValueFormat to, Device device) {
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
  if (const auto layout = format_layout(to, source.shape().rows(), source.shape().row_elements())) {
    return *layout;
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("tensor '{}': {} cannot become {}: rows of {} do not divide by {}", source.name(),
                          source.shape().to_string(), to_string(to), source.shape().row_elements(),
                          border_elements(to)),
              {.required = border_elements(to),
               .available = source.shape().row_elements(),
               .from = to_string(from),
               .to = to_string(to)});
}

TensorJob::TensorJob(const Tensor& source, const FormatLayout& layout, const TensorJobSpec& spec)
    : source_(source), layout_(layout), spec_(spec), recoder_(source, spec.to, layout, recoder_options()) {}

TensorRecoderOptions TensorJob::recoder_options() const {
  return {.method = spec_.method, .overflow = spec_.overflow, .in_place = false, .memory = spec_.memory};
}

Status TensorJob::take_memory() {
  const uint64_t source_bytes = source_.size_bytes();
  const bool gather = needs_contiguous(source_);
  allocated_bytes_ =
      layout_.bytes + recoder_.scratch_bytes() + recoder_.stand_in_bytes() + (gather ? source_bytes : 0);
  LOBIT_TRY(hold_, spec_.account->hold(allocated_bytes_));
  if (gather) {
    LOBIT_TRY(gathered_, source_.contiguous(*spec_.memory));
    gathered_->set_name(source_.name());
    recoder_ = TensorRecoder(*gathered_, spec_.to, layout_, recoder_options());
  }
  LOBIT_TRY(result_, Tensor::empty(source_.shape(), spec_.to, *spec_.memory));
  if (!source_.name().empty()) result_.set_name(source_.name());
  if (!source_.tags().empty()) result_.set_tags({source_.tags().begin(), source_.tags().end()});
  LOBIT_TRY(const std::span<std::byte> bytes, result_.mutable_bytes());
  if (recoder_.stand_in_bytes() > 0) {
    LOBIT_TRY(stand_ins_, Buffer::allocate(*spec_.memory, recoder_.stand_in_bytes()));
  }
  if (!bytes.empty()) {
    recoder_.set_target(bytes.data(), reinterpret_cast<float*>(bytes.data() + layout_.scale_offset),
                        reinterpret_cast<float*>(stand_ins_.data()));
  }
  if (spec_.to.is_planar()) {
    // What lies between codes and scales is zero.
    const std::span<std::byte> codes = bytes.first(layout_.scale_offset);
    std::ranges::fill(codes.subspan(layout_.row_bytes * source_.shape().rows()), std::byte{0});
  }
  const uint64_t granule = recoder_.granule();
  chunk_elements_ =
      spec_.chunk_bytes > 0
          ? elements_of(spec_.chunk_bytes, source_bytes, source_.elements(), granule)
          : elements_of(kUsualChunkBytes, source_bytes + layout_.bytes, source_.elements(), granule);
  return {};
}

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

#include "lobit/convert/budget.h"

#include <algorithm>

#include <fmt/format.h>

#include "lobit/base/bytes.h"

namespace lobit {
namespace {

// A thread's stack and what the system keeps for it.
constexpr uint64_t kThreadBytes = 64 << 10;

uint64_t held_bytes(const std::string& text) {
  return text.capacity() < sizeof text / 2 ? 0 : text.capacity() + 1;
}

}  // namespace

uint64_t held_bytes(const Model& model) {
  uint64_t bytes = model.tensors.capacity() * sizeof(TensorEntry);
  for (const TensorEntry& tensor : model.tensors) bytes += held_bytes(tensor.name);
  for (const MetadataEntry& entry : model.metadata.entries()) {
    bytes += sizeof entry + held_bytes(entry.key) + held_bytes(entry.value.bytes);
  }
  return bytes;
}

uint64_t held_bytes(const ConversionPlan& plan) {
  uint64_t bytes = plan.tensors.capacity() * sizeof(PlannedTensor);
  for (const PlannedFile& file : plan.files) bytes += sizeof file + held_bytes(file.header);
  for (const PlannedCopy& copy : plan.copies) bytes += sizeof copy + held_bytes(copy.text);
  return bytes;
}

Result<WorkerBudget> worker_budget(uint64_t held, uint64_t limit, size_t threads, uint64_t usual,
                                   uint64_t least_chunk) {
  WorkerBudget budget{threads, usual};
  if (limit == 0) return budget;
  const uint64_t fixed = Recoder::kTileBytes + kThreadBytes;
  const uint64_t least = held + fixed + least_chunk;
  if (limit < least) {
    return fail(
        ErrorCode::kLimit,
        fmt::format("memory limit {}: too small for this model: the least that works is {} ({} bytes)",
                    format_bytes(limit), format_bytes(least), least),
        {.required = least, .available = limit});
  }
  const uint64_t free = limit - held;
  budget.threads = static_cast<size_t>(std::min<uint64_t>(threads, free / (fixed + least_chunk)));
  budget.chunk_bytes = std::min(usual, (free / budget.threads - fixed) & ~uint64_t{4095});
  return budget;
}

uint64_t chunk_elements(Encoding from, Encoding to, uint64_t chunk_bytes) {
  const EncodingTraits& f = traits(from);
  const EncodingTraits& t = traits(to);
  // Blocks are powers of two, so the larger is a multiple of the smaller.
  const uint64_t granule = std::max(f.block_elements, t.block_elements);
  uint64_t bytes = granule / f.block_elements * f.block_bytes;
  if (from != to) bytes += granule / t.block_elements * t.block_bytes;
  return std::max<uint64_t>(1, (chunk_bytes - 64) / bytes) *
         granule;  // 64: the target starts on a cache line
}

}  // namespace lobit

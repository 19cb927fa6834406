// Sizes: what a model and a plan hold in memory, and how a worker's buffer is divided.
#pragma once

#include <cstdint>

#include "lobit/base/result.h"
#include "lobit/convert/plan.h"
#include "lobit/convert/recode.h"
#include "lobit/format/model.h"

namespace lobit {

// A worker's buffer holds a tile and one chunk, source and target together. The usual chunk stays in the
// second-level cache; the least still holds a block of every pair of encodings.
inline constexpr uint64_t kUsualChunkBytes = 1 << 20;
inline constexpr uint64_t kLeastChunkBytes = 48 << 10;

// About what a model's headers and a plan hold on the heap.
uint64_t held_bytes(const Model& model);
uint64_t held_bytes(const ConversionPlan& plan);

// What was held at most while `plan` was made from `model`, both included.
uint64_t planning_bytes(const Model& model, const ConversionPlan& plan);

// Elements of a chunk: a multiple of both encodings' blocks whose source and target bytes fit `chunk_bytes`.
uint64_t chunk_elements(Encoding from, Encoding to, uint64_t chunk_bytes);

// Where the target's bytes begin in a worker's buffer: behind tile and source, on a cache line.
inline size_t target_offset(size_t source_bytes) {
  return Recoder::kTileBytes + ((source_bytes + 63) & ~size_t{63});
}

// Bytes of `elements` values, a multiple of the block and known to fit.
inline uint64_t bytes_before(Encoding encoding, uint64_t elements) {
  const EncodingTraits& t = traits(encoding);
  return elements / t.block_elements * t.block_bytes;
}

}  // namespace lobit

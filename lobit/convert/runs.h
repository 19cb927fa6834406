// Runs: the fixed pieces in which tensors are summed and hashed, so that results depend neither on threads
// nor on memory limits.
#pragma once

#include <cstdint>
#include <span>

#include "lobit/base/result.h"
#include "lobit/convert/budget.h"
#include "lobit/convert/chunks.h"
#include "lobit/format/model.h"

namespace lobit {

inline constexpr uint64_t kRunElements = 262'144;
// The most bytes of a run: 8-byte numbers.
inline constexpr uint64_t kRunBytes = kRunElements * 8;

inline uint64_t run_count(uint64_t elements) {
  return elements / kRunElements + (elements % kRunElements != 0 ? 1 : 0);
}

// Reads the run `chunk` of a tensor into `bytes`, which is cut to its size.
inline Status read_run(const Model& model, const TensorEntry& tensor, const Chunk& chunk,
                       std::span<std::byte>& bytes) {
  bytes = bytes.first(bytes_before(tensor.encoding, chunk.count));
  return model.parts[tensor.part].file.read_at(tensor.offset + bytes_before(tensor.encoding, chunk.first),
                                               bytes);
}

}  // namespace lobit

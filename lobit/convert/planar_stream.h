// PlanarStream: chunks of one tensor from file to file where one of the formats is planar: its codes lie row
// after row, its F32 scales behind them, as in a tensor's memory. A chunk writes its part of either. Borrows
// the files; after measure() any number of threads may convert different chunks. Not installed.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "lobit/base/result.h"
#include "lobit/convert/chunks.h"
#include "lobit/convert/file_stream.h"
#include "lobit/convert/planar_group.h"

namespace lobit {

class PlanarStream {
 public:
  PlanarStream(const FileValues& from, const FileTarget& to, const RowLayout& from_rows,
               const RowLayout& to_rows, QuantizeMethod method, OverflowRule overflow);

  // Chunks begin at multiples of this, and their length is one, or reaches to the end: whole rows where a row
  // has one scale.
  static uint64_t granule(const RowLayout& from, const RowLayout& to, uint64_t rows);
  // What a buffer holds for chunks of so many elements: the values, and codes and scales of both formats.
  static uint64_t buffer_bytes(const RowLayout& from, const RowLayout& to, uint64_t elements);

  // kUnsupported when the target's scale needs more of the values at once than a chunk.
  Status check_method() const;
  // How often measure() reads all values: not at all unless the target has one scale for them; then once, and
  // once more when some are not finite and may saturate.
  static constexpr size_t kMostMeasures = 2;
  size_t most_measures() const;
  // Finds the scale of all values, where the target has one: chunk by chunk of the whole tensor, in this
  // thread. The controls are for the one and the other read. Once, before convert().
  Status measure(const ChunkedItem& values, std::span<std::byte> buffer,
                 const std::array<RunControl, kMostMeasures>& controls, RecodeCounts& counts);
  // Reads, decodes, encodes and writes. Adds to `counts`.
  Status convert(const Chunk& chunk, std::span<std::byte> buffer, RecodeCounts& counts) const;

 private:
  struct Parts;

  bool is_copy() const { return from_rows_.format == to_rows_.format; }
  Status read(const Chunk& chunk, const Parts& parts) const;
  void decode(const Chunk& chunk, const Parts& parts) const;
  Status check_codes_of(const Chunk& chunk, const Parts& parts) const;
  Status encode(const Chunk& chunk, const Parts& parts, RecodeCounts& counts) const;
  Status encode_blocks(const Chunk& chunk, const Parts& parts, RecodeCounts& counts) const;
  Status encode_piece(uint64_t first, uint64_t count, float* values, std::byte* codes, float* scales,
                      RecodeCounts& counts) const;
  Status write(const Chunk& chunk, const Parts& parts) const;
  Status refuse(uint64_t first, const float* values, uint64_t count) const;

  const FileValues& from_;
  const FileTarget& to_;
  RowLayout from_rows_;
  RowLayout to_rows_;
  PlanarScaleSpec scales_;
  float scale_ = 0;    // of a target with one for all
  float largest_ = 0;  // what its values that are not finite become
};

}  // namespace lobit

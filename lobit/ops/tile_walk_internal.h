// TileWalk: the one way in which element-wise operations go through operands of any strides and formats. The
// axes of the result are merged as far as all operands allow; what is left is cut into tiles of rows along
// one axis and columns along the last. An operand whose values lie in order as F32 (or other plain
// numbers), or are one value for a whole row, is read where it lies; any other is copied or decoded into
// scratch space that the first cache holds, transposed ones by whole cache lines. Not installed.
//
// A walk refers to the tensors that it was made of. run() may be called from one thread at a time; it uses
// the context's threads, for tiles that do not depend on their number.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "lobit/kernels/codec.h"
#include "lobit/kernels/elementwise.h"
#include "lobit/ops/op_internal.h"

namespace lobit::detail {

// Some values of one row of an operand: floats, or other plain numbers as they are.
struct TileInput {
  template <typename T>
  kernels::Run<T> run() const {
    return {reinterpret_cast<const T*>(values), repeats};
  }

  const std::byte* values = nullptr;
  bool repeats = false;  // one value stands for all
};
inline constexpr size_t kMaxOperands = 3;
using TileInputs = std::array<TileInput, kMaxOperands>;

// What rows write: floats, which the walk stores as F16 or BF16 where the result has such a format, or values
// in the format and at the place that they have in the result. Rows of kHalves do so, and get their operands,
// which have the same format F16 or BF16, as they are, too.
enum class RowResult : uint8_t { kAsFloats, kAsStored, kHalves };

class TileWalk {
 public:
  // First of all, once. Operands that passed check_operand() or hold other plain numbers, which the rows get
  // as they are, and whose shapes broadcast to `shape`, which the result has in one piece. The errors of the
  // context's memory, for an operand of blocks that repeats.
  Status plan(std::span<const Tensor* const> operands, const Shape& shape, const Output& output,
              RowResult results, const OpContext& context);

  // Calls row(inputs, out, count, store) for pieces that make up the result.
  template <typename Row>
  void run(const OpContext& context, const Row& row) const {
    for_each_range(context, tiles_, tiles_per_piece_, [&](uint64_t first, uint64_t count) {
      Scratch scratch;
      for (uint64_t index = first; index < first + count; ++index) {
        const Place place = place_of(index);
        Tile tile = prepare(place, scratch);
        for (size_t r = 0; r < tile.rows; ++r) {
          row(tile.inputs, tile.out, tile.columns, store_);
          for (size_t i = 0; i < sources_count_; ++i) tile.inputs[i].values += tile.steps[i];
          tile.out += tile.out_step;
        }
        if (encode_ != nullptr) encode_tile(place, scratch);
      }
      if (store_ == kernels::Store::kPastCaches) kernels::flush_stores();
    });
  }

 private:
  static constexpr size_t kMaxRank = Shape::kMaxRank;
  using Extents = std::array<uint64_t, kMaxRank>;
  using Strides = std::array<int64_t, kMaxRank>;

  struct Source {
    const std::byte* first = nullptr;  // of plain numbers
    bool aligned = false;              // as their type wants it
    const Tensor* blocks = nullptr;    // of other operands
    kernels::DecodeFn decode = nullptr;
    size_t bytes = 0;   // of a number
    Strides strides{};  // in numbers, along the walk's axes
  };
  struct Scratch {
    alignas(64) std::array<std::array<float, kTileValues>, kMaxOperands> values;
    alignas(64) std::array<float, kTileValues> out;
    alignas(64) std::array<uint16_t, kTileValues> halves;
  };
  // Rows of a tile in memory.
  struct Tile {
    TileInputs inputs;
    std::array<ptrdiff_t, kMaxOperands> steps{};  // bytes from row to row
    std::byte* out = nullptr;
    size_t out_step = 0;
    size_t rows = 0;
    size_t columns = 0;
  };
  // Which part of the result a tile is.
  struct Place {
    Extents at{};
    size_t rows = 1;
    size_t columns = 1;
    uint64_t element = 0;  // of the result
  };

  void set_output(const Output& output, RowResult results, std::span<const Tensor* const> operands,
                  const Shape& shape);
  Status add_source(const Tensor& operand, const Shape& shape, RowResult results, const OpContext& context);
  void merge_axes(const Shape& shape);
  bool merges(size_t axis, uint64_t extent) const;
  bool is_direct(const Source& source) const;
  const Source* choose_row_axis();
  void cut_tiles();

  Place place_of(uint64_t index) const;
  Tile prepare(const Place& place, Scratch& scratch) const;
  // Source `number` as the tile's input: its values at the place, and the bytes from row to row.
  void read(size_t number, const Place& place, Scratch& scratch, Tile& tile) const;
  void read_blocks(const Source& source, const Place& place, float* values) const;
  void merge_rows(Tile& tile) const;
  void encode_tile(const Place& place, const Scratch& scratch) const;

  // Of a number that rows get.
  static size_t input_bytes(const Source& source) {
    return source.decode != nullptr ? sizeof(float) : source.bytes;
  }
  uint64_t tile_extent(size_t axis) const {
    return axis == last_axis() ? tile_columns_ : axis == row_axis_ ? tile_rows_ : 1;
  }
  size_t last_axis() const { return rank_ - 1; }
  // From a tile's row to the next.
  int64_t row_stride(const Strides& strides) const {
    return row_axis_ == last_axis() ? 0 : strides[row_axis_];
  }

  std::array<Source, kMaxOperands> sources_;
  std::array<std::optional<Tensor>, kMaxOperands> decoded_;  // repeating operands of blocks, as F32
  size_t sources_count_ = 0;
  bool keeps_rows_ = false;  // an operand of blocks can be cut at the ends of its rows only

  // The axes of the walk, at least one; the last is along a tile's columns.
  size_t rank_ = 0;
  Extents extents_{};
  Strides out_strides_{};
  size_t row_axis_ = 0;  // along a tile's rows; the last axis where tiles have one row
  size_t tile_rows_ = 1;
  size_t tile_columns_ = 1;
  uint64_t tiles_ = 0;
  uint64_t tiles_per_piece_ = 1;

  std::byte* out_ = nullptr;
  size_t out_bytes_ = 0;                // of a result's value
  kernels::EncodeFn encode_ = nullptr;  // of results that are not computed where they are stored
  kernels::Store store_ = kernels::Store::kCached;
};

}  // namespace lobit::detail

#include <bit>
#include <cstring>
#include <utility>

#include "lobit/base/check.h"
#include "lobit/ops/tile_walk_internal.h"

namespace lobit::detail {
namespace {

// Values of a piece of work for one thread, and of a tile that needs no scratch space.
constexpr uint64_t kPieceValues = uint64_t{1} << 16;

// Results from here on are stored past the caches.
constexpr uint64_t kLargeBytes = uint64_t{32} << 20;

constexpr size_t kLineBytes = 64;

// No block and no group of a planar format is longer.
constexpr size_t kLongestBlock = 256;

template <size_t kBytes>
void copy_numbers_of(const std::byte* from, int64_t row_stride, int64_t column_stride, size_t rows,
                     size_t columns, std::byte* to) {
  const auto copy = [&](size_t r, size_t c) {
    const int64_t at = static_cast<int64_t>(r) * row_stride + static_cast<int64_t>(c) * column_stride;
    std::memcpy(to + (r * columns + c) * kBytes, from + at * static_cast<int64_t>(kBytes), kBytes);
  };
  if (row_stride < column_stride) {
    // Lines that far apart are not foreseen by the machine.
    constexpr size_t kAhead = 16;
    for (size_t c = 0; c < columns; ++c) {
      const auto ahead = static_cast<int64_t>(std::min(c + kAhead, columns - 1));
      __builtin_prefetch(from + ahead * column_stride * static_cast<int64_t>(kBytes));
      for (size_t r = 0; r < rows; ++r) copy(r, c);
    }
  } else {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < columns; ++c) copy(r, c);
    }
  }
}

// rows x columns numbers, `row_stride` and `column_stride` apart, to rows in order. The inner loop goes along
// the lines of the source.
void copy_numbers(const std::byte* from, size_t bytes, int64_t row_stride, int64_t column_stride, size_t rows,
                  size_t columns, std::byte* to) {
  switch (bytes) {
    case 1:
      return copy_numbers_of<1>(from, row_stride, column_stride, rows, columns, to);
    case 2:
      return copy_numbers_of<2>(from, row_stride, column_stride, rows, columns, to);
    case 4:
      return copy_numbers_of<4>(from, row_stride, column_stride, rows, columns, to);
    default:
      return copy_numbers_of<8>(from, row_stride, column_stride, rows, columns, to);
  }
}

// Where the operand's numbers begin; nullptr when it has blocks or planes.
const std::byte* first_plain(const Tensor& operand) {
  if (operand.format().is_planar() || border_elements(operand.format()) != 1) return nullptr;
  const auto first = operand.first_number();
  return first.has_value() ? *first : nullptr;
}

}  // namespace

Status TileWalk::plan(std::span<const Tensor* const> operands, const Shape& shape, const Output& output,
                      RowResult results, const OpContext& context) {
  LOBIT_CHECK(operands.size() <= kMaxOperands);
  set_output(output, results, operands, shape);
  if (shape.elements() == 0) return {};
  for (const Tensor* operand : operands) {
    LOBIT_RETURN_IF_ERROR(add_source(*operand, shape, results, context));
  }
  merge_axes(shape);
  cut_tiles();
  return {};
}

void TileWalk::set_output(const Output& output, RowResult results, std::span<const Tensor* const> operands,
                          const Shape& shape) {
  out_ = output.bytes();
  out_bytes_ = traits(output.encoding()).block_bytes;
  if (results == RowResult::kAsFloats) encode_ = kernels::encoder(Encoding::kF32, output.encoding());
  if (encode_ != nullptr || shape.elements() < kLargeBytes / out_bytes_) return;
  const bool in_place = std::ranges::any_of(operands, [&](const Tensor* operand) {
    const auto bytes = operand->bytes();
    return bytes.has_value() && bytes->data() == out_;
  });
  if (!in_place) store_ = kernels::Store::kPastCaches;
}

Status TileWalk::add_source(const Tensor& operand, const Shape& shape, RowResult results,
                            const OpContext& context) {
  const Tensor* tensor = &operand;
  const ValueFormat format = operand.format();
  Source& source = sources_[sources_count_];
  source.bytes = sizeof(float);
  if (const std::byte* const first = first_plain(operand); first != nullptr) {
    source.first = first;
    source.bytes = traits(format.encoding).block_bytes;
    if (results != RowResult::kHalves) source.decode = kernels::decoder(format.encoding);
  } else if (operand.elements() == shape.elements()) {
    source.blocks = &operand;
    const uint64_t row = operand.shape().row_elements();
    if (row > 1 && row % border_elements(format) != 0) keeps_rows_ = true;
  } else {
    LOBIT_TRY(decoded_[sources_count_], decoded(operand, context));
    tensor = &*decoded_[sources_count_];
    LOBIT_TRY(source.first, tensor->first_number());
  }
  source.aligned = reinterpret_cast<uintptr_t>(source.first) % source.bytes == 0;
  const size_t added = shape.rank() - tensor->shape().rank();
  int64_t next = 1;
  for (size_t axis = shape.rank(); axis-- > 0; next *= shape[axis]) {
    const bool repeats = axis < added || tensor->shape()[axis - added] == 1;
    source.strides[axis] = repeats ? 0 : tensor->strides()[axis - added];
    if (source.blocks != nullptr) source.strides[axis] = next;  // runs are counted in the result's order
  }
  ++sources_count_;
  return {};
}

// Whether an axis of `extent`, whose strides are in place `axis`, continues the walk's last one.
bool TileWalk::merges(size_t axis, uint64_t extent) const {
  if (rank_ == 0) return false;
  return std::ranges::all_of(std::span(sources_).first(sources_count_), [&](const Source& source) {
    return source.strides[last_axis()] == source.strides[axis] * static_cast<int64_t>(extent);
  });
}

void TileWalk::merge_axes(const Shape& shape) {
  for (size_t axis = 0; axis < shape.rank(); ++axis) {
    const auto extent = static_cast<uint64_t>(shape[axis]);
    if (extent == 1) continue;
    const bool stays = keeps_rows_ && axis + 1 == shape.rank();
    if (!stays && merges(axis, extent)) {
      extents_[last_axis()] *= extent;
    } else {
      extents_[rank_++] = extent;
    }
    for (size_t i = 0; i < sources_count_; ++i) sources_[i].strides[last_axis()] = sources_[i].strides[axis];
  }
  if (rank_ == 0) {
    extents_[rank_++] = 1;
    for (size_t i = 0; i < sources_count_; ++i) sources_[i].strides[0] = 0;
  }
  int64_t next = 1;
  for (size_t axis = rank_; axis-- > 0; next *= static_cast<int64_t>(extents_[axis]))
    out_strides_[axis] = next;
}

// Whether rows of the source are used where they lie.
bool TileWalk::is_direct(const Source& source) const {
  const int64_t stride = source.strides[last_axis()];
  return source.first != nullptr && source.aligned && source.decode == nullptr &&
         (stride == 0 || stride == 1);
}

// The axis along a tile's rows: of a transposed operand, which is returned, that along which its numbers are
// neighbours, else the last but one.
const TileWalk::Source* TileWalk::choose_row_axis() {
  row_axis_ = rank_ > 1 ? rank_ - 2 : 0;
  for (const Source& source : std::span(sources_).first(sources_count_)) {
    int64_t nearest = source.strides[last_axis()];
    if (source.first == nullptr || nearest <= 1) continue;
    const Source* found = nullptr;
    for (size_t axis = 0; axis < last_axis(); ++axis) {
      if (source.strides[axis] == 0 || source.strides[axis] >= nearest) continue;
      nearest = source.strides[axis];
      row_axis_ = axis;
      found = &source;
    }
    if (found != nullptr) return found;
  }
  return nullptr;
}

void TileWalk::cut_tiles() {
  const std::span<const Source> sources = std::span(sources_).first(sources_count_);
  const bool direct = encode_ == nullptr && std::ranges::all_of(sources, [this](const Source& source) {
                        return is_direct(source);
                      });
  const bool wide =
      std::ranges::any_of(sources, [](const Source& source) { return source.bytes > sizeof(float); });
  const uint64_t limit = direct ? kPieceValues : wide ? kTileValues / 2 : kTileValues;
  const Source* const transposed = choose_row_axis();
  const uint64_t rows = row_axis_ == last_axis() ? 1 : extents_[row_axis_];
  const uint64_t columns = extents_[last_axis()];
  if (transposed != nullptr) {
    const bool blocks =
        std::ranges::any_of(sources, [](const Source& source) { return source.blocks != nullptr; });
    const size_t line = kLineBytes / transposed->bytes;
    tile_rows_ = std::min<uint64_t>(rows, blocks ? std::min(line, kTileValues / kLongestBlock) : line);
    // A power of two, so that blocks are not cut.
    tile_columns_ = std::min<uint64_t>(columns, limit / std::bit_ceil(tile_rows_));
  } else {
    tile_columns_ = std::min(columns, limit);
    tile_rows_ = std::min(rows, std::max<uint64_t>(1, limit / tile_columns_));
  }
  tiles_ = 1;
  for (size_t axis = 0; axis < rank_; ++axis) tiles_ *= (extents_[axis] - 1) / tile_extent(axis) + 1;
  tiles_per_piece_ = std::max<uint64_t>(1, kPieceValues / (tile_rows_ * tile_columns_));
}

TileWalk::Place TileWalk::place_of(uint64_t index) const {
  Place place;
  const auto cut = [&](size_t axis) {
    const uint64_t extent = tile_extent(axis);
    const uint64_t parts = (extents_[axis] - 1) / extent + 1;
    place.at[axis] = index % parts * extent;
    index /= parts;
    place.element += place.at[axis] * static_cast<uint64_t>(out_strides_[axis]);
    return std::min(extent, extents_[axis] - place.at[axis]);
  };
  place.columns = cut(last_axis());
  if (row_axis_ != last_axis()) place.rows = cut(row_axis_);
  for (size_t axis = last_axis(); axis-- > 0;) {
    if (axis != row_axis_) cut(axis);
  }
  return place;
}

TileWalk::Tile TileWalk::prepare(const Place& place, Scratch& scratch) const {
  Tile tile;
  tile.rows = place.rows;
  tile.columns = place.columns;
  if (encode_ != nullptr) {
    tile.out = reinterpret_cast<std::byte*>(scratch.out.data());
    tile.out_step = place.columns * sizeof(float);
  } else {
    tile.out = out_ + place.element * out_bytes_;
    tile.out_step = static_cast<size_t>(row_stride(out_strides_)) * out_bytes_;
  }
  for (size_t i = 0; i < sources_count_; ++i) read(i, place, scratch, tile);
  merge_rows(tile);
  return tile;
}

void TileWalk::read(size_t number, const Place& place, Scratch& scratch, Tile& tile) const {
  const Source& source = sources_[number];
  TileInput& input = tile.inputs[number];
  float* const values = scratch.values[number].data();
  input.values = reinterpret_cast<const std::byte*>(values);
  if (source.blocks != nullptr) {
    read_blocks(source, place, values);
    tile.steps[number] = static_cast<ptrdiff_t>(place.columns * sizeof(float));
    return;
  }
  int64_t offset = 0;
  for (size_t axis = 0; axis < rank_; ++axis) {
    offset += static_cast<int64_t>(place.at[axis]) * source.strides[axis];
  }
  const auto bytes = static_cast<int64_t>(source.bytes);
  const std::byte* const from = source.first + offset * bytes;
  const int64_t rows_apart = row_stride(source.strides);
  const int64_t columns_apart = source.strides[last_axis()];
  input.repeats = columns_apart == 0;
  if (is_direct(source)) {
    input.values = from;
    tile.steps[number] = rows_apart * bytes;
    return;
  }
  const size_t columns = input.repeats ? 1 : place.columns;
  tile.steps[number] = static_cast<ptrdiff_t>(columns * input_bytes(source));
  if (source.decode == nullptr) {
    copy_numbers(from, source.bytes, rows_apart, columns_apart, place.rows, columns,
                 reinterpret_cast<std::byte*>(values));
  } else if (columns_apart == 1) {
    for (size_t r = 0; r < place.rows; ++r) {
      source.decode(from + static_cast<int64_t>(r) * rows_apart * bytes, values + r * columns, columns);
    }
  } else {
    copy_numbers(from, source.bytes, rows_apart, columns_apart, place.rows, columns,
                 reinterpret_cast<std::byte*>(scratch.halves.data()));
    source.decode(scratch.halves.data(), values, place.rows * columns);
  }
}

void TileWalk::read_blocks(const Source& source, const Place& place, float* values) const {
  const auto next = static_cast<uint64_t>(row_stride(out_strides_));
  if (place.rows == 1 || next == place.columns) {
    return source.blocks->decode_run(place.element, place.rows * place.columns, values);
  }
  for (size_t r = 0; r < place.rows; ++r) {
    source.blocks->decode_run(place.element + r * next, place.columns, values + r * place.columns);
  }
}

// Makes one row of those that follow each other everywhere.
void TileWalk::merge_rows(Tile& tile) const {
  if (tile.rows == 1 || tile.out_step != tile.columns * (encode_ != nullptr ? sizeof(float) : out_bytes_))
    return;
  for (size_t i = 0; i < sources_count_; ++i) {
    const size_t row = tile.inputs[i].repeats ? 0 : tile.columns * input_bytes(sources_[i]);
    if (tile.steps[i] != static_cast<ptrdiff_t>(row)) return;
  }
  tile.columns *= std::exchange(tile.rows, 1);
}

void TileWalk::encode_tile(const Place& place, const Scratch& scratch) const {
  const auto next = static_cast<uint64_t>(row_stride(out_strides_));
  const auto encode = [&](size_t row, size_t count) {
    encode_(scratch.out.data() + row * place.columns, out_ + (place.element + row * next) * out_bytes_,
            count);
  };
  if (place.rows == 1 || next == place.columns) return encode(0, place.rows * place.columns);
  for (size_t r = 0; r < place.rows; ++r) encode(r, place.columns);
}

}  // namespace lobit::detail

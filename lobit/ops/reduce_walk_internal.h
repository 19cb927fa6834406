// The walk of a reduction: which values are read when, and by which thread. Not installed.
//
// A Reduction is a plain value with
//   Value           what the values of a result have become: trivial
//   nothing()       the Value of no values
//   reduce_runs(values, runs, count, results) of whole runs
//   Run             takes a run of values: add(values, count, place of the first); value()
//   Columns         takes rows of up to kTileValues columns: Columns(reduction, width);
//                   add(values, rows, stride, number of the first row); value(column, place, step), where row
//                   r was in place + r * step
//   join(a, b)      of two parts, in the order of their places unless it says so
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "lobit/memory/buffer.h"
#include "lobit/ops/op_internal.h"
#include "lobit/ops/reduce_plan_internal.h"

namespace lobit::detail {

template <typename Reduction>
class ReduceWalk {
 public:
  using Value = typename Reduction::Value;

  ReduceWalk(const ReducePlan& plan, const OpContext& context, const Reduction& reduction)
      : plan_(plan), context_(context), reduction_(reduction), reader_(plan.view) {
    const uint64_t depth = std::max<uint64_t>(1, plan.reduced);
    // Results that are computed together: of one outer index when there are columns.
    block_ = plan.columns > 1 ? std::min<uint64_t>(plan.columns, kTileValues)
                              : std::clamp<uint64_t>(kPart / depth, 1, kTileValues);
    blocks_per_outer_ = plan.columns > 1 ? (plan.columns - 1) / block_ + 1 : 1;
    blocks_ = plan.columns > 1 ? plan.outer * blocks_per_outer_ : (plan.outer + block_ - 1) / block_;
    cut_depth(depth);
  }

  // Calls finish(first, values, count) for results `first` on, at most kTileValues, from any of the context's
  // threads. The errors of the context's memory.
  template <typename Finish>
  Status run(const Finish& finish) const {
    if (plan_.results() == 0) return {};
    if (parts_ > 1) return run_in_parts(finish);
    const uint64_t grain = std::max<uint64_t>(1, kPart / (block_ * std::max<uint64_t>(1, plan_.reduced)));
    for_each_range(context_, blocks_, grain, [&](uint64_t first, uint64_t count) {
      std::array<Value, kTileValues> values;
      for (uint64_t block = first; block < first + count; ++block) {
        const Place place = place_of(block);
        reduce(place, 0, plan_.reduced, values.data());
        finish(place.result, values.data(), place.count);
      }
    });
    return {};
  }

 private:
  // Values of an item of work: long enough for a thread to pick up, short enough for the second cache.
  static constexpr uint64_t kPart = 65'536;
  // With fewer blocks than this, and much to reduce, the reduced axes are cut too.
  static constexpr uint64_t kEnoughBlocks = 32;
  static constexpr uint64_t kMaxParts = 256;
  // Rows that int32 places count.
  static constexpr uint64_t kMostRows = uint64_t{1} << 30;

  struct Place {
    uint64_t outer;
    uint64_t column;
    uint64_t result;
    uint64_t count;
  };

  void cut_depth(uint64_t depth) {
    part_ = depth;
    if ((blocks_ < kEnoughBlocks && depth >= 2 * kPart / block_) || depth > kMostRows) {
      // So long that what the parts leave is small beside what they read, and at borders of every format.
      const uint64_t least = plan_.columns > 1 ? std::max<uint64_t>(256, kPart / block_) : kPart;
      part_ = std::min(std::max(least, (depth - 1) / kMaxParts + 1), kMostRows);
      if (plan_.columns == 1) part_ = (part_ - 1) / kTileValues * kTileValues + kTileValues;
    }
    parts_ = (depth - 1) / part_ + 1;
  }

  Place place_of(uint64_t block) const {
    if (plan_.columns == 1) {
      const uint64_t first = block * block_;
      return {first, 0, first, std::min(block_, plan_.outer - first)};
    }
    const uint64_t outer = block / blocks_per_outer_;
    const uint64_t column = block % blocks_per_outer_ * block_;
    return {outer, column, outer * plan_.columns + column, std::min(block_, plan_.columns - column)};
  }

  template <typename Finish>
  Status run_in_parts(const Finish& finish) const {
    const uint64_t results = plan_.results();
    LOBIT_TRY(Buffer buffer, Buffer::allocate(*context_.memory, results * parts_ * sizeof(Value)));
    auto* const partial = reinterpret_cast<Value*>(buffer.data());
    for_each_range(context_, blocks_ * parts_, 1, [&](uint64_t item, uint64_t) {
      const Place place = place_of(item / parts_);
      const uint64_t part = item % parts_;
      std::array<Value, kTileValues> values;
      reduce(place, part * part_, std::min(part_, plan_.reduced - part * part_), values.data());
      std::copy_n(values.data(), place.count, partial + part * results + place.result);
    });
    for (uint64_t part = 1; part < parts_; ++part) {
      const Value* const next = partial + part * results;
      for (uint64_t i = 0; i < results; ++i) partial[i] = reduction_.join(partial[i], next[i]);
    }
    for (uint64_t i = 0; i < results; i += kTileValues) {
      finish(i, partial + i, std::min<uint64_t>(kTileValues, results - i));
    }
    return {};
  }

  // Reduces `count` places from `first` on.
  void reduce(const Place& place, uint64_t first, uint64_t count, Value* values) const {
    std::fill_n(values, place.count, reduction_.nothing());
    if (count == 0) return;
    if (plan_.columns == 1) {
      reduce_runs(place, first, count, values);
    } else {
      reduce_columns(place, first, count, values);
    }
  }

  void reduce_runs(const Place& place, uint64_t first, uint64_t count, Value* values) const {
    std::array<float, kTileValues> tile;
    if (count != plan_.reduced || (reader_.values() == nullptr && count > kTileValues / 2)) {
      for (uint64_t i = 0; i < place.count; ++i) {
        values[i] = reduce_run((place.outer + i) * plan_.reduced + first, first, count, tile.data());
      }
      return;
    }
    // Whole runs, read several at a time where they must be decoded.
    const uint64_t together = reader_.values() != nullptr ? place.count : kTileValues / count;
    for (uint64_t i = 0; i < place.count; i += together) {
      const uint64_t runs = std::min(together, place.count - i);
      const float* const read = reader_.read((place.outer + i) * count, runs * count, tile.data());
      reduction_.reduce_runs(read, runs, count, values + i);
    }
  }

  Value reduce_run(uint64_t start, uint64_t place, uint64_t count, float* tile) const {
    typename Reduction::Run state(reduction_);
    const uint64_t step = reader_.values() != nullptr ? count : kTileValues;
    for (uint64_t done = 0; done < count; done += step) {
      const uint64_t n = std::min(step, count - done);
      state.add(reader_.read(start + done, n, tile), n, place + done);
    }
    return state.value();
  }

  // Few columns are widened: neighbouring rows become one, and what they gave is joined at the end.
  void reduce_columns(const Place& place, uint64_t first, uint64_t count, Value* values) const {
    const uint64_t width = place.count;
    const uint64_t wide = width == plan_.columns ? std::clamp<uint64_t>(kTileValues / width, 1, count) : 1;
    const uint64_t whole = count / wide;
    add_rows(place, first, whole, wide, values);
    if (whole * wide < count) add_rows(place, first + whole * wide, count - whole * wide, 1, values);
  }

  // `rows` times `wide` rows of the tensor from row `first` on.
  void add_rows(const Place& place, uint64_t first, uint64_t rows, uint64_t wide, Value* values) const {
    const uint64_t width = place.count;
    const uint64_t stride = plan_.columns * wide;
    const uint64_t start = (place.outer * plan_.reduced + first) * plan_.columns + place.column;
    typename Reduction::Columns columns(reduction_, width * wide);
    if (const float* const all = reader_.values()) {
      columns.add(all + start, rows, stride, 0);
    } else {
      std::array<float, kTileValues> tile;
      for (uint64_t row = 0; row < rows; ++row) {
        columns.add(reader_.read(start + row * stride, width * wide, tile.data()), 1, stride, row);
      }
    }
    for (uint64_t j = 0; j < wide; ++j) {
      for (uint64_t c = 0; c < width; ++c) {
        values[c] = reduction_.join(values[c], columns.value(j * width + c, first + j, wide));
      }
    }
  }

  const ReducePlan& plan_;
  const OpContext& context_;
  const Reduction& reduction_;
  const ValueReader reader_;
  uint64_t block_ = 1;
  uint64_t blocks_per_outer_ = 1;
  uint64_t blocks_ = 1;
  uint64_t part_ = 1;
  uint64_t parts_ = 1;
};

}  // namespace lobit::detail

#include "lobit/ops/normalize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "lobit/base/fp_env.h"
#include "lobit/kernels/normalize.h"
#include "lobit/kernels/reduce.h"
#include "lobit/ops/op_internal.h"
#include "lobit/ops/reduce_plan_internal.h"

namespace lobit {
namespace {

using detail::kTileValues;
using kernels::Extreme;
using kernels::SumTerm;
using Tile = std::array<float, kTileValues>;

// Values of an item of work.
constexpr uint64_t kPart = 65'536;
// The same of columns: so few that the last cache keeps them from one pass to the next.
constexpr uint64_t kColumnPart = 2'097'152;
// Results that no cache holds.
constexpr uint64_t kLargeValues = uint64_t{8} << 20;
constexpr uint64_t kColumnBorder = 256;  // a multiple of every block and group

// Reads runs of an operand and writes results over or beside them.
class RunMap {
 public:
  RunMap(const Tensor& x, const detail::Output& output)
      : reader_(x),
        encoding_(output.encoding()),
        bytes_(output.bytes()),
        floats_(encoding_ == Encoding::kF32 ? reinterpret_cast<float*>(bytes_) : nullptr),
        store_(x.elements() >= kLargeValues && floats_ != nullptr && reader_.values() != floats_
                   ? kernels::Store::kPastCaches
                   : kernels::Store::kCached) {}

  // Calls use(values, first, count) for tiles of a run.
  template <typename Use>
  void for_each(uint64_t first, uint64_t count, const Use& use) const {
    Tile tile;
    const uint64_t step = reader_.values() != nullptr ? std::max<uint64_t>(count, 1) : kTileValues;
    for (uint64_t done = 0; done < count; done += step) {
      const uint64_t n = std::min(step, count - done);
      use(reader_.read(first + done, n, tile.data()), first + done, n);
    }
  }

  // Calls make(values, first, count, out), and stores what it made.
  template <typename Make>
  void transform(uint64_t first, uint64_t count, const Make& make) const {
    Tile tile;
    Tile made;
    for (uint64_t done = 0; done < count; done += kTileValues) {
      const uint64_t n = std::min<uint64_t>(kTileValues, count - done);
      const float* const values = reader_.read(first + done, n, tile.data());
      float* const out = floats_ != nullptr ? floats_ + first + done : made.data();
      make(values, first + done, n, out);
      if (floats_ == nullptr) detail::store_values(encoding_, out, first + done, n, bytes_);
    }
  }

  // The operand's values and the results where they lie when they are F32, else nullptr.
  const float* values() const { return reader_.values(); }
  float* floats() const { return floats_; }

  // How results are stored that are not read again.
  kernels::Store store() const { return store_; }

 private:
  const detail::ValueReader reader_;
  Encoding encoding_;
  std::byte* bytes_;
  float* floats_;
  kernels::Store store_;
};

enum class SoftmaxKind : uint8_t { kShares, kLogarithms };

// What a run's largest value is subtracted as: exp(-inf - 0) is 0 as well.
float shift_for(float largest) {
  return largest == -std::numeric_limits<float>::infinity() ? 0.0f : largest;
}
// What shares are multiplied by.
float factor_for(double sum) {
  return sum == 0.0 ? 0.0f : static_cast<float>(1.0 / sum);
}
float logarithm_for(double sum) {
  return sum == 0.0 ? 0.0f : static_cast<float>(std::log(sum));
}

// Along the last axis.
void softmax_run(SoftmaxKind kind, const RunMap& map, uint64_t first, uint64_t count) {
  float largest = kernels::before_extreme(Extreme::kMax);
  map.for_each(first, count, [&](const float* values, uint64_t, uint64_t n) {
    largest = kernels::extreme_of(Extreme::kMax, values, n, largest);
  });
  const float shift = shift_for(largest);
  kernels::SumLanes lanes{};
  if (kind == SoftmaxKind::kShares && map.floats() != nullptr) {
    map.transform(first, count, [&](const float* values, uint64_t, uint64_t n, float* out) {
      kernels::exp_run(values, n, shift, out, lanes);
    });
    float* const shares = map.floats() + first;
    return kernels::scale_run(shares, count, factor_for(kernels::total(lanes)), shares);
  }
  Tile shares;
  map.for_each(first, count, [&](const float* values, uint64_t, uint64_t count_here) {
    for (uint64_t i = 0; i < count_here; i += kTileValues) {
      const uint64_t n = std::min<uint64_t>(kTileValues, count_here - i);
      kernels::exp_run(values + i, n, shift, shares.data(), lanes);
    }
  });
  const double sum = kernels::total(lanes);
  map.transform(first, count, [&](const float* values, uint64_t, uint64_t n, float* out) {
    if (kind == SoftmaxKind::kLogarithms) {
      return kernels::subtract_run(values, n, shift, logarithm_for(sum), out);
    }
    kernels::SumLanes again{};
    kernels::exp_run(values, n, shift, out, again);
    kernels::scale_run(out, n, factor_for(sum), out);
  });
}

// Along an axis that is not the last: `width` columns, of whole rows when there are few.
class SoftmaxColumns {
 public:
  // Rows of `columns` values; columns first to first + width - 1 of `depth` of them.
  SoftmaxColumns(SoftmaxKind kind, const RunMap& map, uint64_t first, uint64_t width, uint64_t depth,
                 uint64_t columns)
      : kind_(kind),
        map_(map),
        first_(first),
        width_(width),
        depth_(depth),
        together_(width == columns ? std::clamp<uint64_t>(kTileValues / width, 1, depth) : 1),
        stride_(together_ * columns) {}

  void run() {
    find_shifts();
    std::fill_n(sums_.data(), together_ * width_, 0.0);
    read_rows([&](const float* values, uint64_t rows, uint64_t count) {
      kernels::add_exp_rows(values, rows, stride_, count, shifts_.data(), sums_.data());
    });
    finish_sums();
    write_rows([&](const float* values, uint64_t rows, uint64_t count, float* out) {
      if (kind_ == SoftmaxKind::kShares) {
        return kernels::share_rows(values, rows, stride_, count, shifts_.data(), ends_.data(), out,
                                   map_.store());
      }
      for (uint64_t row = 0; row < rows; ++row, values += stride_, out += stride_) {
        kernels::subtract_row(values, count, shifts_.data(), ends_.data(), out);
      }
    });
    if (map_.store() == kernels::Store::kPastCaches) kernels::flush_stores();
  }

 private:
  // Calls use(first, rows, count) for the rows of together_ of the tensor's, then for what is left of one.
  template <typename Use>
  void for_each_rows(const Use& use) const {
    const uint64_t whole = depth_ / together_;
    use(first_, whole, together_ * width_);
    if (depth_ % together_ > 0) use(first_ + whole * stride_, 1, depth_ % together_ * width_);
  }

  // Calls use(values, rows, count) for rows that are stride_ apart: one at a time where they must be decoded.
  template <typename Use>
  void read_rows(const Use& use) const {
    for_each_rows([&](uint64_t first, uint64_t rows, uint64_t count) {
      if (map_.values() != nullptr) return use(map_.values() + first, rows, count);
      for (uint64_t row = 0; row < rows; ++row) {
        map_.for_each(first + row * stride_, count,
                      [&](const float* values, uint64_t, uint64_t n) { use(values, 1, n); });
      }
    });
  }

  // Calls make(values, rows, count, out) likewise.
  template <typename Make>
  void write_rows(const Make& make) const {
    for_each_rows([&](uint64_t first, uint64_t rows, uint64_t count) {
      if (map_.values() != nullptr && map_.floats() != nullptr) {
        return make(map_.values() + first, rows, count, map_.floats() + first);
      }
      for (uint64_t row = 0; row < rows; ++row) {
        map_.transform(
            first + row * stride_, count,
            [&](const float* values, uint64_t, uint64_t n, float* out) { make(values, 1, n, out); });
      }
    });
  }

  void find_shifts() {
    std::fill_n(shifts_.data(), together_ * width_, kernels::before_extreme(Extreme::kMax));
    read_rows([&](const float* values, uint64_t rows, uint64_t count) {
      kernels::extreme_of_rows(Extreme::kMax, values, rows, stride_, count, shifts_.data());
    });
    for (uint64_t j = 1; j < together_; ++j) {
      kernels::extreme_of_rows(Extreme::kMax, shifts_.data() + j * width_, 1, width_, width_, shifts_.data());
    }
    for (uint64_t c = 0; c < width_; ++c) shifts_[c] = shift_for(shifts_[c]);
    repeat(shifts_);
  }

  // What the sums of the columns turn into, for every value of a row.
  void finish_sums() {
    for (uint64_t j = 1; j < together_; ++j) {
      for (uint64_t c = 0; c < width_; ++c) sums_[c] += sums_[j * width_ + c];
    }
    const auto number = kind_ == SoftmaxKind::kShares ? factor_for : logarithm_for;
    for (uint64_t c = 0; c < width_; ++c) ends_[c] = number(sums_[c]);
    repeat(ends_);
  }

  void repeat(Tile& values) const {
    for (uint64_t j = 1; j < together_; ++j) std::copy_n(values.data(), width_, values.data() + j * width_);
  }

  SoftmaxKind kind_;
  const RunMap& map_;
  uint64_t first_;
  uint64_t width_;
  uint64_t depth_;
  uint64_t together_;  // rows
  uint64_t stride_;    // from one row of these to the next
  Tile shifts_;
  Tile ends_;
  std::array<double, kTileValues> sums_;
};

void softmax_all(SoftmaxKind kind, const Tensor& x, size_t axis, const RunMap& map,
                 const OpContext& context) {
  const Shape& shape = x.shape();
  const auto depth = static_cast<uint64_t>(shape[axis]);
  uint64_t columns = 1;
  for (size_t a = axis + 1; a < shape.rank(); ++a) columns *= static_cast<uint64_t>(shape[a]);
  const uint64_t outer = x.elements() / (depth * columns);
  if (columns == 1) {
    const uint64_t grain = std::max<uint64_t>(1, kPart / depth);
    detail::for_each_range(context, outer, grain, [&](uint64_t first, uint64_t count) {
      for (uint64_t row = first; row < first + count; ++row) softmax_run(kind, map, row * depth, depth);
    });
    return;
  }
  // Cut where every format may be cut.
  const uint64_t wanted = kColumnPart / depth / kColumnBorder * kColumnBorder;
  const uint64_t width = std::min(columns, std::clamp<uint64_t>(wanted, kColumnBorder, kTileValues));
  const uint64_t pieces = (columns - 1) / width + 1;
  const uint64_t grain = std::max<uint64_t>(1, kPart / (width * depth));
  detail::for_each_range(context, outer * pieces, grain, [&](uint64_t first, uint64_t count) {
    for (uint64_t item = first; item < first + count; ++item) {
      const uint64_t column = item % pieces * width;
      SoftmaxColumns(kind, map, item / pieces * depth * columns + column, std::min(width, columns - column),
                     depth, columns)
          .run();
    }
  });
}

// Calls work(x, map) with an operand whose runs may be cut anywhere, and the place of the results. `out` may
// be `x`, whose block must have no other share when the place is chosen.
template <typename Work>
Status map_values(std::string_view op, const Tensor& x, std::initializer_list<const Tensor*> others,
                  Tensor& out, const OpContext& context, const Work& work) {
  const ScopedFpEnv fp_env;
  OpScope scope(context.profiler, op, detail::thread_count(context));
  scope.reads(x);
  for (const Tensor* other : others) scope.reads(*other);
  scope.writes(x.shape(), out.format());
  const Status done = [&]() -> Status {
    LOBIT_TRY(detail::Output output, detail::Output::create(op, out, x.shape(), detail::kFloats, context));
    LOBIT_TRY(const Tensor operand, detail::with_free_cuts(x, context));
    if (x.elements() > 0) LOBIT_RETURN_IF_ERROR(work(operand, RunMap(operand, output)));
    output.commit();
    return {};
  }();
  if (!done) scope.drop();
  return done;
}

Status check_softmax(std::string_view op, const Tensor& x, size_t axis, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(detail::check_context(op, context));
  LOBIT_RETURN_IF_ERROR(detail::check_operand(op, x));
  if (axis < x.shape().rank()) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: tensor '{}' {}: expected an axis below {}, found {}", op, x.name(),
                          x.shape().to_string(), x.shape().rank(), axis),
              {.index = axis, .available = x.shape().rank()});
}

Status softmax_into(std::string_view op, SoftmaxKind kind, const Tensor& x, size_t axis, Tensor& out,
                    const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(check_softmax(op, x, axis, context));
  return map_values(op, x, {}, out, context, [&](const Tensor& operand, const RunMap& map) -> Status {
    softmax_all(kind, operand, axis, map, context);
    return {};
  });
}

// The values of a vector of `count`, decoded where they must be.
class VectorValues {
 public:
  static Result<VectorValues> create(const Tensor& vector, const OpContext& context) {
    VectorValues values;
    values.reader_ = detail::ValueReader(vector);
    if (values.reader_->values() != nullptr) {
      values.data_ = values.reader_->values();
      return values;
    }
    LOBIT_TRY(values.decoded_, detail::decoded(vector, context));
    values.data_ = detail::ValueReader(values.decoded_).values();
    return values;
  }
  const float* data() const { return data_; }

 private:
  std::optional<detail::ValueReader> reader_;
  Tensor decoded_;
  const float* data_ = nullptr;
};

Status check_norm(std::string_view op, const Tensor& x, std::initializer_list<const Tensor*> vectors,
                  const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(detail::check_context(op, context));
  LOBIT_RETURN_IF_ERROR(detail::check_operand(op, x));
  for (const Tensor* vector : vectors) {
    LOBIT_RETURN_IF_ERROR(detail::check_operand(op, *vector));
    const bool fits =
        x.shape().rank() > 0 && vector->shape().rank() == 1 && vector->elements() == x.shape().row_elements();
    if (fits) continue;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: tensor '{}' {} with '{}' {}: expected one axis as long as the last", op,
                            x.name(), x.shape().to_string(), vector->name(), vector->shape().to_string()),
                {.required = x.shape().row_elements(), .available = vector->elements()});
  }
  return {};
}

double sum_of(SumTerm term, const RunMap& map, uint64_t first, uint64_t count, double center) {
  kernels::SumLanes lanes{};
  map.for_each(first, count, [&](const float* values, uint64_t, uint64_t n) {
    kernels::add_run(term, values, n, center, lanes);
  });
  return kernels::total(lanes);
}

// normal(first, count) is the mean and the factor of a row.
template <typename Normal>
void normalize_rows(const Tensor& x, const RunMap& map, const float* weights, const float* biases,
                    const OpContext& context, const Normal& normal) {
  const uint64_t columns = x.shape().row_elements();
  const uint64_t grain = std::max<uint64_t>(1, kPart / columns);
  detail::for_each_range(context, x.shape().rows(), grain, [&](uint64_t first, uint64_t count) {
    for (uint64_t row = first; row < first + count; ++row) {
      const uint64_t start = row * columns;
      const auto [mean, factor] = normal(start, columns);
      map.transform(start, columns,
                    [&, m = mean, f = factor](const float* values, uint64_t at, uint64_t n, float* out) {
                      const uint64_t column = at - start;
                      kernels::normalize_run(values, n, m, f, weights + column,
                                             biases == nullptr ? nullptr : biases + column, out);
                    });
    }
  });
}

struct Normal {
  double mean;
  double factor;
};

}  // namespace

namespace ops {

Status softmax(const Tensor& x, size_t axis, Tensor& out, const OpContext& context) {
  return softmax_into("softmax", SoftmaxKind::kShares, x, axis, out, context);
}

Result<Tensor> softmax(const Tensor& x, size_t axis, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(check_softmax("softmax", x, axis, context));
  LOBIT_TRY(Tensor out, Tensor::empty(x.shape(), detail::result_format({&x}), *context.memory));
  LOBIT_RETURN_IF_ERROR(softmax(x, axis, out, context));
  return out;
}

Status log_softmax(const Tensor& x, size_t axis, Tensor& out, const OpContext& context) {
  return softmax_into("log_softmax", SoftmaxKind::kLogarithms, x, axis, out, context);
}

Result<Tensor> log_softmax(const Tensor& x, size_t axis, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(check_softmax("log_softmax", x, axis, context));
  LOBIT_TRY(Tensor out, Tensor::empty(x.shape(), detail::result_format({&x}), *context.memory));
  LOBIT_RETURN_IF_ERROR(log_softmax(x, axis, out, context));
  return out;
}

Status rms_norm(const Tensor& x, const Tensor& weight, float epsilon, Tensor& out, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(check_norm("rms_norm", x, {&weight}, context));
  return map_values(
      "rms_norm", x, {&weight}, out, context, [&](const Tensor& operand, const RunMap& map) -> Status {
        LOBIT_TRY(const VectorValues weights, VectorValues::create(weight, context));
        normalize_rows(operand, map, weights.data(), nullptr, context, [&](uint64_t first, uint64_t count) {
          const double sum = sum_of(SumTerm::kSquare, map, first, count, 0.0);
          const double mean = sum / static_cast<double>(count);
          return Normal{0.0, 1.0 / std::sqrt(mean + static_cast<double>(epsilon))};
        });
        return {};
      });
}

Result<Tensor> rms_norm(const Tensor& x, const Tensor& weight, float epsilon, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(check_norm("rms_norm", x, {&weight}, context));
  LOBIT_TRY(Tensor out, Tensor::empty(x.shape(), detail::result_format({&x}), *context.memory));
  LOBIT_RETURN_IF_ERROR(rms_norm(x, weight, epsilon, out, context));
  return out;
}

Status layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float epsilon, Tensor& out,
                  const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(check_norm("layer_norm", x, {&weight, &bias}, context));
  return map_values("layer_norm", x, {&weight, &bias}, out, context,
                    [&](const Tensor& operand, const RunMap& map) -> Status {
                      LOBIT_TRY(const VectorValues weights, VectorValues::create(weight, context));
                      LOBIT_TRY(const VectorValues biases, VectorValues::create(bias, context));
                      normalize_rows(
                          operand, map, weights.data(), biases.data(), context,
                          [&](uint64_t first, uint64_t count) {
                            const auto n = static_cast<double>(count);
                            const double mean = sum_of(SumTerm::kValue, map, first, count, 0.0) / n;
                            const double apart = sum_of(SumTerm::kSquaredDeviation, map, first, count, mean);
                            return Normal{mean, 1.0 / std::sqrt(apart / n + static_cast<double>(epsilon))};
                          });
                      return {};
                    });
}

Result<Tensor> layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float epsilon,
                          const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(check_norm("layer_norm", x, {&weight, &bias}, context));
  LOBIT_TRY(Tensor out, Tensor::empty(x.shape(), detail::result_format({&x}), *context.memory));
  LOBIT_RETURN_IF_ERROR(layer_norm(x, weight, bias, epsilon, out, context));
  return out;
}

}  // namespace ops
}  // namespace lobit

#include "lobit/ops/reduce.h"

#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "lobit/base/fp_env.h"
#include "lobit/kernels/reduce.h"
#include "lobit/ops/op_internal.h"
#include "lobit/ops/reduce_plan_internal.h"
#include "lobit/ops/reduce_walk_internal.h"

namespace lobit {
namespace {

using detail::kTileValues;
using kernels::Extreme;
using kernels::SumTerm;

struct SumReduction {
  using Value = double;
  SumTerm term;

  static Value nothing() { return 0.0; }
  static Value join(Value a, Value b) { return a + b; }
  void reduce_runs(const float* values, uint64_t runs, uint64_t count, Value* sums) const {
    kernels::sums_of_runs(term, values, runs, count, sums);
  }

  class Run {
   public:
    explicit Run(const SumReduction& sum) : term_(sum.term) {}
    void add(const float* values, uint64_t count, uint64_t) {
      kernels::add_run(term_, values, count, 0.0, lanes_);
    }
    Value value() const { return kernels::total(lanes_); }

   private:
    SumTerm term_;
    kernels::SumLanes lanes_{};
  };

  class Columns {
   public:
    Columns(const SumReduction& sum, uint64_t width) : term_(sum.term), width_(width) {
      std::fill_n(sums_.data(), width, 0.0);
    }
    void add(const float* values, uint64_t rows, uint64_t stride, uint64_t) {
      kernels::add_rows(term_, values, rows, stride, width_, sums_.data());
    }
    Value value(uint64_t column, uint64_t, uint64_t) const { return sums_[column]; }

   private:
    SumTerm term_;
    uint64_t width_;
    std::array<double, kTileValues> sums_;
  };
};

struct ExtremeReduction {
  using Value = float;
  Extreme which;

  Value nothing() const { return kernels::before_extreme(which); }
  Value join(Value a, Value b) const {
    const bool wins = which == Extreme::kMin ? b < a : b > a;
    return wins || std::isnan(b) ? b : a;
  }
  void reduce_runs(const float* values, uint64_t runs, uint64_t count, Value* extremes) const {
    kernels::extremes_of_runs(which, values, runs, count, extremes);
  }

  class Run {
   public:
    explicit Run(const ExtremeReduction& extreme) : which_(extreme.which), value_(extreme.nothing()) {}
    void add(const float* values, uint64_t count, uint64_t) {
      value_ = kernels::extreme_of(which_, values, count, value_);
    }
    Value value() const { return value_; }

   private:
    Extreme which_;
    float value_;
  };

  class Columns {
   public:
    Columns(const ExtremeReduction& extreme, uint64_t width) : which_(extreme.which), width_(width) {
      std::fill_n(values_.data(), width, extreme.nothing());
    }
    void add(const float* values, uint64_t rows, uint64_t stride, uint64_t) {
      kernels::extreme_of_rows(which_, values, rows, stride, width_, values_.data());
    }
    Value value(uint64_t column, uint64_t, uint64_t) const { return values_[column]; }

   private:
    Extreme which_;
    uint64_t width_;
    std::array<float, kTileValues> values_;
  };
};

// A value and where it was first; place -1 when there was none.
struct Best {
  float value;
  int64_t place;
};

// kMin or kMax.
struct PlaceReduction {
  using Value = Best;
  Extreme which;

  Value nothing() const { return {kernels::before_extreme(which), -1}; }

  void reduce_runs(const float* values, uint64_t runs, uint64_t count, Value* results) const {
    for (uint64_t run = 0; run < runs; ++run, values += count) {
      Run state(*this);
      state.add(values, count, 0);
      results[run] = state.value();
    }
  }

  // The parts may come in any order.
  Value join(const Value& a, const Value& b) const {
    if (a.place < 0 || b.place < 0) return a.place < 0 ? b : a;
    if (std::isnan(a.value) || std::isnan(b.value)) {
      if (std::isnan(a.value) && std::isnan(b.value)) return a.place < b.place ? a : b;
      return std::isnan(a.value) ? a : b;
    }
    if (a.value == b.value) return a.place < b.place ? a : b;
    return (which == Extreme::kMin) == (a.value < b.value) ? a : b;
  }

  class Run {
   public:
    explicit Run(const PlaceReduction& reduction) : reduction_(reduction), best_(reduction.nothing()) {}

    // Looks for the place only in pieces that hold a better value.
    void add(const float* values, uint64_t count, uint64_t place) {
      for (uint64_t i = 0; i < count; i += kTileValues) {
        const uint64_t n = std::min<uint64_t>(kTileValues, count - i);
        const float start = best_.place < 0 ? values[i] : best_.value;
        const float found = kernels::extreme_of(reduction_.which, values + i, n, start);
        const bool same = found == best_.value || (std::isnan(found) && std::isnan(best_.value));
        if (best_.place >= 0 && same) continue;
        best_ = {found, static_cast<int64_t>(place + i + kernels::find_value(values + i, n, found))};
      }
    }
    Value value() const { return best_; }

   private:
    const PlaceReduction& reduction_;
    Best best_;
  };

  class Columns {
   public:
    Columns(const PlaceReduction& reduction, uint64_t width) : which_(reduction.which), width_(width) {}

    void add(const float* values, uint64_t rows, uint64_t stride, uint64_t first) {
      if (first == 0) {
        std::copy_n(values, width_, values_.data());
        std::fill_n(places_.data(), width_, 0);
      }
      kernels::place_of_rows(which_, values, rows, stride, width_, static_cast<int32_t>(first),
                             values_.data(), places_.data());
    }
    Value value(uint64_t column, uint64_t place, uint64_t step) const {
      return {values_[column], static_cast<int64_t>(place + static_cast<uint64_t>(places_[column]) * step)};
    }

   private:
    Extreme which_;
    uint64_t width_;
    std::array<float, kTileValues> values_;
    std::array<int32_t, kTileValues> places_;
  };
};

// How many values, their mean, and the sum of their squared differences to it.
struct Moments {
  double count;
  double mean;
  double squares;
};

struct MomentReduction {
  using Value = Moments;

  static Value nothing() { return {0.0, 0.0, 0.0}; }

  void reduce_runs(const float* values, uint64_t runs, uint64_t count, Value* results) const {
    for (uint64_t run = 0; run < runs; ++run, values += count) {
      Run state(*this);
      state.add(values, count, 0);
      results[run] = state.value();
    }
  }

  // Chan, Golub and LeVeque 1979.
  static Value join(const Value& a, const Value& b) {
    if (a.count == 0.0 || b.count == 0.0) return a.count == 0.0 ? b : a;
    const double count = a.count + b.count;
    const double apart = b.mean - a.mean;
    return {count, a.mean + apart * (b.count / count),
            a.squares + b.squares + apart * apart * (a.count * (b.count / count))};
  }

  // Two passes over a tile, which is in the first cache.
  class Run {
   public:
    explicit Run(const MomentReduction&) {}
    void add(const float* values, uint64_t count, uint64_t) {
      for (uint64_t i = 0; i < count; i += kTileValues) {
        const uint64_t n = std::min<uint64_t>(kTileValues, count - i);
        kernels::SumLanes sums{};
        kernels::add_run(SumTerm::kValue, values + i, n, 0.0, sums);
        const auto number = static_cast<double>(n);
        const double mean = kernels::total(sums) / number;
        kernels::SumLanes squares{};
        kernels::add_run(SumTerm::kSquaredDeviation, values + i, n, mean, squares);
        moments_ = join(moments_, {number, mean, kernels::total(squares)});
      }
    }
    Value value() const { return moments_; }

   private:
    Moments moments_ = nothing();
  };

  // Groups of rows, whose values are measured from those of the group's first row.
  class Columns {
   public:
    Columns(const MomentReduction&, uint64_t width) : width_(width) {
      std::fill_n(mean_.data(), width, 0.0);
      std::fill_n(squares_.data(), width, 0.0);
    }

    void add(const float* values, uint64_t rows, uint64_t stride, uint64_t) {
      while (rows > 0) {
        if (in_group_ == 0) begin_group(values);
        const uint64_t n = std::min(rows, kGroup - in_group_);
        kernels::add_moments(values, n, stride, width_, shift_.data(), first_.data(), second_.data());
        in_group_ += n;
        rows -= n;
        if (in_group_ == kGroup) end_group();
        if (rows > 0) values += n * stride;
      }
    }

    Value value(uint64_t column, uint64_t, uint64_t) const {
      const Moments before{static_cast<double>(before_), mean_[column], squares_[column]};
      return in_group_ == 0 ? before : join(before, of_group(column));
    }

   private:
    // So few that the first row's distance from the mean cannot spoil the squares.
    static constexpr uint64_t kGroup = 256;

    void begin_group(const float* values) {
      std::copy_n(values, width_, shift_.data());
      std::fill_n(first_.data(), width_, 0.0);
      std::fill_n(second_.data(), width_, 0.0);
    }
    Moments of_group(uint64_t column) const {
      const auto count = static_cast<double>(in_group_);
      const double off = first_[column] / count;
      const double squares = second_[column] - first_[column] * off;
      // Rounding may leave less than nothing; a NaN stays.
      return {count, static_cast<double>(shift_[column]) + off, squares < 0.0 ? 0.0 : squares};
    }
    void end_group() {
      for (uint64_t c = 0; c < width_; ++c) {
        const Moments all = join({static_cast<double>(before_), mean_[c], squares_[c]}, of_group(c));
        mean_[c] = all.mean;
        squares_[c] = all.squares;
      }
      before_ += in_group_;
      in_group_ = 0;
    }

    uint64_t width_;
    uint64_t before_ = 0;    // rows in mean_ and squares_
    uint64_t in_group_ = 0;  // rows in first_ and second_
    std::array<float, kTileValues> shift_;
    std::array<double, kTileValues> first_;
    std::array<double, kTileValues> second_;
    std::array<double, kTileValues> mean_;
    std::array<double, kTileValues> squares_;
  };
};

// What the caller asked for.
struct Request {
  std::string_view op;
  const Tensor& x;
  ops::Axes axes;
  ops::KeepAxes keep;
  const OpContext& context;
};

Status check_any(const Request& request, const detail::ReducePlan& plan) {
  if (plan.reduced > 0 || plan.results() == 0) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: tensor '{}' {}: expected values on the axes, found none", request.op,
                          request.x.name(), request.x.shape().to_string()));
}

enum class OfNothing : uint8_t { kAllowed, kRefused };

// store(values, first, count, encoding, bytes) turns what a reduction left into results.
template <typename Reduction, typename Store>
Status reduce(const Request& request, const Reduction& reduction, detail::ReduceOrder order,
              OfNothing of_nothing, std::initializer_list<Encoding> allowed, Tensor& out,
              const Store& store) {
  const ScopedFpEnv fp_env;
  const OpContext& context = request.context;
  LOBIT_RETURN_IF_ERROR(detail::check_context(request.op, context));
  LOBIT_RETURN_IF_ERROR(detail::check_operand(request.op, request.x));
  LOBIT_TRY(const Shape shape, detail::reduced_shape(request.op, request.x, request.axes, request.keep));
  OpScope scope(context.profiler, request.op, detail::thread_count(context));
  scope.reads(request.x);
  scope.writes(shape, out.format());
  const Status done = [&]() -> Status {
    LOBIT_TRY(const detail::ReducePlan plan,
              detail::plan_reduction(request.x, request.axes, shape, order, context));
    if (of_nothing == OfNothing::kRefused) LOBIT_RETURN_IF_ERROR(check_any(request, plan));
    LOBIT_TRY(detail::Output output, detail::Output::create(request.op, out, shape, allowed, context));
    const detail::ReduceWalk<Reduction> walk(plan, context, reduction);
    LOBIT_RETURN_IF_ERROR(walk.run([&](uint64_t first, const auto* values, uint64_t count) {
      store(values, first, count, plan.reduced, output);
    }));
    output.commit();
    return {};
  }();
  if (!done) scope.drop();
  return done;
}

// number(value, n) is the result for what n values became.
template <typename Reduction, typename Number>
Status reduce_to_floats(const Request& request, const Reduction& reduction, OfNothing of_nothing, Tensor& out,
                        const Number& number) {
  return reduce(request, reduction, detail::ReduceOrder::kAny, of_nothing, detail::kFloats, out,
                [&](const typename Reduction::Value* values, uint64_t first, uint64_t count, uint64_t n,
                    const detail::Output& output) {
                  std::array<float, kTileValues> floats;
                  const bool halves = output.encoding() != Encoding::kF32;
                  for (uint64_t i = 0; i < count; ++i) {
                    const double value = number(values[i], static_cast<double>(n));
                    floats[i] = halves ? detail::for_halves(value) : static_cast<float>(value);
                  }
                  detail::store_values(output.encoding(), floats.data(), first, count, output.bytes());
                });
}

Status find_places(const Request& request, Extreme which, Tensor& out) {
  return reduce(
      request, PlaceReduction{which}, detail::ReduceOrder::kOfAxes, OfNothing::kRefused, {Encoding::kRawI64},
      out, [](const Best* values, uint64_t first, uint64_t count, uint64_t, const detail::Output& output) {
        auto* const places = reinterpret_cast<int64_t*>(output.bytes()) + first;
        for (uint64_t i = 0; i < count; ++i) places[i] = values[i].place;
      });
}

Status find_extreme(const Request& request, Extreme which, Tensor& out) {
  return reduce_to_floats(request, ExtremeReduction{which}, OfNothing::kRefused, out,
                          [](float value, double) { return kernels::settled(value); });
}

// A new tensor for the result, which into(out) fills.
template <typename Into>
Result<Tensor> made(const Request& request, ValueFormat format, const Into& into) {
  LOBIT_RETURN_IF_ERROR(detail::check_context(request.op, request.context));
  LOBIT_RETURN_IF_ERROR(detail::check_operand(request.op, request.x));
  LOBIT_TRY(const Shape shape, detail::reduced_shape(request.op, request.x, request.axes, request.keep));
  LOBIT_TRY(Tensor out, Tensor::empty(shape, format, *request.context.memory));
  LOBIT_RETURN_IF_ERROR(into(out));
  return out;
}

}  // namespace

namespace ops {

Status sum(const Tensor& x, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context) {
  return reduce_to_floats({"sum", x, axes, keep, context}, SumReduction{SumTerm::kValue}, OfNothing::kAllowed,
                          out, [](double value, double) { return value; });
}

Status mean(const Tensor& x, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context) {
  return reduce_to_floats(
      {"mean", x, axes, keep, context}, SumReduction{SumTerm::kValue}, OfNothing::kAllowed, out,
      [](double value, double n) { return n == 0.0 ? std::numeric_limits<double>::quiet_NaN() : value / n; });
}

Status min(const Tensor& x, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context) {
  return find_extreme({"min", x, axes, keep, context}, Extreme::kMin, out);
}

Status max(const Tensor& x, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context) {
  return find_extreme({"max", x, axes, keep, context}, Extreme::kMax, out);
}

Status argmin(const Tensor& x, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context) {
  return find_places({"argmin", x, axes, keep, context}, Extreme::kMin, out);
}

Status argmax(const Tensor& x, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context) {
  return find_places({"argmax", x, axes, keep, context}, Extreme::kMax, out);
}

Status var(const Tensor& x, Axes axes, KeepAxes keep, uint64_t ddof, Tensor& out, const OpContext& context) {
  const auto less = static_cast<double>(ddof);
  return reduce_to_floats({"var", x, axes, keep, context}, MomentReduction{}, OfNothing::kAllowed, out,
                          [less](const Moments& moments, double n) {
                            const double by = n > less ? n - less : 0.0;
                            if (by > 0.0) return moments.squares / by;
                            return moments.squares > 0.0 ? std::numeric_limits<double>::infinity()
                                                         : std::numeric_limits<double>::quiet_NaN();
                          });
}

Status norm(const Tensor& x, Norm kind, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context) {
  const Request request{"norm", x, axes, keep, context};
  if (kind == Norm::kInfinity) return find_extreme(request, Extreme::kMaxMagnitude, out);
  const SumTerm term = kind == Norm::kL1 ? SumTerm::kMagnitude : SumTerm::kSquare;
  return reduce_to_floats(
      request, SumReduction{term}, OfNothing::kAllowed, out,
      [kind](double value, double) { return kind == Norm::kL1 ? value : std::sqrt(value); });
}

Result<Tensor> sum(const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context) {
  return made({"sum", x, axes, keep, context}, detail::result_format({&x}),
              [&](Tensor& out) { return sum(x, axes, keep, out, context); });
}

Result<Tensor> mean(const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context) {
  return made({"mean", x, axes, keep, context}, detail::result_format({&x}),
              [&](Tensor& out) { return mean(x, axes, keep, out, context); });
}

Result<Tensor> min(const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context) {
  return made({"min", x, axes, keep, context}, detail::result_format({&x}),
              [&](Tensor& out) { return min(x, axes, keep, out, context); });
}

Result<Tensor> max(const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context) {
  return made({"max", x, axes, keep, context}, detail::result_format({&x}),
              [&](Tensor& out) { return max(x, axes, keep, out, context); });
}

Result<Tensor> argmin(const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context) {
  return made({"argmin", x, axes, keep, context}, {Encoding::kRawI64},
              [&](Tensor& out) { return argmin(x, axes, keep, out, context); });
}

Result<Tensor> argmax(const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context) {
  return made({"argmax", x, axes, keep, context}, {Encoding::kRawI64},
              [&](Tensor& out) { return argmax(x, axes, keep, out, context); });
}

Result<Tensor> var(const Tensor& x, Axes axes, KeepAxes keep, uint64_t ddof, const OpContext& context) {
  return made({"var", x, axes, keep, context}, detail::result_format({&x}),
              [&](Tensor& out) { return var(x, axes, keep, ddof, out, context); });
}

Result<Tensor> norm(const Tensor& x, Norm kind, Axes axes, KeepAxes keep, const OpContext& context) {
  return made({"norm", x, axes, keep, context}, detail::result_format({&x}),
              [&](Tensor& out) { return norm(x, kind, axes, keep, out, context); });
}

}  // namespace ops
}  // namespace lobit

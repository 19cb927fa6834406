#include "lobit/kernels/elementwise.h"

#include <array>
#include <utility>

#include <hwy/cache_control.h>

#include "lobit/dtype/half.h"
#include "lobit/kernels/cpu/elementwise_families.h"
#include "lobit/kernels/reference_elementwise.h"
#include "lobit/kernels/simd.h"

namespace lobit::kernels {
namespace {

template <typename T>
T value_at(Run<T> run, size_t i) {
  return run.values[run.repeats ? 0 : i];
}

// In place, a repeated value may lie where the first result goes.
template <typename T>
class Repeated {
 public:
  explicit Repeated(Run<T> run) : run_(run) {
    if (!run.repeats) return;
    value_ = *run.values;
    run_.values = &value_;
  }
  Repeated(const Repeated&) = delete;
  Repeated& operator=(const Repeated&) = delete;
  T operator[](size_t i) const { return value_at(run_, i); }

 private:
  Run<T> run_;
  T value_{};
};

template <BinaryOp kOp>
void scalar_binary(Run<float> a, Run<float> b, float* out, size_t count, Store) {
  const Repeated left(a);
  const Repeated right(b);
  for (size_t i = 0; i < count; ++i) out[i] = reference::binary(kOp, left[i], right[i]);
}

template <UnaryOp kOp>
void scalar_unary(const float* values, float* out, size_t count, Store) {
  for (size_t i = 0; i < count; ++i) out[i] = reference::unary(kOp, values[i]);
}

void scalar_clamp(const float* values, float low, float high, float* out, size_t count, Store) {
  for (size_t i = 0; i < count; ++i) out[i] = reference::clamp(values[i], low, high);
}

template <CompareOp kOp>
void scalar_compare(Run<float> a, Run<float> b, uint8_t* out, size_t count) {
  for (size_t i = 0; i < count; ++i) out[i] = reference::compare(kOp, value_at(a, i), value_at(b, i)) ? 1 : 0;
}

void scalar_select(Run<uint8_t> mask, Run<float> a, Run<float> b, float* out, size_t count, Store) {
  const Repeated left(a);
  const Repeated right(b);
  for (size_t i = 0; i < count; ++i) out[i] = value_at(mask, i) != 0 ? left[i] : right[i];
}

template <BinaryOp kOp, Encoding kFormat>
void scalar_half_binary(HalfRun a, HalfRun b, uint16_t* out, size_t count, Store) {
  constexpr bool kF16 = kFormat == Encoding::kF16;
  const auto value_of = [](const HalfRun& run, size_t i) {
    if (run.values == nullptr) return run.number;
    return kF16 ? f16_to_f32(run.values[i]) : bf16_to_f32(run.values[i]);
  };
  for (size_t i = 0; i < count; ++i) {
    const float result = reference::binary(kOp, value_of(a, i), value_of(b, i));
    out[i] = kF16 ? f32_to_f16(result) : f32_to_bf16(result);
  }
}

template <Encoding kFormat, size_t... kOps>
constexpr auto half_binary_table(std::index_sequence<kOps...>) {
  return std::array<HalfBinaryFn, sizeof...(kOps)>{
      scalar_half_binary<static_cast<BinaryOp>(kOps), kFormat>...};
}

template <size_t... kOps>
constexpr auto binary_table(std::index_sequence<kOps...>) {
  return std::array<BinaryFn, sizeof...(kOps)>{scalar_binary<static_cast<BinaryOp>(kOps)>...};
}
template <size_t... kOps>
constexpr auto unary_table(std::index_sequence<kOps...>) {
  return std::array<UnaryFn, sizeof...(kOps)>{scalar_unary<static_cast<UnaryOp>(kOps)>...};
}
template <size_t... kOps>
constexpr auto compare_table(std::index_sequence<kOps...>) {
  return std::array<CompareFn, sizeof...(kOps)>{scalar_compare<static_cast<CompareOp>(kOps)>...};
}

constexpr auto kBinary = binary_table(std::make_index_sequence<kBinaryOps>());
constexpr auto kF16Binary = half_binary_table<Encoding::kF16>(std::make_index_sequence<kBinaryOps>());
constexpr auto kBF16Binary = half_binary_table<Encoding::kBF16>(std::make_index_sequence<kBinaryOps>());
constexpr auto kUnary = unary_table(std::make_index_sequence<kUnaryOps>());
constexpr auto kCompare = compare_table(std::make_index_sequence<kCompareOps>());

// The vector kernel that `find` gives at this level, or the scalar one.
template <typename Fn, typename Find>
Fn choose(Fn scalar, Find find) {
  if (simd_level() == SimdLevel::kScalar) return scalar;
  const Fn found = find();
  return found != nullptr ? found : scalar;
}

}  // namespace

BinaryFn binary_kernel(BinaryOp op) {
  return choose(kBinary[static_cast<size_t>(op)], [op] { return vector_binary(op); });
}

HalfBinaryFn half_binary_kernel(BinaryOp op, Encoding format) {
  const auto& scalar = format == Encoding::kF16 ? kF16Binary : kBF16Binary;
  return choose(scalar[static_cast<size_t>(op)], [&] { return vector_half_binary(op, format); });
}

UnaryFn unary_kernel(UnaryOp op) {
  return choose(kUnary[static_cast<size_t>(op)], [op] { return vector_unary(op); });
}

ClampFn clamp_kernel() {
  return choose<ClampFn>(scalar_clamp, [] { return vector_clamp(); });
}

CompareFn compare_kernel(CompareOp op) {
  return choose(kCompare[static_cast<size_t>(op)], [op] { return vector_compare(op); });
}

void flush_stores() {
  hwy::FlushStream();
}

SelectFn select_kernel() {
  return choose<SelectFn>(scalar_select, [] { return vector_select(); });
}

}  // namespace lobit::kernels

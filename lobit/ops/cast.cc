#include "lobit/ops/cast.h"

#include <bit>
#include <cmath>
#include <concepts>
#include <cstring>
#include <limits>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/fp_env.h"
#include "lobit/dtype/half.h"
#include "lobit/ops/tile_walk_internal.h"

namespace lobit::ops {
namespace {

using enum Encoding;

constexpr std::string_view kCast = "cast";
constexpr std::initializer_list<Encoding> kTargets{
    kF32, kF16, kBF16, kF64, kRawI8, kRawI16, kRawI32, kRawI64, kRawU8, kRawU16, kRawU32, kRawU64, kBool};

// Writes `count` values of `in` to `out`, up to the first that is lost: its index, or `count`.
using CastFn = size_t (*)(const void* in, void* out, size_t count);

// To nearest even, by an addition that leaves no bits behind the point.
double rounded(double value) {
  constexpr double kNoFraction = 0x1p52;
  if (!(std::fabs(value) < kNoFraction)) return value;
  const double shift = std::copysign(kNoFraction, value);
  return (value + shift) - shift;
}

using detail::for_halves;
float for_halves(float value) {
  return value;
}
template <std::integral T>
float for_halves(T value) {
  const bool negative = value < 0;
  // A number, not a character.
  const auto bits = static_cast<uint64_t>(value);  // NOLINT(bugprone-signed-char-misuse)
  uint64_t magnitude = negative ? 0 - bits : bits;
  const int dropped = static_cast<int>(std::bit_width(magnitude)) - std::numeric_limits<float>::digits;
  if (dropped > 0) {
    const uint64_t kept = magnitude >> dropped << dropped;
    magnitude = kept == magnitude ? kept : kept | uint64_t{1} << dropped;
  }
  const auto result = static_cast<float>(magnitude);
  return negative ? -result : result;
}

// Whether a finite value became inf.
bool overflows(double value, double result) {
  return std::isinf(result) && !std::isinf(value);
}

template <typename From, std::integral To>
bool convert(From value, To& to) {
  if constexpr (std::integral<From>) {
    to = static_cast<To>(value);  // NOLINT(bugprone-signed-char-misuse)
    return std::in_range<To>(value);
  } else {
    constexpr auto kLowest = static_cast<double>(std::numeric_limits<To>::min());
    const double beyond = std::ldexp(1.0, std::numeric_limits<To>::digits);
    const double integer = rounded(static_cast<double>(value));
    if (!(integer >= kLowest && integer < beyond)) return false;
    to = static_cast<To>(integer);
    return true;
  }
}
template <typename From>
bool convert(From value, float& to) {
  to = static_cast<float>(value);
  return !std::same_as<From, double> || !overflows(static_cast<double>(value), static_cast<double>(to));
}
template <typename From>
bool convert(From value, double& to) {
  to = static_cast<double>(value);
  return true;
}

template <typename From, typename To>
size_t cast_numbers(const void* in, void* out, size_t count) {
  const auto* from = static_cast<const From*>(in);
  auto* to = static_cast<To*>(out);
  for (size_t i = 0; i < count; ++i) {
    if (!convert(from[i], to[i])) return i;
  }
  return count;
}

template <typename From>
size_t cast_to_bool(const void* in, void* out, size_t count) {
  const auto* from = static_cast<const From*>(in);
  auto* to = static_cast<uint8_t*>(out);
  for (size_t i = 0; i < count; ++i) to[i] = from[i] != From{0} ? 1 : 0;
  return count;
}

template <typename From, Encoding kTo>
size_t cast_to_halves(const void* in, void* out, size_t count) {
  const auto* from = static_cast<const From*>(in);
  auto* to = static_cast<uint16_t*>(out);
  if constexpr (std::same_as<From, float>) {
    const kernels::EncodeFn encode = kernels::encoder(kF32, kTo);
    if (encode(in, out, count).unrepresentable == 0) return count;
  }
  for (size_t i = 0; i < count; ++i) {
    const float value = for_halves(from[i]);
    to[i] = kTo == kF16 ? f32_to_f16(value) : f32_to_bf16(value);
    const float stored = kTo == kF16 ? f16_to_f32(to[i]) : bf16_to_f32(to[i]);
    if (overflows(static_cast<double>(from[i]), static_cast<double>(stored))) return i;
  }
  return count;
}

template <typename From>
CastFn cast_from(Encoding to) {
  switch (to) {
    case kF32:
      return cast_numbers<From, float>;
    case kF16:
      return cast_to_halves<From, kF16>;
    case kBF16:
      return cast_to_halves<From, kBF16>;
    case kF64:
      return cast_numbers<From, double>;
    case kRawI8:
      return cast_numbers<From, int8_t>;
    case kRawI16:
      return cast_numbers<From, int16_t>;
    case kRawI32:
      return cast_numbers<From, int32_t>;
    case kRawI64:
      return cast_numbers<From, int64_t>;
    case kRawU8:
      return cast_numbers<From, uint8_t>;
    case kRawU16:
      return cast_numbers<From, uint16_t>;
    case kRawU32:
      return cast_numbers<From, uint32_t>;
    case kRawU64:
      return cast_numbers<From, uint64_t>;
    default:
      return cast_to_bool<From>;
  }
}

// Of numbers as rows get them, and how to read one as a double.
struct Source {
  CastFn cast = nullptr;
  size_t bytes = 0;
  double (*value)(const void* number) = nullptr;
};

template <typename From>
Source source_of(Encoding to) {
  return {cast_from<From>(to), sizeof(From), [](const void* number) {
            From value;
            std::memcpy(&value, number, sizeof(value));
            return static_cast<double>(value);
          }};
}

// Floats for formats that are decoded.
Source find_source(Encoding from, Encoding to) {
  switch (from) {
    case kF64:
      return source_of<double>(to);
    case kRawI8:
      return source_of<int8_t>(to);
    case kRawI16:
      return source_of<int16_t>(to);
    case kRawI32:
      return source_of<int32_t>(to);
    case kRawI64:
      return source_of<int64_t>(to);
    case kBool:
    case kRawU8:
      return source_of<uint8_t>(to);
    case kRawU16:
      return source_of<uint16_t>(to);
    case kRawU32:
      return source_of<uint32_t>(to);
    case kRawU64:
      return source_of<uint64_t>(to);
    default:
      return source_of<float>(to);
  }
}

// The first value that was lost, of all that threads found.
class FirstLoss {
 public:
  void add(uint64_t index, double value) {
    const std::lock_guard lock(mutex_);
    if (index >= index_) return;
    index_ = index;
    value_ = value;
  }
  Status status(const Tensor& x, Encoding to) const {
    if (index_ == kNone) return {};
    const std::string from = to_string(x.format());
    return fail(ErrorCode::kDataLoss,
                fmt::format("{}: tensor '{}' {}: element {}: expected a value that {} can hold, found {}",
                            kCast, x.name(), x.shape().to_string(), index_, encoding_name(to), value_),
                {.index = index_, .from = from, .to = std::string(encoding_name(to))});
  }

 private:
  static constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();
  std::mutex mutex_;
  uint64_t index_ = kNone;
  double value_ = 0.0;
};

Status check_cast(const Tensor& x, Encoding to, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(detail::check_context(kCast, context));
  const ValueFormat format = x.format();
  const bool number = !format.is_planar() && std::ranges::count(kTargets, format.encoding) != 0;
  if (!number || x.device().kind != DeviceKind::kCpu) {
    LOBIT_RETURN_IF_ERROR(detail::check_operand(kCast, x));
  }
  if (std::ranges::count(kTargets, to) != 0) return {};
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}: tensor '{}' {}: expected plain numbers to cast to, found {}", kCast, x.name(),
                          x.shape().to_string(), encoding_name(to)),
              {.from = to_string(format), .to = std::string(encoding_name(to))});
}

Status cast_values(const Tensor& x, Tensor& out, const OpContext& context) {
  LOBIT_TRY(detail::Output output, detail::Output::create(kCast, out, x.shape(), kTargets, context));
  const Tensor* const operands[] = {&x};
  detail::TileWalk walk;
  LOBIT_RETURN_IF_ERROR(walk.plan(operands, x.shape(), output, detail::RowResult::kAsStored, context));
  const Encoding to = output.encoding();
  const Source source = find_source(x.format().encoding, to);
  const size_t bytes = traits(to).block_bytes;
  FirstLoss loss;
  const auto row = [&](const detail::TileInputs& in, std::byte* at, size_t count, kernels::Store) {
    const size_t each = in[0].repeats ? 1 : count;
    const size_t done = source.cast(in[0].values, at, each);
    if (done < each) {
      const auto index = static_cast<uint64_t>(at - output.bytes()) / bytes + done;
      return loss.add(index, source.value(in[0].values + done * source.bytes));
    }
    for (size_t i = each; i < count; ++i) std::memcpy(at + i * bytes, at, bytes);
  };
  const ScopedFpEnv fp_env;
  walk.run(context, row);
  LOBIT_RETURN_IF_ERROR(loss.status(x, to));
  output.commit();
  return {};
}

}  // namespace

Status cast(const Tensor& x, Tensor& out, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(check_cast(x, out.format().encoding, context));
  OpScope scope(context.profiler, kCast, detail::thread_count(context));
  scope.reads(x);
  scope.writes(x.shape(), out.format());
  Status status = cast_values(x, out, context);
  if (!status) scope.drop();
  return status;
}

Result<Tensor> cast(const Tensor& x, Encoding to, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(check_cast(x, to, context));
  LOBIT_TRY(Tensor out, Tensor::empty(x.shape(), to, *context.memory));
  LOBIT_RETURN_IF_ERROR(cast(x, out, context));
  return out;
}

}  // namespace lobit::ops

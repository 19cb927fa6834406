#include "lobit/kernels/reference_elementwise.h"

#include <bit>
#include <cmath>
#include <limits>

#include "lobit/kernels/elementwise_constants.h"

namespace lobit::kernels::reference {
namespace {

namespace constants = elementwise_constants;

// Even and odd powers apart, each by Horner's rule.
template <size_t kTerms>
float polynomial(const float (&coefficients)[kTerms], float x) {
  const float square = x * x;
  constexpr size_t kEven = (kTerms - 1) / 2 * 2;
  constexpr size_t kOdd = kTerms / 2 * 2 - 1;
  float even = coefficients[kEven];
  float odd = coefficients[kOdd];
  for (size_t i = kEven; i > 0; i -= 2) even = even * square + coefficients[i - 2];
  for (size_t i = kOdd; i > 1; i -= 2) odd = odd * square + coefficients[i - 2];
  return even + x * odd;
}

float power_of_two(int32_t exponent) {
  return std::bit_cast<float>((static_cast<uint32_t>(exponent) + 127) << 23);
}

// exp(x) = (1 + value) * 2^exponent.
struct ExpParts {
  float value;
  int32_t exponent;
};
ExpParts exp_parts(float x) {
  const float shifted = x * constants::kLog2E + constants::kRoundToInteger;
  const float n = shifted - constants::kRoundToInteger;
  const float r = (x - n * constants::kLn2High) - n * constants::kLn2Low;
  return {r + (r * r) * polynomial(constants::kExp, r),
          static_cast<int32_t>(std::bit_cast<uint32_t>(shifted) -
                               std::bit_cast<uint32_t>(constants::kRoundToInteger))};
}

// The comparisons let NaN through, here and below.
float exp(float x) {
  x = x > constants::kExpMax ? constants::kExpMax : x;
  x = x < constants::kExpMin ? constants::kExpMin : x;
  const ExpParts parts = exp_parts(x);
  // In two steps, of which the first is exact: the result may be subnormal or inf.
  const int32_t half = parts.exponent >> 1;
  const auto rest = static_cast<int32_t>(static_cast<uint32_t>(parts.exponent) - static_cast<uint32_t>(half));
  return (1.0f + parts.value) * power_of_two(half) * power_of_two(rest);
}

// log(2^k * x) of a normal number above 0.
float log_normal(float x, float k) {
  const auto above = std::bit_cast<int32_t>(std::bit_cast<uint32_t>(x) - uint32_t{constants::kSqrtHalfBits});
  const float n = static_cast<float>(above >> 23) + k;
  const float f = std::bit_cast<float>((above & 0x007FFFFF) + constants::kSqrtHalfBits) - 1.0f;
  const float rest = (f * f) * polynomial(constants::kLog, f) + n * constants::kLn2Low;
  return (f + rest) + n * constants::kLn2High;
}

float log(float x) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  if (x == 0.0f) return -kInf;
  if (x < 0.0f) return std::numeric_limits<float>::quiet_NaN();
  if (!(x < kInf)) return x;
  return x < constants::kSmallestNormal ? log_normal(x * 0x1p23f, -23.0f) : log_normal(x, 0.0f);
}

float tanh(float x) {
  const float a = std::fabs(x);
  const ExpParts parts = exp_parts((a > constants::kTanhMax ? constants::kTanhMax : a) * -2.0f);
  // NaN has any exponent, and any stays one.
  const float scale = power_of_two(parts.exponent);
  const float t = parts.value * scale + (scale - 1.0f);
  return std::copysign(t / (t + 2.0f), x);
}

// x * sigmoid(u), where -inf is to give -0.
float gated(float x, float u) {
  if (u < -constants::kExpOrdinary) return (x < constants::kLowest ? constants::kLowest : x) * exp(u);
  return x / (exp(-u) + 1.0f);
}

float sigmoid(float x) {
  return gated(1.0f, x);
}

float gelu(float x) {
  const float a = std::fabs(x);
  const float bounded = a > constants::kTailMax ? constants::kTailMax : a;
  const float u = (bounded - constants::kTailMiddle) / (bounded + constants::kTailMiddle);
  const float tail = exp((bounded * bounded) * -0.5f) * polynomial(constants::kTail, u);
  return (x < constants::kLowest ? constants::kLowest : x) * (x < 0.0f ? tail : 1.0f - tail);
}

float gelu_tanh(float x) {
  const float cube = x * ((x * x) * constants::kGeluTanhCube);
  return gated(x, (x + cube) * constants::kGeluTanhScale);
}

float relu(float x) {
  return x < 0.0f ? 0.0f : x;
}

}  // namespace

float binary(BinaryOp op, float a, float b) {
  switch (op) {
    case BinaryOp::kAdd:
      return a + b;
    case BinaryOp::kSub:
      return a - b;
    case BinaryOp::kMul:
      return a * b;
    case BinaryOp::kDiv:
      return a / b;
    case BinaryOp::kMin:
      return a < b || a != a ? a : b;
    default:
      return a > b || a != a ? a : b;
  }
}

float unary(UnaryOp op, float x) {
  switch (op) {
    case UnaryOp::kNeg:
      return -x;
    case UnaryOp::kAbs:
      return std::fabs(x);
    case UnaryOp::kExp:
      return exp(x);
    case UnaryOp::kLog:
      return log(x);
    case UnaryOp::kSqrt:
      return std::sqrt(x);
    case UnaryOp::kRsqrt:
      return 1.0f / std::sqrt(x);
    case UnaryOp::kTanh:
      return tanh(x);
    case UnaryOp::kSigmoid:
      return sigmoid(x);
    case UnaryOp::kSilu:
      return gated(x, x);
    case UnaryOp::kGelu:
      return gelu(x);
    case UnaryOp::kGeluTanh:
      return gelu_tanh(x);
    case UnaryOp::kRelu:
      return relu(x);
    default:
      return relu(x) * relu(x);
  }
}

float clamp(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

bool compare(CompareOp op, float a, float b) {
  switch (op) {
    case CompareOp::kEqual:
      return a == b;
    case CompareOp::kNotEqual:
      return a != b;
    case CompareOp::kLess:
      return a < b;
    case CompareOp::kLessEqual:
      return a <= b;
    case CompareOp::kGreater:
      return a > b;
    default:
      return a >= b;
  }
}

}  // namespace lobit::kernels::reference

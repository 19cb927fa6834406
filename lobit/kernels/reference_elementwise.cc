#include "lobit/kernels/reference_elementwise.h"

#include <bit>
#include <cmath>
#include <limits>

#include "lobit/kernels/elementwise_constants.h"

namespace lobit::kernels::reference {
namespace {

namespace constants = elementwise_constants;

template <size_t kCount>
float polynomial(const float (&coefficients)[kCount], float x) {
  float sum = coefficients[kCount - 1];
  for (size_t i = kCount - 1; i-- > 0;) sum = sum * x + coefficients[i];
  return sum;
}

float power_of_two(int32_t exponent) {
  return std::bit_cast<float>((static_cast<uint32_t>(exponent) + 127) << 23);
}

// The comparisons let NaN through, here and below.
float exp(float x) {
  x = x > constants::kExpMax ? constants::kExpMax : x;
  x = x < constants::kExpMin ? constants::kExpMin : x;
  const float shifted = x * constants::kLog2E + constants::kRoundToInteger;
  const float n = shifted - constants::kRoundToInteger;
  const float r = (x - n * constants::kLn2High) - n * constants::kLn2Low;
  const float value = 1.0f + (r + (r * r) * polynomial(constants::kExp, r));
  // In two steps, of which the first is exact: the result may be subnormal or inf.
  const auto exponent = static_cast<int32_t>(std::bit_cast<uint32_t>(shifted) -
                                             std::bit_cast<uint32_t>(constants::kRoundToInteger));
  const int32_t half = exponent >> 1;
  return value * power_of_two(half) *
         power_of_two(static_cast<int32_t>(static_cast<uint32_t>(exponent) - static_cast<uint32_t>(half)));
}

float log(float x) {
  const bool subnormal = x < constants::kSmallestNormal;
  const uint32_t bits = std::bit_cast<uint32_t>(subnormal ? x * 0x1p23f : x);
  const uint32_t shifted = bits + (constants::kOneBits - constants::kSqrtHalfBits);
  const float k = static_cast<float>(static_cast<int32_t>(shifted >> 23) - 127) - (subnormal ? 23.0f : 0.0f);
  const float f = std::bit_cast<float>((shifted & 0x007FFFFF) + constants::kSqrtHalfBits) - 1.0f;
  const float s = f / (f + 2.0f);
  const float z = s * s;
  const float half_square = 0.5f * (f * f);
  const float rest = z * polynomial(constants::kLog, z);
  const float low = s * (half_square + rest) + k * constants::kLn2Low;
  const float value = ((low - half_square) + f) + k * constants::kLn2High;
  constexpr float kInf = std::numeric_limits<float>::infinity();
  if (x == 0.0f) return -kInf;
  if (x < 0.0f) return std::numeric_limits<float>::quiet_NaN();
  return x < kInf ? value : x;
}

float tanh(float x) {
  const float a = std::fabs(x);
  const float z = a * a;
  const float small = a + a * (z * polynomial(constants::kTanh, z));
  const float bounded = a > constants::kTanhMax ? constants::kTanhMax : a;
  const float large = 1.0f - 2.0f / (exp(bounded + bounded) + 1.0f);
  return std::copysign(a < constants::kTanhSmall ? small : large, x);
}

float sigmoid(float x) {
  const float e = exp(-std::fabs(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

// x * share, where -inf is to give -0 with the share 0.
float weighted(float x, float share) {
  return (x < constants::kLowest ? constants::kLowest : x) * share;
}

float gelu(float x) {
  const float a = std::fabs(x);
  const float bounded = a > constants::kTailMax ? constants::kTailMax : a;
  const float u = (bounded - constants::kTailMiddle) / (bounded + constants::kTailMiddle);
  const float tail = exp(-0.5f * (bounded * bounded)) * polynomial(constants::kTail, u);
  return weighted(x, x < 0.0f ? tail : 1.0f - tail);
}

float gelu_tanh(float x) {
  const float cubic = x + x * ((x * x) * constants::kGeluTanhCube);
  return weighted(x, sigmoid(constants::kGeluTanhScale * cubic));
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
      return weighted(x, sigmoid(x));
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

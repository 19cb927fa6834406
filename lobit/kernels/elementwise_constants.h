// The numbers of the element-wise functions, for the reference and the vector kernels. Polynomials are the
// best in the sense of Chebyshev for their interval, found by weighted least squares; coefficients of the
// lowest power come first. Not installed.
#pragma once

#include <cstdint>

namespace lobit::kernels::elementwise_constants {

// A float in [-2^22, 2^22] plus this is rounded to an integer, which the lowest bits of the sum hold.
inline constexpr float kRoundToInteger = 0x1.8p23f;

inline constexpr float kLog2E = 0x1.715476p0f;
// ln 2 in two parts: 15 bits, so that products with an exponent are exact, and the rest.
inline constexpr float kLn2High = 0x1.62e4p-1f;
inline constexpr float kLn2Low = 0x1.7f7d1cp-20f;

// exp(r) = 1 + r + r^2 p(r) for |r| <= 0.348, within 5e-11. Beyond the limits the result is inf or 0.
inline constexpr float kExp[] = {0x1p-1f,        0x1.555556p-3f,  0x1.55547cp-5f,
                                 0x1.11107cp-7f, 0x1.6d99b2p-10f, 0x1.a1b868p-13f};
inline constexpr float kExpMax = 89.0f;
inline constexpr float kExpMin = -104.0f;

// log((1 + s) / (1 - s)) = 2 s + s z p(z) with z = s^2 for 1 + f in [sqrt(1/2), sqrt(2)], s = f / (2 + f),
// within 1e-11.
inline constexpr float kLog[] = {0x1.555554p-1f, 0x1.999a7cp-2f, 0x1.2438a8p-2f, 0x1.e2fdd6p-3f};
inline constexpr uint32_t kSqrtHalfBits = 0x3F3504F3;
inline constexpr uint32_t kOneBits = 0x3F800000;
inline constexpr float kSmallestNormal = 0x1p-126f;

// tanh(x) = x + x z p(z) with z = x^2 for |x| < 0.625, within 2e-10; above, 1 - 2 / (exp(2 x) + 1), which is
// 1 from the limit on.
inline constexpr float kTanh[] = {-0x1.555554p-2f, 0x1.11106cp-3f,  -0x1.b9ef7cp-5f,
                                  0x1.6394d8p-6f,  -0x1.0c213ep-7f, 0x1.197b62p-9f};
inline constexpr float kTanhSmall = 0.625f;
inline constexpr float kTanhMax = 10.0f;

// The upper tail of the normal distribution: exp(-a^2 / 2) p((a - 3) / (a + 3)) for 0 <= a <= 14.6, within a
// share of 1e-8. It is 0 long before the limit.
inline constexpr float kTail[] = {0x1.f1b89cp-4f,  -0x1.a6b66ap-3f, 0x1.f8bad2p-4f,   -0x1.7a943ap-5f,
                                  0x1.91dc7cp-8f,  0x1.7cade6p-9f,  -0x1.01bd1ap-10f, -0x1.63618ep-12f,
                                  0x1.e1f818p-14f, 0x1.bd1d9p-15f};
inline constexpr float kTailMiddle = 3.0f;
inline constexpr float kTailMax = 20.0f;

// 2 sqrt(2 / pi), and what stands before the cube within the tanh form of gelu.
inline constexpr float kGeluTanhScale = 0x1.988454p0f;
inline constexpr float kGeluTanhCube = 0.044715f;

inline constexpr float kLowest = -0x1.fffffep127f;

}  // namespace lobit::kernels::elementwise_constants

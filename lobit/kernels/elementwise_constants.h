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

// exp(r) = 1 + r + r^2 p(r) for |r| <= 0.3475, within a share of 4e-9. Beyond the limits the result is inf or
// 0, within the ordinary ones it is a normal number.
inline constexpr float kExp[] = {0x1p-1f, 0x1.5554a2p-3f, 0x1.55568cp-5f, 0x1.1230bp-7f, 0x1.6b6c4ep-10f};
inline constexpr float kExpMax = 89.0f;
inline constexpr float kExpMin = -104.0f;
inline constexpr float kExpOrdinary = 86.0f;

// log(1 + f) = f + f^2 p(f) for 1 + f in [sqrt(1/2), sqrt(2)], within a share of 6e-9.
inline constexpr float kLog[] = {-0x1p-1f,        0x1.555554p-2f,  -0x1.000226p-2f,
                                 0x1.99a01cp-3f,  -0x1.54728ap-3f, 0x1.22d92ep-3f,
                                 -0x1.0d8242p-3f, 0x1.055ec4p-3f,  -0x1.38c9d4p-4f};
inline constexpr int32_t kSqrtHalfBits = 0x3F3504F3;
inline constexpr int32_t kOneBits = 0x3F800000;
inline constexpr float kSmallestNormal = 0x1p-126f;
inline constexpr int32_t kSmallestNormalBits = 0x00800000;
inline constexpr uint32_t kNormalNumbers = 0x7F000000;  // above 0

// tanh(a) = -t / (t + 2) with t = exp(-2 a) - 1, which is 1 from the limit on.
inline constexpr float kTanhMax = 10.0f;

// The upper tail of the normal distribution: exp(-a^2 / 2) p((a - 4) / (a + 4)) for 0 <= a <= 14.6, within a
// share of 2e-8 (1 + 2 a^2). It is 0 long before the limit.
inline constexpr float kTail[] = {0x1.82b4bp-4f,  -0x1.5cf9c4p-3f, 0x1.fd76c2p-4f,  -0x1.25a826p-4f,
                                  0x1.f9b14ap-6f, -0x1.18e5a6p-7f, 0x1.c7c67ep-12f, 0x1.8bf826p-11f};
inline constexpr float kTailMiddle = 4.0f;
inline constexpr float kTailMax = 20.0f;
// Up to here the tail is a normal number.
inline constexpr float kGeluOrdinary = 12.0f;

// 2 sqrt(2 / pi), and what stands before the cube within the tanh form of gelu.
inline constexpr float kGeluTanhScale = 0x1.988454p0f;
inline constexpr float kGeluTanhCube = 0.044715f;

inline constexpr float kLowest = -0x1.fffffep127f;

}  // namespace lobit::kernels::elementwise_constants

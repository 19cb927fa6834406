// Which instruction set the kernels use. Chosen once from what the machine can run; tests force each level in
// turn. Every level gives the same bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "lobit/base/export.h"

namespace lobit {

enum class SimdLevel : uint8_t {
  kScalar,    // the reference codecs
  kSse4,      // x86-64-v2
  kAvx2,      // x86-64-v3
  kAvx512,    // AVX-512 F, BW, CD, DQ, VL
  kAvx512Dl,  // and VNNI, VBMI, VBMI2, ... (Ice Lake, Zen 4)
  kNeon,      // AArch64
};

LOBIT_API std::string_view simd_level_name(SimdLevel level);

// The levels that this build has and this machine can run, slowest first; never empty.
LOBIT_API std::span<const SimdLevel> simd_levels();

// The level in use: the last of simd_levels() unless set_simd_level() chose another.
LOBIT_API SimdLevel simd_level();

// Makes all kernels use `level`; false, without effect, when simd_levels() lacks it. For tests and
// benchmarks; call it while no other thread runs a kernel.
LOBIT_API bool set_simd_level(SimdLevel level);

}  // namespace lobit

// QuantizeMethod: how much work goes into the scales of the block encodings. Each method keeps the result of
// the one before it where it finds nothing better, so that the squared error of no group ever grows. Pure
// functions, safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/dtype/encoding.h"

namespace lobit {

enum class QuantizeMethod : uint8_t {
  kDirect,  // from the largest value of the group: ggml's bytes
  kScaled,  // the best of a few scales, improved by least squares
  kExact,   // the scale with the least squared error, as far as its rounding to F16 lets it be; of Q4_1 and
            // Q5_1, which have a minimum too, the best of very many pairs
};

LOBIT_API std::string_view quantize_method_name(QuantizeMethod method);  // "direct", "scaled", "exact"
LOBIT_API std::optional<QuantizeMethod> parse_quantize_method(std::string_view name);

// What the name of an encoding (see parse_encoding()) says about the method: ggml's names and "i8" mean the
// bytes that ggml writes, "i4", "i2", "i1" and "bitnet158" the values as good as they quickly get.
LOBIT_API QuantizeMethod method_of_name(std::string_view encoding_name);

// Whether the method has a choice to make in this encoding. Plain numbers have no scale, and the scale of
// Q1_0 has the least error already.
LOBIT_API bool has_scale_search(Encoding to);

}  // namespace lobit

#include "lobit/quant/quantize_method.h"

#include <gtest/gtest.h>

#include "lobit/quant/quantizer.h"

namespace lobit {
namespace {

using enum QuantizeMethod;

TEST(QuantizeMethod, NamesAreRead) {
  for (const QuantizeMethod method : {kDirect, kScaled, kExact}) {
    EXPECT_EQ(parse_quantize_method(quantize_method_name(method)), method);
  }
  EXPECT_EQ(quantize_method_name(kScaled), "scaled");
  for (const char* name : {"", "Direct", "best", "scaled "}) {
    EXPECT_EQ(parse_quantize_method(name), std::nullopt) << name;
  }
}

TEST(QuantizeMethod, NamesOfDtypesBelowEightBitsMeanScaled) {
  for (const char* name : {"i4", "I4", "i2", "i1", "bitnet158", "BitNet158"}) {
    EXPECT_EQ(method_of_name(name), kScaled) << name;
  }
  for (const char* name : {"i8", "q8_0", "q4_0", "Q2_0", "tq2_0", "tq1_0", "q1_0", "f16", ""}) {
    EXPECT_EQ(method_of_name(name), kDirect) << name;
  }
}

TEST(Quantizer, ExistsWhereTheMethodDoes) {
  for (const EncodingTraits& to : all_encodings()) {
    const bool encodes = to.can_encode && to.encoding != Encoding::kF32;
    for (const QuantizeMethod method : {kDirect, kScaled, kExact}) {
      EXPECT_EQ(quantizer(to.encoding, method) != nullptr, encodes) << to.name;
    }
    if (!has_scale_search(to.encoding)) continue;
    EXPECT_NE(quantizer(to.encoding, kScaled), quantizer(to.encoding, kDirect)) << to.name;
    EXPECT_NE(quantizer(to.encoding, kExact), quantizer(to.encoding, kScaled)) << to.name;
  }
  for (const Encoding to : {Encoding::kF16, Encoding::kBF16, Encoding::kQ1_0}) {
    EXPECT_EQ(quantizer(to, kExact), kernels::encoder(Encoding::kF32, to));
  }
}

}  // namespace
}  // namespace lobit

// The methods that search for scales give the same bytes with every compiler, on every machine and in every
// release: a change of these hashes is a change of the files that lobit writes.
#include <cinttypes>
#include <cstdio>
#include <string>

#include "tests/golden/codec_hashes.h"
#include <gtest/gtest.h>

#include "lobit/dtype/encoding.h"
#include "lobit/quant/quantizer.h"

namespace lobit {
namespace {

using enum Encoding;

constexpr uint64_t kGroups = 2000;

struct Golden {
  Encoding to;
  uint64_t scaled;
  uint64_t exact;
};
constexpr Golden kGolden[] = {
    {kQ8_0, 0x0b87724e0ea2762fu, 0x845101ea2f4f8cc6u},  {kQ4_0, 0xebc484024db9f930u, 0xd64940ee55a1b9d7u},
    {kQ5_0, 0x8b8c20fd7b13f9b9u, 0x06a62f97fd6d65a0u},  {kQ2_0, 0x984d37f0df686d77u, 0x801d8a45f0eaa653u},
    {kTQ2_0, 0xffb40913bc1700e2u, 0xc6b2c437829faa4du}, {kTQ1_0, 0x713d180c584f0041u, 0xb389efeaddc663ddu},
};

std::string text_of(uint64_t hash) {
  char text[20];
  std::snprintf(text, sizeof text, "%016" PRIx64, hash);
  return text;
}

std::string hash_of(Encoding to, QuantizeMethod method) {
  return text_of(golden::hash_encoder(to, quantizer(to, method), kGroups));
}

TEST(Quantizer, GivesTheGoldenBytes) {
  for (const Golden& golden : kGolden) {
    EXPECT_EQ(hash_of(golden.to, QuantizeMethod::kScaled), text_of(golden.scaled))
        << encoding_name(golden.to);
    EXPECT_EQ(hash_of(golden.to, QuantizeMethod::kExact), text_of(golden.exact)) << encoding_name(golden.to);
  }
}

}  // namespace
}  // namespace lobit

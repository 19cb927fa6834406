// The reference codecs give the bytes of ggml's own quantizers, whose hashes are in codec_hashes.txt.
#include <fstream>
#include <ios>
#include <map>
#include <string>

#include "tests/golden/codec_hashes.h"
#include <gtest/gtest.h>

#include "lobit/dtype/encoding.h"
#include "lobit/dtype/reference.h"

namespace lobit {
namespace {

// "encode q8_0" -> hash.
std::map<std::string, uint64_t> golden_hashes() {
  std::map<std::string, uint64_t> hashes;
  std::ifstream file(LOBIT_GOLDEN_FOLDER "/codec_hashes.txt");
  std::string word;
  while (file >> word) {
    if (word.starts_with('#')) {
      std::getline(file, word);
      continue;
    }
    std::string name;
    uint64_t hash = 0;
    file >> name >> std::hex >> hash;
    hashes[word + " " + name] = hash;
  }
  return hashes;
}

TEST(ReferenceEncode, GivesTheBytesOfGgml) {
  const std::map<std::string, uint64_t> golden = golden_hashes();
  int compared = 0;
  for (const EncodingTraits& t : all_encodings()) {
    if (!t.is_block() || !t.can_encode) continue;
    EncodeCounts counts;
    const uint64_t hash =
        golden::hash_encoder(t.encoding, [&](const float* values, void* blocks, size_t count) {
          counts += reference::encode(t.encoding, values, blocks, count);
        });
    const auto expected = golden.find("encode " + std::string(t.name));
    ASSERT_NE(expected, golden.end()) << t.name;
    EXPECT_EQ(hash, expected->second) << t.name;
    EXPECT_EQ(counts.unrepresentable, 0u) << t.name;
    EXPECT_EQ(counts.flushed, 0u) << t.name;
    ++compared;
  }
  EXPECT_EQ(compared, 9);
}

TEST(ReferenceDecode, GivesTheValuesOfGgml) {
  const std::map<std::string, uint64_t> golden = golden_hashes();
  int compared = 0;
  for (const EncodingTraits& t : all_encodings()) {
    if (!t.is_block() || !t.can_decode) continue;
    const uint64_t hash =
        golden::hash_decoder(t.encoding, [&](const void* blocks, float* values, size_t count) {
          reference::decode(t.encoding, blocks, values, count);
        });
    const auto expected = golden.find("decode " + std::string(t.name));
    ASSERT_NE(expected, golden.end()) << t.name;
    EXPECT_EQ(hash, expected->second) << t.name;
    ++compared;
  }
  EXPECT_EQ(compared, 15);
}

}  // namespace
}  // namespace lobit

// Prints codec_hashes.txt from ggml's own quantizers. Not part of the build, because it needs ggml's header
// and library:
//   g++ -std=c++20 -O2 -I. -I$GGML/include tests/golden/make_codec_hashes.cc lobit/dtype/encoding.cc
//       lobit/base/check.cc -L$LIB -lggml-base -lxxhash -o make_codec_hashes
#include <cinttypes>
#include <cstdio>

#include "ggml.h"
#include "tests/golden/codec_hashes.h"

#include "lobit/dtype/encoding.h"

// ggml exports it without a header; the type's own to_float is empty.
extern "C" void dequantize_row_q8_K(const void* blocks, float* values, int64_t count);

int main() {
  using namespace lobit;
  std::printf(
      "# XXH3 (64 bits) of the bytes that ggml %s, built for baseline x86-64, writes for the input of\n"
      "# codec_input.h: %" PRIu64 " blocks each. Made by make_codec_hashes.cc.\n",
      ggml_version(), golden::kBlocks);
  for (const EncodingTraits& t : all_encodings()) {
    if (!t.is_block() || !t.can_encode) continue;
    const auto type = static_cast<ggml_type>(*t.ggml_type);
    const uint64_t hash =
        golden::hash_encoder(t.encoding, [&](const float* values, void* blocks, size_t count) {
          ggml_quantize_chunk(type, values, blocks, 0, 1, static_cast<int64_t>(count), nullptr);
        });
    std::printf("encode %.*s %016" PRIx64 "\n", static_cast<int>(t.name.size()), t.name.data(), hash);
  }
  for (const EncodingTraits& t : all_encodings()) {
    if (!t.is_block() || !t.can_decode) continue;
    const auto to_float = t.encoding == Encoding::kQ8_K
                              ? dequantize_row_q8_K
                              : ggml_get_type_traits(static_cast<ggml_type>(*t.ggml_type))->to_float;
    const uint64_t hash =
        golden::hash_decoder(t.encoding, [&](const void* blocks, float* values, size_t count) {
          to_float(blocks, values, static_cast<int64_t>(count));
        });
    std::printf("decode %.*s %016" PRIx64 "\n", static_cast<int>(t.name.size()), t.name.data(), hash);
  }
}

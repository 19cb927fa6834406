// The codecs as a filter, for the Python conformance tests:
//   codec_tool CODEC encode ENCODING [FROM] < values > blocks    values are FROM: f32 (the default), f16,
//   bf16 codec_tool CODEC decode ENCODING < blocks > values           values are F32 codec_tool levels SIMD
//   levels of this machine, one a line codec_tool table                                             name,
//   block's values and bytes, ggml's number
// CODEC is --reference or --simd=LEVEL.
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string_view>
#include <vector>

#include "lobit/base/fp_env.h"
#include "lobit/dtype/encoding.h"
#include "lobit/dtype/reference.h"
#include "lobit/kernels/codec.h"
#include "lobit/kernels/simd.h"

namespace lobit {
namespace {

int usage(const char* problem) {
  std::fprintf(stderr, "codec_tool: %s; its first lines say how it is used\n", problem);
  return 2;
}

std::vector<std::byte> read_input() {
  std::vector<std::byte> bytes;
  size_t used = 0;
  for (;;) {
    bytes.resize(used + (size_t{1} << 20));
    const size_t n = std::fread(bytes.data() + used, 1, bytes.size() - used, stdin);
    used += n;
    if (n == 0) break;
  }
  bytes.resize(used);
  return bytes;
}

int write_output(const std::vector<std::byte>& bytes) {
  return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size() && std::fflush(stdout) == 0 ? 0
                                                                                                        : 1;
}

void encode_reference(Encoding from, Encoding to, const std::vector<std::byte>& in,
                      std::vector<std::byte>& out, size_t count) {
  std::vector<float> values(count);
  reference::decode(from, in.data(), values.data(), count);
  reference::encode(to, values.data(), out.data(), count);
}

int encode(bool by_reference, Encoding from, Encoding to) {
  const std::vector<std::byte> in = read_input();
  const size_t count = in.size() / traits(from).block_bytes;
  const std::optional<uint64_t> bytes = encoded_bytes(to, count);
  if (!traits(to).can_encode || !bytes) return usage("cannot encode that");
  std::vector<std::byte> out(*bytes);
  if (by_reference) {
    encode_reference(from, to, in, out, count);
  } else {
    const kernels::EncodeFn kernel = kernels::encoder(from, to);
    if (kernel == nullptr) return usage("no such kernel");
    kernel(in.data(), out.data(), count);
  }
  return write_output(out);
}

int decode(bool by_reference, Encoding from) {
  const std::vector<std::byte> in = read_input();
  const EncodingTraits& t = traits(from);
  if (!t.can_decode || in.size() % t.block_bytes != 0) return usage("cannot decode that");
  const size_t count = in.size() / t.block_bytes * t.block_elements;
  std::vector<std::byte> out(count * sizeof(float));
  auto* values = reinterpret_cast<float*>(out.data());
  const kernels::DecodeFn kernel = by_reference ? nullptr : kernels::decoder(from);
  if (!by_reference && kernel == nullptr) return usage("no such kernel");
  by_reference ? reference::decode(from, in.data(), values, count) : kernel(in.data(), values, count);
  return write_output(out);
}

int list_levels() {
  for (const SimdLevel level : simd_levels()) std::printf("%s\n", simd_level_name(level).data());
  return 0;
}

int list_encodings() {
  for (const EncodingTraits& t : all_encodings()) {
    const int number = t.ggml_type ? static_cast<int>(*t.ggml_type) : -1;
    std::printf("%s %u %u %d\n", t.name.data(), t.block_elements, t.block_bytes, number);
  }
  return 0;
}

bool use_level(std::string_view name) {
  for (const SimdLevel level : simd_levels()) {
    if (simd_level_name(level) == name) return set_simd_level(level);
  }
  return false;
}

int run(const std::vector<std::string_view>& args) {
  if (args.size() == 1 && args[0] == "levels") return list_levels();
  if (args.size() == 1 && args[0] == "table") return list_encodings();
  if (args.size() < 3 || args.size() > 4) return usage("expected CODEC, a verb and an encoding");

  constexpr std::string_view kSimd = "--simd=";
  const bool by_reference = args[0] == "--reference";
  if (!by_reference && !(args[0].starts_with(kSimd) && use_level(args[0].substr(kSimd.size())))) {
    return usage("unknown CODEC");
  }
  const std::optional<Encoding> encoding = parse_encoding(args[2]);
  if (!encoding) return usage("unknown ENCODING");
  const std::optional<Encoding> from = args.size() == 4 ? parse_encoding(args[3]) : Encoding::kF32;
  if (!from || traits(*from).is_block()) return usage("unknown FROM");
  if (args[1] == "encode") return encode(by_reference, *from, *encoding);
  if (args[1] == "decode") return decode(by_reference, *encoding);
  return usage("expected encode or decode");
}

}  // namespace
}  // namespace lobit

int main(int argc, char** argv) {
  const lobit::ScopedFpEnv fp_env;
  return lobit::run({argv + 1, argv + argc});
}

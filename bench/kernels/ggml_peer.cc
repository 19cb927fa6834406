#include "bench/kernels/ggml_peer.h"

#include <cstring>

#include <dlfcn.h>

#include "lobit/base/check.h"

namespace lobit::bench {
namespace {

Result<void*> open_library(const std::string& path, int flags) {
  void* library = dlopen(path.c_str(), RTLD_NOW | flags);
  if (library == nullptr) return fail(ErrorCode::kNotFound, std::string("peer library: ") + dlerror());
  return library;
}

template <typename Function>
Status find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) return fail(ErrorCode::kUnsupported, std::string("peer library lacks ") + name);
  return {};
}

int ggml_type(Encoding encoding) {
  return static_cast<int>(*traits(encoding).ggml_type);
}

}  // namespace

Result<GgmlPeer> GgmlPeer::open(const std::string& folder) {
  GgmlPeer peer;
  // libggml-cpu finds libggml-base's symbols by its own link; global scope covers builds without a run path.
  LOBIT_TRY(void* base, open_library(folder + "/libggml-base.so", RTLD_GLOBAL));
  LOBIT_TRY(void* cpu, open_library(folder + "/libggml-cpu.so", RTLD_LOCAL));
  void (*cpu_init)() = nullptr;
  LOBIT_RETURN_IF_ERROR(find(base, "ggml_get_type_traits", peer.traits_));
  LOBIT_RETURN_IF_ERROR(find(base, "ggml_quantize_chunk", peer.quantize_chunk_));
  LOBIT_RETURN_IF_ERROR(find(cpu, "ggml_get_type_traits_cpu", peer.cpu_traits_));
  LOBIT_RETURN_IF_ERROR(find(cpu, "ggml_cpu_fp16_to_fp32", peer.cpu_f16_));
  LOBIT_RETURN_IF_ERROR(find(cpu, "ggml_cpu_bf16_to_fp32", peer.cpu_bf16_));
  LOBIT_RETURN_IF_ERROR(find(cpu, "ggml_cpu_init", cpu_init));
  cpu_init();  // fills the tables that the CPU backend's half conversions read
  return peer;
}

const GgmlPeer::Traits* GgmlPeer::traits_of(Encoding encoding) const {
  const EncodingTraits& ours = traits(encoding);
  if (!ours.ggml_type) return nullptr;
  const Traits* theirs = traits_(static_cast<int>(*ours.ggml_type));
  // An older ggml has another or no type behind the number.
  const bool same = theirs != nullptr && theirs->block_elements == ours.block_elements &&
                    theirs->block_bytes == ours.block_bytes;
  return same ? theirs : nullptr;
}

bool GgmlPeer::knows(Encoding encoding) const {
  return traits_of(encoding) != nullptr;
}

void GgmlPeer::quantize(Encoding to, const float* values, void* blocks, size_t count, size_t row,
                        const float* importance) const {
  LOBIT_CHECK(knows(to) && count % row == 0);
  quantize_chunk_(ggml_type(to), values, blocks, 0, static_cast<int64_t>(count / row),
                  static_cast<int64_t>(row), importance);
}

GgmlPeer::FromFloat GgmlPeer::cpu_from_float(Encoding to) const {
  return knows(to) ? cpu_traits_(ggml_type(to))->from_float : nullptr;
}

GgmlPeer::Dot GgmlPeer::dot(Encoding weights) const {
  return knows(weights) ? cpu_traits_(ggml_type(weights))->dot : nullptr;
}

void GgmlPeer::convert_activations(Encoding weights, const float* values, void* row, size_t count) const {
  const int type = cpu_traits_(ggml_type(weights))->dot_type;
  const FromFloat convert = cpu_traits_(type)->from_float;
  if (convert != nullptr) {
    convert(values, row, static_cast<int64_t>(count));
  } else {
    std::memcpy(row, values, count * sizeof(float));  // F32
  }
}

GgmlPeer::ToFloat GgmlPeer::to_float(Encoding from) const {
  const Traits* theirs = traits_of(from);
  return theirs != nullptr ? theirs->to_float : nullptr;
}

GgmlPeer::ToFloat GgmlPeer::cpu_to_float(Encoding from) const {
  if (from == Encoding::kF16) return cpu_f16_;
  if (from == Encoding::kBF16) return cpu_bf16_;
  return nullptr;
}

}  // namespace lobit::bench

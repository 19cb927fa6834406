// The peer: ggml's row functions, taken at run time from the shared libraries of an installed llama.cpp. The
// few prototypes that are needed are declared here, so that the benchmark builds without ggml. `base` is
// libggml-base, which llama.cpp's quantizer calls; `cpu` is libggml-cpu, which converts activations while a
// model runs and is compiled for the machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "lobit/base/result.h"
#include "lobit/dtype/encoding.h"

namespace lobit::bench {

class GgmlPeer {
 public:
  // Opens libggml-base.so and libggml-cpu.so in `folder`. They stay open until the program ends.
  static Result<GgmlPeer> open(const std::string& folder);

  using FromFloat = void (*)(const float* values, void* blocks, int64_t count);
  using ToFloat = void (*)(const void* blocks, float* values, int64_t count);

  // What ggml calls the encoding has this number and name here (the tables were compared at open()).
  bool knows(Encoding encoding) const;

  // F32 -> encoding as the quantizer does it, in rows of `row` values; `importance` weighs the squared errors
  // of columns, and makes ggml look for scales in some encodings.
  void quantize(Encoding to, const float* values, void* blocks, size_t count, size_t row,
                const float* importance = nullptr) const;

  // F32 -> encoding as the CPU backend does it for activations; nullptr where it has none.
  FromFloat cpu_from_float(Encoding to) const;

  // Encoding -> F32; nullptr where ggml has none.
  ToFloat to_float(Encoding from) const;

  // The dot product of a row of weights with activations of convert_activations(), of which the CPU backend
  // makes its matrix products; nullptr where it has none. The sizes are of no effect for one row.
  using Dot = void (*)(int count, float* sum, size_t sum_size, const void* weights, size_t weights_size,
                       const void* activations, size_t activations_size, int rows);
  Dot dot(Encoding weights) const;
  // At most four bytes a value. For weights that have a dot().
  void convert_activations(Encoding weights, const float* values, void* row, size_t count) const;

  // F16 and BF16 <-> F32 of the CPU backend; nullptr for everything else.
  ToFloat cpu_to_float(Encoding from) const;

 private:
  // ggml_type_traits and ggml_type_traits_cpu of ggml's public headers.
  struct Traits {
    const char* type_name;
    int64_t block_elements;
    int64_t block_interleave;
    size_t block_bytes;
    bool is_quantized;
    ToFloat to_float;
    FromFloat from_float_reference;
  };
  struct CpuTraits {
    FromFloat from_float;
    Dot dot;
    int dot_type;
    int64_t rows;
  };
  using TraitsOf = const Traits* (*)(int type);
  using CpuTraitsOf = const CpuTraits* (*)(int type);
  using QuantizeChunk = size_t (*)(int type, const float* values, void* blocks, int64_t start, int64_t rows,
                                   int64_t row, const float* importance);

  GgmlPeer() = default;
  const Traits* traits_of(Encoding encoding) const;

  TraitsOf traits_ = nullptr;
  CpuTraitsOf cpu_traits_ = nullptr;
  QuantizeChunk quantize_chunk_ = nullptr;
  ToFloat cpu_f16_ = nullptr;
  ToFloat cpu_bf16_ = nullptr;
};

}  // namespace lobit::bench

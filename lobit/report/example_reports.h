// Reports as a conversion of a small transformer makes them, for the tests of this folder.
#pragma once

#include <cmath>
#include <limits>
#include <string>

#include <fmt/format.h>

#include "lobit/report/conversion_report.h"
#include "lobit/report/model_report.h"
#include "lobit/report/verify_report.h"

namespace lobit::example {

inline constexpr int kLayers = 24;

// F16 to TQ2_0 (2.0625 bits); what stays gets the same bytes.
inline TensorReport converted(std::string name, std::string role, int64_t layer, std::string shape,
                              uint64_t elements, double sqnr_db) {
  TensorReport tensor{.name = std::move(name),
                      .role = std::move(role),
                      .layer = layer,
                      .shape = std::move(shape),
                      .from = "f16",
                      .to = "tq2_0",
                      .elements = elements,
                      .bytes_in = elements * 2,
                      .bytes_out = elements / 256 * 66,
                      .note = "default"};
  tensor.sqnr_db = sqnr_db;
  tensor.nmse = std::pow(10, -sqnr_db / 10);
  tensor.cosine = std::sqrt(1 - *tensor.nmse);
  tensor.max_abs_error = 0.5 * *tensor.nmse;
  return tensor;
}

inline TensorReport norm(std::string name, int64_t layer) {
  TensorReport tensor{.name = std::move(name),
                      .role = "norm",
                      .layer = layer,
                      .shape = "1024",
                      .from = "f32",
                      .to = "f32",
                      .elements = 1024,
                      .bytes_in = 4096,
                      .bytes_out = 4096,
                      .note = "norms stay"};
  tensor.sqnr_db = std::numeric_limits<double>::infinity();
  tensor.nmse = 0;
  return tensor;
}

inline ConversionReport conversion() {
  ConversionReport report{.source = "bitnet-482m-f16.gguf",
                          .target = "bitnet-482m-tq2_0.gguf",
                          .source_format = "gguf",
                          .target_format = "gguf",
                          .seconds = 0.42,
                          .threads = 2,
                          .memory_limit = 67108864,
                          .peak_rss = 65011712};
  TensorReport embedding = converted("token_embd.weight", "embedding", -1, "32000x1024", 32768000, 44.1);
  embedding.to = "q8_0";
  embedding.bytes_out = 32768000 / 32 * 34;
  embedding.note = "rule 'embedding=q8_0'";
  report.tensors.push_back(embedding);
  for (int layer = 0; layer < kLayers; ++layer) {
    const double wave = std::sin(layer * 0.7) * 0.8 - layer * 0.03;
    report.tensors.push_back(norm(fmt::format("blk.{}.attn_norm.weight", layer), layer));
    for (const char* part : {"q", "k", "v", "output"}) {
      report.tensors.push_back(converted(fmt::format("blk.{}.attn_{}.weight", layer, part), "attention",
                                         layer, "1024x1024", 1048576, 9.2 + wave + part[0] % 4 * 0.1));
    }
    for (const char* part : {"gate", "up", "down"}) {
      report.tensors.push_back(converted(fmt::format("blk.{}.ffn_{}.weight", layer, part), "ffn", layer,
                                         "4096x1024", 4194304, 8.1 - wave * 0.6));
    }
  }
  TensorReport odd =
      converted("adapter.<script>alert(1)</script>.weight", "other", -1, "512x100", 51200, 20.7);
  odd.to = "q4_0";
  odd.bytes_out = 28800;
  odd.fallback = true;
  odd.note = "100 columns do not divide by 256";
  odd.flushed_groups = 3;
  report.tensors.push_back(odd);
  const ConversionTotals sum = totals(report);
  report.file_bytes_in = sum.bytes_in + 745472;
  report.file_bytes_out = sum.bytes_out + 745472;
  report.sqnr_db = 9.84;
  report.cosine = 0.94712;
  report.output_hash = "xxh3-128:6f1b0c27a6a54c14ad3a2b8ee1b7f9d0";
  report.command =
      "lobit convert bitnet-482m-f16.gguf -o bitnet-482m-tq2_0.gguf --to bitnet158 --memory-limit 64MiB";
  return report;
}

inline ModelReport model() {
  ModelReport report{
      .path = "bitnet-482m-f16.gguf",
      .format = "gguf",
      .version = "3",
      .alignment = 32,
      .parts = {{"bitnet-482m-f16.gguf", 0}},
      .metadata = {{"general.architecture", "string", "bitnet"},
                   {"general.name", "string", "BitNet 482M"},
                   {"bitnet.block_count", "u32", "24"},
                   {"tokenizer.ggml.tokens", "array of string", "32000 items: <unk>, <s>, </s>, ..."}}};
  uint64_t offset = 745472;
  for (const TensorReport& tensor : conversion().tensors) {
    report.tensors.push_back({.name = tensor.name,
                              .role = tensor.role,
                              .layer = tensor.layer,
                              .encoding = tensor.from,
                              .shape = tensor.shape,
                              .elements = tensor.elements,
                              .part = 0,
                              .offset = offset,
                              .bytes = tensor.bytes_in});
    offset += tensor.bytes_in;
  }
  report.parts[0].bytes = offset;
  report.tensors[0].statistics = TensorStatistics{.min = -0.71,
                                                  .max = 0.69,
                                                  .mean = 0.00012,
                                                  .standard_deviation = 0.031,
                                                  .zeros = 327680,
                                                  .nans = 0,
                                                  .infinities = 2};
  return report;
}

inline VerifyReport verification() {
  VerifyReport report{.first = "bitnet-482m-f16.gguf", .second = "bitnet-482m-tq2_0.gguf"};
  for (const TensorReport& tensor : conversion().tensors) {
    const bool same = tensor.from == tensor.to;
    VerifiedTensor comparison{
        .name = tensor.name,
        .status = same ? VerifyStatus::kSame : VerifyStatus::kDiffers,
        .encoding_first = tensor.from,
        .encoding_second = tensor.to,
        .hash_first = "00112233445566778899aabbccddeeff",
        .hash_second = same ? "00112233445566778899aabbccddeeff" : "ffeeddccbbaa99887766554433221100"};
    comparison.max_abs_error = same ? 0 : tensor.max_abs_error;
    comparison.nmse = tensor.nmse;
    comparison.sqnr_db = tensor.sqnr_db;
    comparison.cosine = tensor.cosine;
    report.tensors.push_back(comparison);
  }
  report.tensors.push_back({.name = "output.weight", .status = VerifyStatus::kOnlyFirst});
  return report;
}

}  // namespace lobit::example

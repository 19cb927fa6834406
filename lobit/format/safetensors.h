// safetensors. docs/formats/safetensors.md describes the layout and how lobit stores quantized tensors in it.
// Reading touches the header alone, in time and memory linear in its size, and treats every byte as hostile.
// Functions without state; safe from any thread.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/format/layout.h"
#include "lobit/format/metadata.h"
#include "lobit/format/tensor_entry.h"
#include "lobit/io/source.h"

namespace lobit {

inline constexpr uint64_t kSafetensorsMaxHeader = 100'000'000;

struct SafetensorsHeader {
  Metadata metadata;  // strings of __metadata__, without lobit's own keys about encodings
  // Sorted by offset. A tensor that lobit stored as blocks (U8 with lobit.encoding.NAME in __metadata__) has
  // its true encoding and shape here.
  std::vector<TensorEntry> tensors;
  uint64_t data_offset = 0;
};

// Reads and checks the header of one file. kCorrupt with the byte offset for everything that breaks the
// format, kLimit for a header over 100,000,000 bytes, kUnsupported for more dimensions than Shape holds.
LOBIT_API Result<SafetensorsHeader> read_safetensors(const ByteSource& source);

// Lays out one file. Tensors keep the order given (data in that order; the header names them in that order
// too). Plain encodings are written under their own dtype, block encodings as U8 tensors [rows, row bytes]
// with the encoding and shape in __metadata__. Values of `metadata` that are not strings are refused
// (kInvalidArgument), as are duplicate names and encodings without a safetensors form.
LOBIT_API Result<FileLayout> layout_safetensors(const Metadata& metadata,
                                                std::span<const TensorSpec> tensors);

// model.safetensors.index.json: which file of the folder holds which tensor.
struct SafetensorsIndex {
  std::map<std::string, std::string> weight_map;  // tensor -> file name within the folder
  std::map<std::string, std::string> metadata;    // strings and numbers of "metadata", as text
};

// Reads an index from its text. kCorrupt for file names that leave the folder (separators, "..", absolute),
// and for duplicates.
LOBIT_API Result<SafetensorsIndex> read_safetensors_index(std::string_view text, const std::string& name);
LOBIT_API std::string write_safetensors_index(const SafetensorsIndex& index, uint64_t total_size);

}  // namespace lobit

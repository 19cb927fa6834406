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
// The data of files that lobit lays out starts at a multiple of this. Other writers keep no alignment.
inline constexpr uint64_t kSafetensorsAlignment = 8;

struct SafetensorsHeader {
  Metadata metadata;  // strings of __metadata__, without lobit's own keys about encodings
  // Sorted by offset, empty ones in the header's order. A tensor that lobit stored as blocks (U8 with
  // lobit.encoding.NAME in __metadata__) has its true encoding and shape here.
  std::vector<TensorEntry> tensors;
  uint64_t data_offset = 0;
};

// Reads and checks the header of one file. kCorrupt with the byte offset for everything that breaks the
// format, kLimit for a header over 100,000,000 bytes or with over 65,536 metadata keys, kUnsupported for more
// dimensions than Shape holds and for later versions of lobit's keys. Needs less than 8 times the header's
// size plus 16 MiB of memory.
LOBIT_API Result<SafetensorsHeader> read_safetensors(const ByteSource& source);

// Lays out one file, the same bytes for the same arguments. Tensors keep the order given, in the header and
// in the data, where they lie without gaps: each offset is a multiple of the element's size when tensors with
// wider elements come first (blocks and sub-byte numbers last). Plain encodings are written under their own
// dtype, block encodings as U8 tensors whose last dimension is the row in bytes, with the encoding and shape
// in
// __metadata__. kInvalidArgument for metadata that are not strings or use lobit's keys, text that is not
// UTF-8, duplicate names and rows that do not fill whole blocks; kLimit for a header that read_safetensors
// refuses.
LOBIT_API Result<FileLayout> layout_safetensors(const Metadata& metadata,
                                                std::span<const TensorSpec> tensors);

// model.safetensors.index.json: which file of the folder holds which tensor.
struct SafetensorsIndex {
  std::map<std::string, std::string> weight_map;  // tensor -> file name within the folder
  std::map<std::string, std::string> metadata;    // strings and numbers of "metadata", as text
};

// Reads an index from its text. kCorrupt for file names that leave the folder (separators, ".."), for
// duplicates and without a weight_map; kLimit for more than 100,000,000 bytes. Other keys are ignored.
LOBIT_API Result<SafetensorsIndex> read_safetensors_index(std::string_view text, const std::string& name);
// The text of an index. Names are UTF-8, as layout_safetensors demands. Metadata that read as integers are
// written as numbers; total_size comes from the argument.
LOBIT_API std::string write_safetensors_index(const SafetensorsIndex& index, uint64_t total_size);

}  // namespace lobit

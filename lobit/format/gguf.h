// GGUF, version 3 (version 2 is read). docs/formats/gguf.md describes the layout. Reading touches the header
// alone, in time and memory linear in its size, and treats every byte as hostile. Functions without state;
// safe from any thread.
#pragma once

#include <span>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/format/layout.h"
#include "lobit/format/metadata.h"
#include "lobit/format/tensor_entry.h"
#include "lobit/io/source.h"

namespace lobit {

inline constexpr uint32_t kGgufDefaultAlignment = 32;

struct GgufHeader {
  uint32_t version = 3;
  uint32_t alignment = kGgufDefaultAlignment;
  Metadata metadata;
  std::vector<TensorEntry> tensors;  // part 0, offsets from the start of the file
  uint64_t data_offset = 0;
};

// Reads and checks the header of one file. kCorrupt with the byte offset for everything that breaks the
// format, kUnsupported for other versions, big-endian files and tensor types that lobit does not know.
LOBIT_API Result<GgufHeader> read_gguf(const ByteSource& source);

// Lays out a version 3 file. `metadata` is written as it is, with general.alignment set where `alignment` is
// not the default. kInvalidArgument for what the format cannot hold: names over 63 bytes, more than 4
// dimensions, rows that do not fill whole blocks, encodings without a GGUF type, duplicate names.
LOBIT_API Result<FileLayout> layout_gguf(const Metadata& metadata, std::span<const TensorSpec> tensors,
                                         uint32_t alignment = kGgufDefaultAlignment);

}  // namespace lobit

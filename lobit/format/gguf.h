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
// Headers of models in use have up to some ten MiB, most of it the vocabulary.
inline constexpr uint64_t kGgufMaxHeader = uint64_t{256} << 20;

struct GgufHeader {
  uint32_t version = 3;
  uint32_t alignment = kGgufDefaultAlignment;
  Metadata metadata;
  std::vector<TensorEntry> tensors;  // part 0, offsets from the start of the file
  uint64_t data_offset = 0;
};

// Reads and checks the header of one file. kCorrupt with the byte offset for everything that breaks the
// format, kLimit for a header over kGgufMaxHeader, kUnsupported for other versions, big-endian files, arrays
// of arrays, alignments over 1 MiB and tensor types that lobit does not know.
LOBIT_API Result<GgufHeader> read_gguf(const ByteSource& source);

// Lays out a version 3 file. `metadata` is written as it is, but that general.alignment is `alignment` where
// the key is there, or that is not the default. kInvalidArgument for what the format cannot hold: empty
// names, names over 63 bytes and keys over 65535, duplicates of either, more than 4 dimensions, extents of 0,
// rows that do not fill whole blocks, encodings without a GGUF type, values whose bytes do not fit their
// type, alignments that are no power of two from 8 to 1 MiB, headers over kGgufMaxHeader. Its detail.index is
// the tensor's or key's.
LOBIT_API Result<FileLayout> layout_gguf(const Metadata& metadata, std::span<const TensorSpec> tensors,
                                         uint32_t alignment = kGgufDefaultAlignment);

}  // namespace lobit

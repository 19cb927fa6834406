// Streams of a tensor's values from one file into another, in bounded buffers: for tensors that do not fit
// into memory. The bytes are those of a conversion in one piece. ConversionEngine and StreamingConverter
// carry them out.
//
// Planar formats lie in a file as in a tensor's memory: the codes of all rows and, behind them at
// FormatLayout::scale_offset, the F32 scales. Where a row has one scale, a chunk is a row at least; one scale
// for all values takes a pass of its own (two where values may be saturated), and only the direct method can
// find it. Progress counts the bytes of every pass; one that turns out not to be needed is jumped over.
#pragma once

#include <cstdint>
#include <string>

#include "lobit/dtype/encoding.h"
#include "lobit/dtype/value_format.h"
#include "lobit/io/file.h"

namespace lobit {

// A tensor's values in a file, row after row, in an encoding that lobit can decode.
struct FileValues {
  const ByteSource* source = nullptr;
  uint64_t offset = 0;  // of the first byte
  Encoding encoding = Encoding::kF32;
  uint64_t elements = 0;  // whole blocks of both encodings
  std::string name = {};  // in messages and progress
  ScaleGroup scales = ScaleGroup::kBlock;
  uint64_t columns = 0;  // of a row, which planar formats go by; 0: all elements are one row
};

// Where they go. The caller makes the file large enough and commits it.
struct FileTarget {
  OutputFile* file = nullptr;
  uint64_t offset = 0;
  Encoding encoding = Encoding::kF32;
  ScaleGroup scales = ScaleGroup::kBlock;
};

struct FileStreamFacts {
  uint64_t target_bytes = 0;
  uint64_t chunks = 0;
  uint64_t chunk_elements = 0;
  size_t workers = 0;         // that had a buffer
  uint64_t buffer_bytes = 0;  // of all of them
  uint64_t flushed = 0;
  uint64_t saturated = 0;
};

}  // namespace lobit

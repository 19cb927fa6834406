// Streams of a tensor's values from one file into another, in bounded buffers: for tensors that do not fit
// into memory. The bytes are those of a conversion in one piece. Plain values; ConversionEngine and
// StreamingConverter carry them out.
#pragma once

#include <cstdint>
#include <string>

#include "lobit/dtype/encoding.h"
#include "lobit/io/file.h"

namespace lobit {

// A tensor's values in a file, row after row, in an encoding that lobit can decode.
struct FileValues {
  const ByteSource* source = nullptr;
  uint64_t offset = 0;  // of the first byte
  Encoding encoding = Encoding::kF32;
  uint64_t elements = 0;  // whole blocks of both encodings
  std::string name = {};  // in messages and progress
};

// Where they go. The caller makes the file large enough and commits it.
struct FileTarget {
  OutputFile* file = nullptr;
  uint64_t offset = 0;
  Encoding encoding = Encoding::kF32;
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

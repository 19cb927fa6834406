// One chunk from file to file: read, checked, recoded, written. What the conversion of models and the stream
// of single tensors have in common.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "lobit/base/result.h"
#include "lobit/convert/chunks.h"
#include "lobit/convert/recode.h"
#include "lobit/io/file.h"

namespace lobit {

// A tensor in one file and its place in another.
struct FileTensor {
  std::string_view name;  // in messages
  const ByteSource* source = nullptr;
  uint64_t source_offset = 0;  // of the tensor's first byte
  OutputFile* target = nullptr;
  uint64_t target_offset = 0;
  RecodeSpec spec = {};  // equal encodings are copied
  std::string_view remedy;  // what the caller may do about values that do not fit
};

// `buffer` holds Recoder::kTileBytes and behind them the chunk's source and target bytes (target_offset()).
// `chunk` counts the tensor's elements, in whole blocks of both encodings. Adds to `counts`.
Status convert_file_chunk(const FileTensor& tensor, const Chunk& chunk, std::span<std::byte> buffer,
                          RecodeCounts& counts);

}  // namespace lobit

// FileLayout: where everything of a file to be written will lie, known before the first byte is written, so
// that tensors can be written in any order and in parallel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lobit {

struct FileLayout {
  std::string header;             // the file's first bytes, padding before the data included
  std::vector<uint64_t> offsets;  // of each tensor, from the start of the file, in the order given
  uint64_t file_bytes = 0;
  // Between tensors (GGUF pads each to the alignment) lie zero bytes.
};

}  // namespace lobit

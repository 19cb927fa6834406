// The errors that values cause, said the same way whether a file or a tensor is converted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "lobit/base/result.h"
#include "lobit/dtype/encoding.h"

namespace lobit {

// kDataLoss: element `index` of the tensor has a value that the target cannot hold. `remedy` says what the
// caller may do about it: "--saturate stores the nearest value".
tl::unexpected<Error> unrepresentable_value(std::string_view tensor, uint64_t index, float value,
                                            std::string_view from, std::string_view to,
                                            std::string_view remedy);

// kCorrupt: element `index` has a code that its format does not have.
tl::unexpected<Error> invalid_code(std::string_view tensor, uint64_t index, std::string_view format);

// A run of blocks of a tensor, for messages.
struct BlockPlace {
  std::string_view tensor;
  uint64_t first_block = 0;
  std::optional<uint64_t> file_offset = {};  // of the tensor, when it is in a file
};

// kCorrupt when one of the blocks holds a code that no encoder writes: the source is damaged, and better to
// say so than to convert it.
Status check_codes(const BlockPlace& place, Encoding encoding, const std::byte* blocks, size_t block_count);

}  // namespace lobit

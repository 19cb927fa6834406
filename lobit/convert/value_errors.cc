#include "lobit/convert/value_errors.h"

#include <cmath>

#include <fmt/format.h>

#include "lobit/kernels/codec.h"

namespace lobit {

tl::unexpected<Error> unrepresentable_value(std::string_view tensor, uint64_t index, float value,
                                            std::string_view from, std::string_view to,
                                            std::string_view remedy) {
  const std::string_view why = std::isfinite(value) ? "is too large for" : "has no code in";
  return fail(ErrorCode::kDataLoss,
              fmt::format("tensor '{}': element {}: {} {} {} ({})", tensor, index, value, why, to, remedy),
              {.index = index, .from = std::string(from), .to = std::string(to)});
}

tl::unexpected<Error> invalid_code(std::string_view tensor, uint64_t index, std::string_view format) {
  return fail(ErrorCode::kCorrupt,
              fmt::format("tensor '{}': element {}: holds a code that {} does not have", tensor, index, format),
              {.index = index});
}

Status check_codes(const BlockPlace& place, Encoding encoding, const std::byte* blocks, size_t block_count) {
  const size_t bad = kernels::first_invalid_block(encoding, blocks, block_count);
  if (bad == block_count) return {};
  const EncodingTraits& t = traits(encoding);
  const uint64_t block = place.first_block + bad;
  if (!place.file_offset) {
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("tensor '{}': block {}: holds a code that {} does not have", place.tensor, block, t.name),
        {.index = block});
  }
  const uint64_t offset = *place.file_offset + block * t.block_bytes;
  return fail(ErrorCode::kCorrupt,
              fmt::format("tensor '{}': block {} at byte {}: holds a code that {} does not have",
                          place.tensor, block, offset, t.name),
              {.offset = offset, .index = block});
}

}  // namespace lobit

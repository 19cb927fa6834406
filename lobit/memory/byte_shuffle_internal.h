// Byte shuffle: the first bytes of all elements, then all second bytes, and so on. The bytes of one place in
// a number resemble each other (signs and exponents above all), which an entropy coder turns into space. Not
// installed; pure functions.
#pragma once

#include <cstddef>
#include <span>

namespace lobit {

// Widths of elements that can be shuffled: 1 (which copies), 2, 4 and 8 bytes.
constexpr bool is_shuffle_width(size_t width) {
  return width == 1 || width == 2 || width == 4 || width == 8;
}

// `to` holds as many bytes as `from` and does not overlap it. The planes, one for each byte of an element,
// lie one after the other; bytes behind the last whole element follow the last plane as they are.
void shuffle_bytes(std::span<const std::byte> from, size_t width, std::byte* to);
void unshuffle_bytes(std::span<const std::byte> from, size_t width, std::byte* to);

}  // namespace lobit

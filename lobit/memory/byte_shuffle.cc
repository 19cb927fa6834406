#include <cstdint>
#include <cstring>

#include "lobit/base/check.h"
#include "lobit/memory/byte_shuffle_internal.h"

namespace lobit {
namespace {

// Elements per turn of the inner loop: constant, so that compilers vectorise it at -O2 as well.
constexpr size_t kTile = 64;

// One loop per tile reads or writes elements as numbers: byte p of an element is bits 8p.. of it.
template <typename Word>
void shuffle(const std::byte* __restrict from, size_t elements, std::byte* __restrict to) {
  constexpr size_t kWidth = sizeof(Word);
  size_t at = 0;
  for (; at + kTile <= elements; at += kTile) {
    Word words[kTile];
    std::memcpy(words, from + at * kWidth, sizeof words);
    for (size_t plane = 0; plane < kWidth; ++plane) {
      std::byte tile[kTile];
      for (size_t i = 0; i < kTile; ++i) tile[i] = static_cast<std::byte>(words[i] >> 8 * plane);
      std::memcpy(to + plane * elements + at, tile, sizeof tile);
    }
  }
  for (; at < elements; ++at) {
    for (size_t plane = 0; plane < kWidth; ++plane) to[plane * elements + at] = from[at * kWidth + plane];
  }
}

template <typename Word>
void unshuffle(const std::byte* __restrict from, size_t elements, std::byte* __restrict to) {
  constexpr size_t kWidth = sizeof(Word);
  size_t at = 0;
  for (; at + kTile <= elements; at += kTile) {
    Word words[kTile] = {};
    for (size_t plane = 0; plane < kWidth; ++plane) {
      std::byte tile[kTile];
      std::memcpy(tile, from + plane * elements + at, sizeof tile);
      for (size_t i = 0; i < kTile; ++i) {
        words[i] = static_cast<Word>(words[i] | static_cast<Word>(tile[i]) << 8 * plane);
      }
    }
    std::memcpy(to + at * kWidth, words, sizeof words);
  }
  for (; at < elements; ++at) {
    for (size_t plane = 0; plane < kWidth; ++plane) to[at * kWidth + plane] = from[plane * elements + at];
  }
}

using Loop = void (*)(const std::byte* __restrict, size_t, std::byte* __restrict);

void run(std::span<const std::byte> from, size_t width, std::byte* to, Loop of_2, Loop of_4, Loop of_8) {
  LOBIT_DCHECK(is_shuffle_width(width));
  const size_t elements = width == 1 ? 0 : from.size() / width;
  if (width == 2) of_2(from.data(), elements, to);
  if (width == 4) of_4(from.data(), elements, to);
  if (width == 8) of_8(from.data(), elements, to);
  const size_t done = elements * width;
  if (done < from.size()) std::memcpy(to + done, from.data() + done, from.size() - done);
}

}  // namespace

void shuffle_bytes(std::span<const std::byte> from, size_t width, std::byte* to) {
  run(from, width, to, shuffle<uint16_t>, shuffle<uint32_t>, shuffle<uint64_t>);
}

void unshuffle_bytes(std::span<const std::byte> from, size_t width, std::byte* to) {
  run(from, width, to, unshuffle<uint16_t>, unshuffle<uint32_t>, unshuffle<uint64_t>);
}

}  // namespace lobit

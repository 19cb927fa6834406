// What the golden test and the program that made its hashes both do: run a codec over the golden input and
// hash what comes out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/golden/codec_input.h"
#include <xxhash.h>

#include "lobit/dtype/encoding.h"

namespace lobit::golden {

inline constexpr uint64_t kBlocks = 100'000;
inline constexpr uint64_t kBlocksAtOnce = 500;

// XXH3 of everything that `next(first, count)` returns (a vector) for `blocks` blocks.
template <typename Next>
uint64_t hash_blocks(Next next, uint64_t blocks = kBlocks) {
  XXH3_state_t* state = XXH3_createState();
  XXH3_64bits_reset(state);
  for (uint64_t first = 0; first < blocks; first += kBlocksAtOnce) {
    const auto& chunk = next(first, std::min(kBlocksAtOnce, blocks - first));
    XXH3_64bits_update(state, chunk.data(), chunk.size() * sizeof chunk[0]);
  }
  const uint64_t hash = XXH3_64bits_digest(state);
  XXH3_freeState(state);
  return hash;
}

// `encode(values, blocks, count)` over the values of `groups` groups -> hash of the blocks.
template <typename Encode>
uint64_t hash_encoder(Encoding encoding, Encode encode, uint64_t groups = kBlocks) {
  const EncodingTraits& t = traits(encoding);
  std::vector<float> values;
  std::vector<std::byte> blocks;
  return hash_blocks(
      [&](uint64_t first, uint64_t count) -> const auto& {
        values.resize(count * t.block_elements);
        blocks.resize(count * t.block_bytes);
        for (uint64_t i = 0; i < count; ++i) {
          fill_group(first + i, std::span(values).subspan(i * t.block_elements, t.block_elements));
        }
        encode(values.data(), blocks.data(), values.size());
        return blocks;
      },
      groups);
}

// `decode(blocks, values, count)` over kBlocks random blocks -> hash of the F32 values.
template <typename Decode>
uint64_t hash_decoder(Encoding encoding, Decode decode) {
  const EncodingTraits& t = traits(encoding);
  std::vector<float> values;
  std::vector<std::byte> blocks;
  return hash_blocks([&](uint64_t first, uint64_t count) -> const auto& {
    values.resize(count * t.block_elements);
    blocks.resize(count * t.block_bytes);
    for (uint64_t i = 0; i < count; ++i) fill_block(encoding, first + i, &blocks[i * t.block_bytes]);
    decode(blocks.data(), values.data(), values.size());
    return values;
  });
}

}  // namespace lobit::golden

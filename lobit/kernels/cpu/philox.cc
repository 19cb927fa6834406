#include "lobit/kernels/philox.h"

#include <algorithm>
#include <cstring>

#include "lobit/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/philox.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/common-inl.h"

// Once for all targets.
#ifndef LOBIT_KERNELS_CPU_PHILOX_ONCE_
#define LOBIT_KERNELS_CPU_PHILOX_ONCE_
namespace lobit::kernels {
namespace {

constexpr size_t kWordsPerBlock = 8;
constexpr size_t kBatchBlocks = 16;  // a multiple of every target's step

// Writes the words of kBatchBlocks blocks.
using FillBatchFn = void (*)(uint64_t seed, uint64_t stream, uint64_t first_block, uint16_t* words);

}  // namespace
}  // namespace lobit::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

using D64 = hn::ScalableTag<uint64_t>;
using V64 = hn::Vec<D64>;
constexpr size_t kBlocks = HWY_LANES(uint64_t);
static_assert(kBatchBlocks % (2 * kBlocks) == 0);

// A word of the counters of kBlocks blocks in the low halves of the lanes. The upper halves are unspecified:
// the multiplication ignores them.
struct Counters {
  V64 c0, c1, c2, c3;

  HWY_INLINE void round(V64 key0, V64 key1) {
    const hn::Repartition<uint32_t, D64> d32;
    const auto multiply = [&](V64 v, uint64_t factor) {
      return hn::MulEven(hn::BitCast(d32, v), hn::BitCast(d32, hn::Set(D64(), factor)));
    };
    const V64 product0 = multiply(c0, 0xD2511F53);
    const V64 product1 = multiply(c2, 0xCD9E8D57);
    c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), c1), key0);
    c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), c3), key1);
    c1 = product1;
    c3 = product0;
  }

  // The interleaving takes the even lanes first, see lane_blocks().
  HWY_INLINE void store(uint8_t* out) const {
    const hn::Repartition<uint8_t, D64> d8;
    const V64 low = hn::Set(D64(), 0xFFFFFFFF);
    const V64 first = hn::Or(hn::And(c0, low), hn::ShiftLeft<32>(c1));
    const V64 second = hn::Or(hn::And(c2, low), hn::ShiftLeft<32>(c3));
    hn::StoreU(hn::BitCast(d8, hn::InterleaveLower(D64(), first, second)), d8, out);
    hn::StoreU(hn::BitCast(d8, hn::InterleaveUpper(D64(), first, second)), d8, out + 8 * kBlocks);
  }
};

// Even lanes have the first half of the blocks, odd lanes the second.
HWY_INLINE V64 lane_blocks() {
  alignas(64) uint64_t blocks[kBlocks];
  for (size_t lane = 0; lane < kBlocks; ++lane) blocks[lane] = lane / 2 + lane % 2 * (kBlocks / 2);
  return hn::Load(D64(), blocks);
}

HWY_INLINE Counters counters_of(V64 block, uint64_t stream) {
  return {block, hn::ShiftRight<32>(block), hn::Set(D64(), stream), hn::Set(D64(), stream >> 32)};
}

void fill_batch(uint64_t seed, uint64_t stream, uint64_t first_block, uint16_t* words) {
  auto* out = reinterpret_cast<uint8_t*>(words);
  V64 block = hn::Add(lane_blocks(), hn::Set(D64(), first_block));
  // Two vectors of counters at once hide the latency of the multiplications.
  for (size_t b = 0; b < kBatchBlocks; b += 2 * kBlocks) {
    Counters first = counters_of(block, stream);
    block = hn::Add(block, hn::Set(D64(), kBlocks));
    Counters second = counters_of(block, stream);
    block = hn::Add(block, hn::Set(D64(), kBlocks));
    auto key0 = static_cast<uint32_t>(seed);
    auto key1 = static_cast<uint32_t>(seed >> 32);
    HWY_UNROLL(10)
    for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
      first.round(hn::Set(D64(), key0), hn::Set(D64(), key1));
      second.round(hn::Set(D64(), key0), hn::Set(D64(), key1));
    }
    first.store(out + 16 * b);
    second.store(out + 16 * (b + kBlocks));
  }
}

FillBatchFn find_fill_batch() {
  return fill_batch;
}

#else
FillBatchFn find_fill_batch() {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {
namespace {

HWY_EXPORT(find_fill_batch);

void fill_batch_scalar(uint64_t seed, uint64_t stream, uint64_t first_block, uint16_t* words) {
  const PhiloxKey key{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  for (size_t b = 0; b < kBatchBlocks; ++b) {
    const uint64_t index = first_block + b;
    const PhiloxBlock block = philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                                          static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                                         key);
    for (size_t i = 0; i < kWordsPerBlock; ++i) {
      words[kWordsPerBlock * b + i] = static_cast<uint16_t>(block[i / 2] >> (16 * (i % 2)));
    }
  }
}

FillBatchFn fill_batch_fn() {
  if (simd_level() == SimdLevel::kScalar) return fill_batch_scalar;
  const FillBatchFn fn = HWY_DYNAMIC_DISPATCH(find_fill_batch)();
  return fn != nullptr ? fn : fill_batch_scalar;
}

}  // namespace

void fill_from_table(uint64_t seed, uint64_t stream, uint64_t first_index, const uint16_t* table65536,
                     uint16_t* out, size_t n) {
  const FillBatchFn fill = fill_batch_fn();
  alignas(64) uint16_t words[kBatchBlocks * kWordsPerBlock];
  uint64_t block = first_index / kWordsPerBlock;
  size_t skipped = first_index % kWordsPerBlock;  // words of the first block that lie before first_index
  while (n > 0) {
    fill(seed, stream, block, words);
    const size_t used = std::min(n, std::size(words) - skipped);
    for (size_t i = 0; i < used; ++i) out[i] = table65536[words[skipped + i]];
    block += kBatchBlocks;
    out += used;
    n -= used;
    skipped = 0;
  }
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

// The memory of a small transformer that answers three prompts, for tests and to look at: weights are loaded
// by way of I/O buffers, each prompt fills a KV cache and scratch, and one cache is never freed. Every sum in
// it holds.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "lobit/memory/memory_profile.h"

namespace lobit::example {

inline constexpr uint64_t kMiB = 1048576;
inline constexpr size_t kMoments = 240;
inline constexpr uint64_t kMomentNs = 25'000'000;

enum ExampleTag : uint8_t { kUntagged, kWeights, kActivations, kKvCache, kIo, kScratch, kTokenizer };

// Live bytes of a tag at moment `i` of kMoments.
inline uint64_t example_bytes(ExampleTag tag, size_t i) {
  const bool loading = i < 60;
  const bool done = i >= 230;
  const size_t prompt = i < 60 ? 0 : (i - 60) % 60;  // three prompts of 60 moments
  switch (tag) {
    case kUntagged:
      return 3 * kMiB + 4096 * i;
    case kWeights:
      return std::min<uint64_t>(i, 60) * 8 * kMiB;
    case kActivations:
      return loading || done ? 0 : (24 + (i % 6) * 9) * kMiB;
    case kKvCache:
      return loading ? 0 : (done ? 0 : prompt * 3 * kMiB) + (i - 60) / 60 * 17 * kMiB;
    case kIo:
      return loading ? (32 + (i % 3) * 16) * kMiB : 0;
    case kScratch:
      return loading ? 0 : (i % 6 == 5 && !done ? 64 : 8) * kMiB + 512;
    case kTokenizer:
      return i < 8 ? 0 : 11 * kMiB;
  }
  return 0;
}

inline MemoryMoment example_moment(size_t i) {
  MemoryMoment moment{.time_ns = i * kMomentNs};
  for (size_t tag = 0; tag <= kTokenizer; ++tag) {
    moment.bytes_by_tag.push_back(example_bytes(static_cast<ExampleTag>(tag), i));
    moment.live_bytes += moment.bytes_by_tag.back();
  }
  return moment;
}

inline void add_timeline(MemoryProfile& profile) {
  profile.peak_by_tag.assign(profile.tags.size(), 0);
  uint64_t committed = 0;
  for (size_t i = 0; i < kMoments; ++i) {
    MemoryMoment moment = example_moment(i);
    const uint64_t wanted = (moment.live_bytes / (16 * kMiB) + 2) * 16 * kMiB;
    committed = i == 65 ? wanted : std::max(committed, wanted);  // trimmed after loading
    moment.committed = committed;
    profile.peak_committed = std::max(profile.peak_committed, committed);
    for (size_t tag = 0; tag < profile.tags.size(); ++tag) {
      profile.peak_by_tag[tag] = std::max(profile.peak_by_tag[tag], moment.bytes_by_tag[tag]);
    }
    if (moment.live_bytes > profile.peak.live_bytes) profile.peak = moment;
    profile.timeline.push_back(std::move(moment));
  }
}

inline std::vector<StackTrace> example_stacks() {
  const StackFrame pool{"lobit::HybridMemoryPool::do_allocate(unsigned long, unsigned long)",
                        "/src/lobit/memory/hybrid_memory_pool.cc", 212};
  const StackFrame container{"std::vector<float>::resize(unsigned long)",
                             "/usr/include/c++/12/bits/stl_vector.h", 1011};
  const StackFrame main{"main", "/src/examples/chat/main.cc", 48};
  const auto stack = [&](const char* function, const char* file, uint32_t line) {
    return StackTrace{pool, {function, file, line}, main};
  };
  return {{},
          stack("chat::Model::load_layer(int, std::string_view)", "/src/examples/chat/model.cc", 131),
          stack("chat::KvCache::grow(long)", "/src/examples/chat/kv_cache.cc", 77),
          {pool,
           container,
           {"chat::Attention::forward(Tensor const&)", "/src/examples/chat/attention.cc", 205},
           main},
          stack("chat::Tokenizer::<script>alert(1)</script>()", "/src/examples/chat/tokenizer.cc", 19)};
}

// Each tag's bytes at a moment, under the stack that allocates for it.
inline std::vector<MemoryHolder> holders_at(const MemoryMoment& moment) {
  const std::vector<uint32_t> stacks{0, 1, 3, 2, 1, 3, 4};
  const std::vector<uint64_t> blocks{412, 291, 36, 48, 4, 9, 18233};
  std::vector<MemoryHolder> out;
  for (uint32_t tag = 0; tag < moment.bytes_by_tag.size(); ++tag) {
    if (moment.bytes_by_tag[tag] > 0)
      out.push_back({tag, stacks[tag], moment.bytes_by_tag[tag], blocks[tag]});
  }
  std::ranges::sort(out, [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  return out;
}

inline void add_unfreed(MemoryProfile& profile) {
  for (uint64_t i = 0; i < 34; ++i) {
    const uint64_t time = (60 + 60 * (i % 3)) * kMomentNs + i * 1'000'003;
    profile.unfreed.push_back({.block = 1000 + i,
                               .address = 0x7f3a40000000 + i * 3 * kMiB,
                               .bytes = (34 - i) * 98304 + 512,
                               .time_ns = time,
                               .age_ns = profile.duration_ns - time,
                               .thread = static_cast<uint32_t>(i % 4),
                               .tag = kKvCache,
                               .stack = 2,
                               .device = "cpu"});
  }
}

// Weights fill from below, the caches of three prompts above a gap.
inline ArenaMap example_arena() {
  constexpr uint32_t kRows = 48;
  constexpr uint32_t kColumns = 120;
  ArenaMap arena{.first_address = 0x7f3a40000000,
                 .row_bytes = 16 * kMiB,
                 .column_ns = kMomentNs * kMoments / kColumns,
                 .rows = kRows,
                 .columns = kColumns,
                 .live = std::vector<uint8_t>(kRows * kColumns, 0),
                 .tag = std::vector<uint8_t>(kRows * kColumns, kUntagged),
                 .gaps = {{.row = 32, .bytes = 3 * 1024 * kMiB}}};
  const auto set = [&arena](uint32_t row, uint32_t column, uint8_t live, uint8_t tag) {
    arena.live[row * kColumns + column] = live;
    arena.tag[row * kColumns + column] = tag;
  };
  for (uint32_t column = 0; column < kColumns; ++column) {
    for (uint32_t row = 0; row < std::min(column, 30U); ++row) set(row, column, 255, kWeights);
    if (column < 30) set(column, column, 128, kWeights);
    set(30, column, 70, kTokenizer);
    if (column < 30) {
      for (uint32_t row = 44; row < 48; ++row) set(row, column, row == 47 ? 100 : 200, kIo);
      continue;
    }
    const uint32_t prompt = (column - 30) / 30;
    for (uint32_t row = 32; row < 34 + (column - 30) % 30 / 4 + prompt; ++row) {
      set(row, column, static_cast<uint8_t>(255 - (row % 4) * 40), kKvCache);
    }
    for (uint32_t row = 42; row < 46; ++row) set(row, column, 180, column % 3 == 2 ? kScratch : kActivations);
  }
  return arena;
}

inline void add_findings(MemoryProfile& profile) {
  profile.patterns = {
      {.kind = MemoryPatternKind::kRegrowth,
       .tag = kKvCache,
       .stack = 2,
       .bytes = 177 * kMiB,
       .blocks = 174,
       .text = "174 blocks of 3 MiB to 177 MiB each replaced one that was 3 MiB shorter.",
       .advice = "Reserve the cache for the longest prompt before the first token."},
      {.kind = MemoryPatternKind::kRepeating,
       .tag = kScratch,
       .stack = 3,
       .bytes = 64 * kMiB,
       .blocks = 30,
       .text = "A block of 64 MiB was allocated 30 times, once in every step.",
       .advice = "Keep one buffer of that size from step to step."},
      {.kind = MemoryPatternKind::kManySmall,
       .tag = kTokenizer,
       .stack = 4,
       .bytes = 633,
       .blocks = 18233,
       .text = "18,233 blocks of 633 bytes on average were allocated together and live equally long.",
       .advice = "Allocate them from one arena."}};
  profile.advice = {{.bytes = 64 * kMiB, .text = "Free the scratch block before the KV cache grows."},
                    {.bytes = 34 * kMiB, .text = "Free the caches of finished prompts."},
                    {.bytes = 2 * kMiB, .text = "Give the tokenizer's nodes an arena <b>of their own</b>."}};
}

inline MemoryProfile memory() {
  MemoryProfile profile{
      .name = "chat --model bitnet-482m <demo>",
      .duration_ns = kMoments * kMomentNs,
      .limit = 1024 * kMiB,
      .allocations = 48211,
      .frees = 29178,
      .refused = 2,
      .allocated_bytes = 3'884'120'064,
      .trims = 1,
      .trimmed_bytes = 48 * kMiB,
      .threads = 4,
      .mean_lifetime_ns = 41'250'730.5,
      .tags = {"untagged", "weights", "activations", "kv_cache", "io", "scratch", "tokenizer"},
      .stacks = example_stacks()};
  add_timeline(profile);
  const MemoryMoment& end = profile.timeline.back();
  profile.live_bytes = end.live_bytes;
  profile.at_peak = holders_at(profile.peak);
  profile.at_end = holders_at(end);
  for (const MemoryHolder& holder : profile.at_end) profile.live_blocks += holder.blocks;
  add_unfreed(profile);
  for (size_t n = 4; n <= 28; ++n) {
    const double bell = std::exp(-std::pow((static_cast<double>(n) - 10) / 3.0, 2)) * 9000;
    profile.sizes[n] = static_cast<uint64_t>(bell) + (n > 20 ? 40 - n : 0);
  }
  for (size_t n = 7; n <= 32; ++n) {
    profile.lifetimes[n] = static_cast<uint64_t>(2000 + 1900 * std::sin(static_cast<double>(n) * 0.8));
  }
  profile.fragmentation = MemoryFragmentation{.committed = end.committed,
                                              .requested = end.live_bytes,
                                              .rounding = 7 * kMiB + 12288,
                                              .free = end.committed - end.live_bytes - 7 * kMiB - 12288,
                                              .largest_free = 9 * kMiB,
                                              .free_pieces = 23};
  profile.allocate_latency = CallLatency{48211, 212.4, 96, 1840, 731022};
  profile.free_latency = CallLatency{29178, 61.9, 48, 410, 90211};
  add_findings(profile);
  profile.arenas = {example_arena()};
  return profile;
}

}  // namespace lobit::example

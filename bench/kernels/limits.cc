#include "bench/kernels/limits.h"

#include <cstdint>
#include <cstring>

namespace lobit::bench {
namespace {

// Keeps the compiler from dropping work whose result nobody uses.
void keep(const void* memory) {
  asm volatile("" : : "r"(memory) : "memory");
}

}  // namespace

void read_all(const void* data, size_t bytes) {
  constexpr size_t kStreams = 4;
  constexpr size_t kStep = 64;     // bytes of a cache line
  constexpr size_t kAhead = 1024;  // prefetch distance
  const size_t stream_bytes = bytes / kStreams;
  const auto* first = static_cast<const unsigned char*>(data);
  uint64_t sums[kStep / sizeof(uint64_t)] = {};
  for (size_t offset = 0; offset < stream_bytes; offset += kStep) {
    for (size_t stream = 0; stream < kStreams; ++stream) {
      const unsigned char* line = first + stream * stream_bytes + offset;
      __builtin_prefetch(line + kAhead);
      uint64_t words[kStep / sizeof(uint64_t)];
      std::memcpy(words, line, kStep);
      for (size_t i = 0; i < kStep / sizeof(uint64_t); ++i) sums[i] += words[i];
    }
  }
  keep(sums);
}

void copy_all(const void* from, void* to, size_t bytes) {
  std::memcpy(to, from, bytes);
  keep(to);
}

void fill_all(void* to, size_t bytes) {
  std::memset(to, 0x5A, bytes);
  keep(to);
}

}  // namespace lobit::bench

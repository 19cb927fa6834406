#include "bench/kernels/limits.h"

#include <cstdint>
#include <cstring>

namespace lobit::bench {
namespace {

// Compiled for each width of the machine's vectors, since the program's baseline is narrow.
#if defined(__x86_64__)
#define LOBIT_BENCH_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define LOBIT_BENCH_WIDE
#endif

constexpr size_t kStreams = 4;
constexpr size_t kAhead = 1024;  // bytes of prefetch distance
using Line = uint64_t __attribute__((vector_size(64)));

// Keeps the compiler from dropping work whose result nobody uses.
void keep(const void* memory) {
  asm volatile("" : : "r"(memory) : "memory");
}

}  // namespace

LOBIT_BENCH_WIDE void read_all(const void* data, size_t bytes) {
  const size_t stream_bytes = bytes / kStreams;
  const auto* first = static_cast<const unsigned char*>(data);
  Line sums[kStreams] = {};
  for (size_t offset = 0; offset < stream_bytes; offset += sizeof(Line)) {
    for (size_t stream = 0; stream < kStreams; ++stream) {
      const unsigned char* at = first + stream * stream_bytes + offset;
      __builtin_prefetch(at + kAhead);
      Line line;
      std::memcpy(&line, at, sizeof(line));
      sums[stream] += line;
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

// What the memory alone allows one thread: the floor under every kernel's time.
#pragma once

#include <cstddef>

namespace lobit::bench {

// Reads every byte in four streams with prefetch, which is what one core needs to reach its DRAM speed.
// `bytes` is a multiple of 1 KiB.
void read_all(const void* data, size_t bytes);

void copy_all(const void* from, void* to, size_t bytes);
void fill_all(void* to, size_t bytes);

}  // namespace lobit::bench

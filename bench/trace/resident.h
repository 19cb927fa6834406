// How much memory this process occupies, as the system counts it. Every call reads a file of /proc.
#pragma once

#include <cstdint>

namespace lobit::bench {

uint64_t resident_bytes();

// The most that resident_bytes() was.
uint64_t peak_resident_bytes();

// User and system time of all threads of this process.
double process_seconds();

}  // namespace lobit::bench

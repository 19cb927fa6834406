// How much memory and processor time this process uses, as the system counts them.
#pragma once

#include <cstdint>

namespace lobit::bench {

uint64_t resident_bytes();

// The most that resident_bytes() was.
uint64_t peak_resident_bytes();

// Touches that much fresh memory and gives it back at once. In a virtual machine the first use of memory that
// the host has not given yet, or has taken back, costs ten times the next one; whoever runs then would pay
// for all.
void warm_machine(uint64_t bytes);

// User and system time of all threads of this process.
double process_seconds();

}  // namespace lobit::bench

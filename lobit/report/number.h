// Numbers as people read them. Pure functions; infinities are "∞" and "-∞", a NaN is "NaN".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lobit/base/export.h"

namespace lobit {

// 482344960 -> "482,344,960"
LOBIT_API std::string format_count(uint64_t count);

// (1, "tensor") -> "1 tensor", (1200, "tensor") -> "1,200 tensors"
LOBIT_API std::string format_counted(uint64_t count, std::string_view noun);

// (2.0625, 2) -> "2.06": `digits` after the point.
LOBIT_API std::string format_fixed(double value, int digits);

// 0.00012345 -> "0.000123", 1.5e-9 -> "1.5e-09": three significant digits, for errors of unknown size.
LOBIT_API std::string format_short(double value);

// (1, 8) -> "12.5 %". A part that is not zero is never "0.0 %" but "<0.1 %", one that is not
// everything never "100.0 %" but ">99.9 %". Of nothing: "-".
LOBIT_API std::string format_percent(double part, double whole);

// (2.3e9, 1) -> "2.30 GB/s": three significant digits, decimal units, as disks are sold. "-" in no time.
LOBIT_API std::string format_rate(double bytes, double seconds);

// 0.0000012 -> "1 us", 0.42 -> "420 ms", 1.24 -> "1.2 s", 185 -> "3 min 05 s", 7380 -> "2 h 03 min"
LOBIT_API std::string format_duration(double seconds);

// 640 -> "640 ns", 1536 -> "1.5 us", 2340000 -> "2.3 ms", and from a second on as format_duration() has it:
// for times of calls and blocks.
LOBIT_API std::string format_nanoseconds(double nanoseconds);

}  // namespace lobit

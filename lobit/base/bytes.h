// Sizes as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

// "4096", "64KiB", "1.5 GiB", "2GB", "50%" -> bytes. KiB/MiB/GiB/TiB are powers of 1024, KB/MB/GB/TB powers
// of 1000, K/M/G/T mean the powers of 1024; case does not matter. A percentage is of `whole`, and refused
// when `whole` is 0. kInvalidArgument when the text is none of these, is negative or does not fit 64 bits.
LOBIT_API Result<uint64_t> parse_bytes(std::string_view text, uint64_t whole = 0);

// 1536 -> "1.5 KiB", 1000 -> "1000 B": at most one digit after the point, binary units.
LOBIT_API std::string format_bytes(uint64_t bytes);

}  // namespace lobit

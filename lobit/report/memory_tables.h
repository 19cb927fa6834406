// The tables of a memory report, which its text and its page share, and the names in them. Internal to
// report.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/memory/memory_profile.h"
#include "lobit/report/table.h"

namespace lobit::detail {

// "tag 7" when the profile has no such tag.
std::string tag_name(const MemoryProfile& profile, uint32_t tag);
std::string_view pattern_name(MemoryPatternKind kind);

// "12,345"; nothing in no time.
std::optional<std::string> per_second(uint64_t count, uint64_t duration_ns);
// "48,211, together 3.6 GiB, 8,035 a second"
std::string allocations_text(const MemoryProfile& profile);
std::string frees_text(const MemoryProfile& profile);

// "memory/pool.cc:120": the file's last folder is enough to find it.
std::string place_text(const StackFrame& frame);
// "lobit::convert", without arguments.
std::string function_text(const StackFrame& frame);
// Of a stack, the innermost call that is not part of allocating itself: neither lobit's resources nor the
// standard library's containers. nullptr when the stack is unknown.
const StackFrame* caller(const MemoryProfile& profile, uint32_t stack);

// All of them are without rows when the profile has nothing for them.
Table tags_table(const MemoryProfile& profile);
Table holders_table(const MemoryProfile& profile, const std::vector<MemoryHolder>& holders, uint64_t whole,
                    size_t most);
Table unfreed_table(const MemoryProfile& profile, size_t most);
Table fragmentation_table(const MemoryProfile& profile);
Table latency_table(const MemoryProfile& profile);

}  // namespace lobit::detail

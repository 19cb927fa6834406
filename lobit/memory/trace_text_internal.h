// The lines of a trace, as docs/formats/trace.md specifies them: from text to values and back. Pure functions
// for the reader and the writer of traces. Errors are kCorrupt or kLimit without saying where.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lobit/base/result.h"
#include "lobit/memory/trace.h"
#include "lobit/memory/trace_tags_internal.h"

namespace lobit::detail {

// The longest line of each kind that readers take, without its end. The longest event has 165 characters.
inline constexpr size_t kMaxEventCharacters = 255;
inline constexpr size_t kMaxFactCharacters = size_t{16} << 10;

// Every field but the slot.
Result<TraceEvent> parse_event(std::string_view line, TraceTags& tags);
// Status says that there is no such operation.
Status append_event(std::string& out, const TraceEvent& event, std::string_view tag);

// What the lines say that begin with '#'.
struct TraceFacts {
  std::optional<std::string> name;
  std::optional<uint64_t> limit;
  std::map<uint32_t, StackTrace> stacks;
  uint64_t stack_bytes = 0;  // about what `stacks` takes
};

// `line` with its '#'. Words that are not known are skipped.
Status parse_fact(std::string_view line, const TraceLimits& limits, TraceFacts& facts);

void append_name_fact(std::string& out, std::string_view name);
void append_limit_fact(std::string& out, uint64_t bytes);
void append_stack_fact(std::string& out, uint32_t stack, const StackTrace& frames);

// "expected ..., found '...'".
tl::unexpected<Error> malformed(std::string_view expected, std::string_view found);

// The number that `field` is, written in its only way.
template <typename T>
Status parse_number(std::string_view name, std::string_view field, T& value);
extern template Status parse_number(std::string_view name, std::string_view field, uint32_t& value);
extern template Status parse_number(std::string_view name, std::string_view field, uint64_t& value);

}  // namespace lobit::detail

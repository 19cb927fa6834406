// Block traces as the text that docs/formats/trace.md specifies.
#pragma once

#include <optional>
#include <string>

#include "bench/trace/block_trace.h"

namespace lobit::bench {

// Nothing, after a complaint on stderr, when the file cannot be read or is no trace. Events of other threads
// and streams are taken in the order of the lines; refusals, trims and facts are left out. Allocates
// nothing from the heap.
std::optional<BlockTrace> read_trace_file(const std::string& path);

// Every block with an alignment of 64 bytes; time counts events. False after a complaint on stderr.
bool write_trace_file(const BlockTrace& trace, const std::string& path);

}  // namespace lobit::bench

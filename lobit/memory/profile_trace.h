// profile_trace: explains a trace of any length, in memory that is bounded by the blocks that are live at a
// time, the stacks and summaries of fixed size. Reads the source twice, the second time knowing where the
// peak is and how long the run was; takes time in proportion to its length. The same trace gives the same
// profile.
#pragma once

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/io/source.h"
#include "lobit/memory/memory_profile.h"
#include "lobit/memory/trace.h"

namespace lobit {

// The errors of TraceReader. What a trace does not tell stays empty: without `usage` nothing is said of
// committed memory, without times of what happened when, without addresses of arenas. Committed memory
// between two `usage` events is what the first one said, or what was live if that is more. A stack that the
// trace does not explain counts as unknown. fragmentation and latencies are never in a trace.
LOBIT_API Result<MemoryProfile> profile_trace(const ByteSource& trace, const TraceLimits& limits = {});

}  // namespace lobit

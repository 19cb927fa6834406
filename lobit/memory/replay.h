// Replay: a trace run again on any MemoryResource, by one thread on the default stream in the order of the
// events, whichever threads and streams recorded them and whenever.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/memory/trace.h"

namespace lobit {

// A trace in memory that was checked and whose slots are known, so that replaying it costs next to nothing
// beside what the resource does. Immutable; any number of threads may read it.
class LOBIT_API Trace {
 public:
  // The errors of TraceReader.
  static Result<Trace> read(const ByteSource& source, const TraceLimits& limits = {});
  // The same checks for events that were made up; their slots are overwritten. kInvalidArgument with the
  // number of the event (from 0).
  static Result<Trace> from_events(std::vector<TraceEvent> events);

  std::span<const TraceEvent> events() const { return events_; }
  // The most blocks that are live at a time; every slot is below.
  uint32_t slots() const { return slots_; }
  // The most bytes that are live at a time, as they were asked for.
  uint64_t peak_live_bytes() const { return peak_live_bytes_; }

 private:
  std::vector<TraceEvent> events_;
  uint32_t slots_ = 0;
  uint64_t peak_live_bytes_ = 0;
};

enum class Touch : uint8_t {
  kNothing,
  kEveryPage,  // writes the first byte of a block and one byte every 4 KiB after it
};

struct ReplayOptions {
  Touch touch = Touch::kNothing;
};

// What a replay did. Events of refused allocations are counted and not tried.
struct ReplayResult {
  uint64_t events = 0;
  uint64_t allocations = 0;  // that succeeded
  uint64_t frees = 0;        // that succeeded, those of blocks that the trace leaves behind included
  uint64_t trims = 0;
  uint64_t trimmed_bytes = 0;
  uint64_t peak_live_bytes = 0;  // the most bytes of blocks at a time, as they were asked for
  uint64_t left_blocks = 0;      // live where the trace ends; the replay frees them
  uint64_t left_bytes = 0;

  // What the resource refused. A block that could not be allocated is not freed either.
  uint64_t failed_allocations = 0;
  uint64_t failed_bytes = 0;
  uint64_t failed_frees = 0;
  std::optional<Error> first_failure = std::nullopt;
  uint64_t first_failure_event = 0;  // its number, from 0
};

// Ends with the resource holding no block of the trace.
LOBIT_API ReplayResult replay(const Trace& trace, MemoryResource& resource,
                              const ReplayOptions& options = {});

// The same while reading, for traces of any length. The errors of TraceReader.
LOBIT_API Result<ReplayResult> replay(TraceReader& trace, MemoryResource& resource,
                                      const ReplayOptions& options = {});

}  // namespace lobit

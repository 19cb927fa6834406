#include "lobit/memory/replay.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "lobit/memory/trace_rules.h"

namespace lobit {
namespace {

constexpr size_t kPageBytes = 4096;

// One run of a trace. Blocks that could not be allocated keep an empty place.
class Replayer {
 public:
  Replayer(MemoryResource& resource, const ReplayOptions& options, size_t slots)
      : resource_(&resource), touch_(options.touch), places_(slots) {}

  void step(const TraceEvent& event) {
    switch (event.op) {
      case TraceOp::kAllocate:
        allocate(event);
        break;
      case TraceOp::kFree:
        free(std::exchange(places_[event.slot], Place()));
        break;
      case TraceOp::kTrim:
        ++result_.trims;
        result_.trimmed_bytes += resource_->trim();
        break;
      case TraceOp::kRefuse:
      case TraceOp::kUsage:
        break;
    }
    ++result_.events;
  }

  // Frees what the trace left.
  ReplayResult finish() {
    result_.left_blocks = result_.allocations - result_.frees - result_.failed_frees;
    result_.left_bytes = live_bytes_;
    for (Place& place : places_) free(std::exchange(place, Place()));
    return result_;
  }

 private:
  struct Place {
    void* pointer = nullptr;
    size_t bytes = 0;
    size_t alignment = 0;
  };

  void allocate(const TraceEvent& event) {
    if (event.slot >= places_.size()) places_.resize(event.slot + 1);
    Place& place = places_[event.slot];
    Result<void*> block = resource_->allocate(event.bytes, event.alignment);
    if (!block) {
      ++result_.failed_allocations;
      result_.failed_bytes += event.bytes;
      note_failure(std::move(block).error());
      return;
    }
    place = {*block, event.bytes, event.alignment};
    ++result_.allocations;
    live_bytes_ += event.bytes;
    result_.peak_live_bytes = std::max(result_.peak_live_bytes, live_bytes_);
    if (touch_ == Touch::kEveryPage) touch(place);
  }

  void free(const Place& place) {
    if (place.pointer == nullptr) return;
    live_bytes_ -= place.bytes;
    if (Status freed = resource_->deallocate(place.pointer, place.bytes, place.alignment); !freed) {
      ++result_.failed_frees;
      note_failure(std::move(freed).error());
      return;
    }
    ++result_.frees;
  }

  static void touch(const Place& place) {
    // Volatile: nobody reads what is written here.
    auto* bytes = static_cast<volatile unsigned char*>(place.pointer);
    for (size_t at = 0; at < place.bytes; at += kPageBytes) bytes[at] = 1;
  }

  void note_failure(Error error) {
    if (result_.first_failure.has_value()) return;
    result_.first_failure = std::move(error);
    result_.first_failure_event = result_.events;
  }

  MemoryResource* resource_;
  Touch touch_;
  std::vector<Place> places_;
  ReplayResult result_;
  uint64_t live_bytes_ = 0;
};

}  // namespace

Result<Trace> Trace::read(const ByteSource& source, const TraceLimits& limits) {
  LOBIT_TRY(TraceReader reader, TraceReader::open(source, limits));
  Trace trace;
  for (;;) {
    LOBIT_TRY(const std::optional<TraceEvent> event, reader.next());
    if (!event.has_value()) break;
    trace.events_.push_back(*event);
  }
  trace.slots_ = reader.slots();
  trace.peak_live_bytes_ = reader.peak_live_bytes();
  return trace;
}

Result<Trace> Trace::from_events(std::vector<TraceEvent> events) {
  detail::TraceRules rules({.max_live_blocks = UINT64_MAX});
  for (size_t i = 0; i < events.size(); ++i) {
    if (Status applied = rules.apply(events[i]); !applied) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("trace: event {}: {}", i, applied.error().message),
                  {.index = i});
    }
  }
  Trace trace;
  trace.events_ = std::move(events);
  trace.slots_ = rules.slots();
  trace.peak_live_bytes_ = rules.peak_live_bytes();
  return trace;
}

ReplayResult replay(const Trace& trace, MemoryResource& resource, const ReplayOptions& options) {
  Replayer replayer(resource, options, trace.slots());
  for (const TraceEvent& event : trace.events()) replayer.step(event);
  return replayer.finish();
}

Result<ReplayResult> replay(TraceReader& trace, MemoryResource& resource, const ReplayOptions& options) {
  Replayer replayer(resource, options, 0);
  for (;;) {
    Result<std::optional<TraceEvent>> event = trace.next();
    if (!event || !event->has_value()) {
      ReplayResult result = replayer.finish();
      if (!event) return fail(std::move(event).error());
      return result;
    }
    replayer.step(**event);
  }
}

}  // namespace lobit

// For tests alone (not installed): a trace written event by event, by a thread with a clock that tests set.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lobit/base/check.h"
#include "lobit/memory/profile_trace.h"
#include "lobit/memory/trace.h"

namespace lobit {

class MadeUpTrace {
 public:
  MadeUpTrace() : text_(std::make_unique<TraceText>()), writer_(*text_) {}

  uint64_t now = 0;  // of the events that follow
  uint32_t thread = 0;

  uint64_t allocate(uint64_t bytes, std::string_view tag = "untagged", uint32_t stack = 0,
                    uint64_t address = 0) {
    TraceEvent event{.tag = writer_.add_tag(tag).value(),
                     .block = ++last_block_,
                     .bytes = bytes,
                     .alignment = 1,
                     .address = address,
                     .stack = stack};
    append(event);
    event.op = TraceOp::kFree;
    event.stack = 0;
    live_.emplace(event.block, event);
    return event.block;
  }
  void free(uint64_t block) {
    append(live_.at(block));
    live_.erase(block);
  }
  void free_all() {
    while (!live_.empty()) free(live_.begin()->first);
  }
  void refuse(uint64_t bytes) { append({.op = TraceOp::kRefuse, .bytes = bytes}); }
  void trim(uint64_t bytes) { append({.op = TraceOp::kTrim, .bytes = bytes}); }
  void usage(uint64_t bytes) { append({.op = TraceOp::kUsage, .bytes = bytes}); }
  // The run ends: an event that changes nothing.
  void end(uint64_t time_ns) {
    now = time_ns;
    trim(0);
  }

  TraceWriter& writer() { return writer_; }
  size_t live() const { return live_.size(); }
  // A live block, by its place in the order of allocation.
  uint64_t block(size_t place) const {
    return std::next(live_.begin(), static_cast<std::ptrdiff_t>(place))->first;
  }

  // Ends the trace.
  const std::string& text() {
    static_cast<void>(writer_.close());
    return text_->text();
  }
  MemoryProfile profile() {
    const MemorySource source(std::as_bytes(std::span(text())), "made up");
    return profile_trace(source).value();
  }

 private:
  void append(TraceEvent event) {
    event.time_ns = now;
    event.thread = thread;
    LOBIT_CHECK(writer_.append(event).has_value());
  }

  std::unique_ptr<TraceText> text_;  // where the writer finds it when the trace moves
  TraceWriter writer_;
  std::map<uint64_t, TraceEvent> live_;  // as they will be freed
  uint64_t last_block_ = 0;
};

}  // namespace lobit

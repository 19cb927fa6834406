// Traces: what a program allocated and freed, in order, as text that any tool reads. docs/formats/trace.md
// specifies the format. TraceReader reads one event at a time and checks that the events make sense together;
// TraceWriter writes one; replay.h runs one on a MemoryResource. One thread at a time may use an object of
// this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/io/file.h"
#include "lobit/io/source.h"

namespace lobit {

enum class TraceOp : uint8_t {
  kAllocate,
  kFree,
  kRefuse,  // an allocation that failed
  kTrim,    // a call of MemoryResource::trim()
};

struct TraceEvent {
  TraceOp op = TraceOp::kAllocate;
  uint32_t thread = 0;   // who called, numbered from 0
  uint32_t stream = 0;   // on which stream, numbered from 1; 0 is the default stream
  uint64_t time_ns = 0;  // since the trace began; never less than that of the event before
  // Which block: above that of every allocation before. 0 for kRefuse and kTrim, which have none.
  uint64_t block = 0;
  uint64_t bytes = 0;      // asked for, or given back by a trim
  uint64_t alignment = 0;  // asked for; 0 for a trim
  // Stands for the block from kAllocate to kFree: no two live blocks share one, and all are below the most
  // blocks that were live at a time, so that an array holds what belongs to blocks. Filled in by readers,
  // ignored by writers.
  uint32_t slot = 0;

  friend bool operator==(const TraceEvent&, const TraceEvent&) = default;
};

// The first line of a trace, without its end.
inline constexpr std::string_view kTraceHeader = "lobit_trace_1,thread,time_ns,block,bytes,alignment,stream";

// Where the text of a trace goes to.
class LOBIT_API TraceSink {
 public:
  virtual ~TraceSink() = default;
  virtual Status write(std::string_view text) = 0;
  // Nothing is written afterwards.
  virtual Status close() = 0;
};

// A file, which appears under its name when it is closed.
class LOBIT_API TraceFile final : public TraceSink {
 public:
  // The errors of OutputFile::create.
  static Result<TraceFile> create(const std::filesystem::path& path);
  Status write(std::string_view text) override;
  Status close() override;

 private:
  explicit TraceFile(OutputFile file) : file_(std::move(file)) {}
  OutputFile file_;
  uint64_t written_ = 0;
};

// A string in memory.
class LOBIT_API TraceText final : public TraceSink {
 public:
  Status write(std::string_view text) override;
  Status close() override { return {}; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// Turns events into text, 64 KiB at a time. The sink must outlive it. What is not closed lacks its end.
class LOBIT_API TraceWriter {
 public:
  explicit TraceWriter(TraceSink& sink);

  // The first error of the sink, which every later call returns again; kInvalidArgument, without effect, for
  // an operation that does not exist. Does not check what else readers check.
  Status append(const TraceEvent& event);
  // Writes what is buffered and closes the sink.
  Status close();

 private:
  Status flush();

  TraceSink* sink_;
  std::string buffer_;
  Status status_;
};

// What a reader takes before it refuses, as kLimit.
struct TraceLimits {
  uint64_t max_live_blocks = uint64_t{1} << 20;  // each costs at most about 150 bytes
  uint64_t max_events = UINT64_MAX;              // Trace holds them all, each in 56 bytes
};

// Reads a trace that may come from anybody: memory is bounded by the blocks that are live at a time. Errors
// are kCorrupt, with the number of the line (from 1) as the detail's index and the offset of its first byte,
// or those of the source. After an error the reader is done.
class LOBIT_API TraceReader {
 public:
  // Reads the header. The source must outlive the reader.
  static Result<TraceReader> open(const ByteSource& source, const TraceLimits& limits = {});

  TraceReader(TraceReader&&) noexcept;
  TraceReader& operator=(TraceReader&&) noexcept;
  ~TraceReader();

  // Nothing at the end.
  Result<std::optional<TraceEvent>> next();

  // Of the events so far: above every slot, and the most bytes of blocks that were live at a time.
  uint32_t slots() const;
  uint64_t peak_live_bytes() const;

 private:
  struct State;
  explicit TraceReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lobit

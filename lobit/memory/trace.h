// Traces: what a program allocated and freed, in order, as text that any tool reads. docs/formats/trace.md
// specifies the format. TraceReader reads one event at a time and checks that the events make sense together;
// TraceWriter writes one; replay.h runs one on a MemoryResource. One thread at a time may use an object of
// this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/base/stack_frame.h"
#include "lobit/io/file.h"
#include "lobit/io/source.h"

namespace lobit {

namespace detail {
class TraceTags;
}

enum class TraceOp : uint8_t {
  kAllocate,
  kFree,
  kRefuse,  // an allocation that failed
  kTrim,    // a call of MemoryResource::trim()
  kUsage,   // how much was committed at that moment
};

struct TraceEvent {
  TraceOp op = TraceOp::kAllocate;
  // What the memory is for: a number for one of the names in TraceReader::tags() or TraceWriter::add_tag().
  // Of a block from kAllocate to kFree, or of the call that was refused; 0 is "untagged".
  uint8_t tag = 0;
  uint32_t thread = 0;   // who called, numbered from 0
  uint32_t stream = 0;   // on which stream, numbered from 1; 0 is the default stream
  uint64_t time_ns = 0;  // since the trace began; never less than that of the event before
  // Which block: above that of every allocation before. 0 for events that are not of a block.
  uint64_t block = 0;
  uint64_t bytes = 0;      // asked for, given back by a trim, or committed
  uint64_t alignment = 0;  // asked for; 0 for kTrim and kUsage
  uint64_t address = 0;    // of the block in the process that was traced; 0 is unknown
  uint32_t stack = 0;      // where the call was, a key of TraceReader::stacks(); 0 is unknown
  // Stands for the block from kAllocate to kFree: no two live blocks share one, and all are below the most
  // blocks that were live at a time, so that an array holds what belongs to blocks. Filled in by readers,
  // ignored by writers.
  uint32_t slot = 0;

  friend bool operator==(const TraceEvent&, const TraceEvent&) = default;
};

// The first line of a trace, without its end.
inline constexpr std::string_view kTraceHeader =
    "lobit_trace_2,thread,time_ns,block,bytes,alignment,stream,tag,address,stack";

// What a trace holds at most.
inline constexpr size_t kMaxTraceTags = 64;         // "untagged" included
inline constexpr size_t kMaxTraceFrames = 32;       // of a stack
inline constexpr size_t kMaxTraceStacks = 1 << 16;  // what a reader takes unless it is told otherwise

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
  TraceWriter(TraceWriter&&) noexcept;
  TraceWriter& operator=(TraceWriter&&) noexcept;
  ~TraceWriter();

  // The number that stands for a tag in events; "untagged" has 0, and a name that was added before keeps its
  // number. kInvalidArgument for a name that is_memory_tag_name() refuses, kLimit beyond kMaxTraceTags.
  Result<uint8_t> add_tag(std::string_view name);

  // These return the first error of the sink, and every later call returns it again. kInvalidArgument,
  // without effect, for an operation or a tag that does not exist. They do not check what else readers check.
  Status append(const TraceEvent& event);
  // Facts; each at most once. What is not UTF-8 in a text becomes '?', and a text that is too long for its
  // line is cut.
  Status append_name(std::string_view name);
  Status append_limit(uint64_t bytes);
  // Where a stack was, by its number above 0. Outer frames that do not fit are left out.
  Status append_stack(uint32_t stack, const StackTrace& frames);

  // Writes what is buffered and closes the sink.
  Status close();

 private:
  Status written();  // of one more line
  Status flush();

  TraceSink* sink_;
  std::unique_ptr<detail::TraceTags> tags_;
  std::string buffer_;
  Status status_;
};

// What a reader takes before it refuses, as kLimit.
struct TraceLimits {
  uint64_t max_live_blocks = uint64_t{1} << 20;  // each costs at most about 200 bytes
  uint64_t max_events = UINT64_MAX;              // Trace holds them all, each in 64 bytes
  uint64_t max_stacks = kMaxTraceStacks;
  uint64_t max_stack_bytes = uint64_t{64} << 20;  // of memory for all stacks
};

// Reads a trace that may come from anybody: memory is bounded by the blocks that are live at a time and by
// the stacks. Errors are kCorrupt or kLimit, with the number of the line (from 1) as the detail's index and
// the offset of its first byte, or those of the source. After an error the reader is done.
class LOBIT_API TraceReader {
 public:
  // Reads the header. The source must outlive the reader.
  static Result<TraceReader> open(const ByteSource& source, const TraceLimits& limits = {});

  TraceReader(TraceReader&&) noexcept;
  TraceReader& operator=(TraceReader&&) noexcept;
  ~TraceReader();

  // Nothing at the end.
  Result<std::optional<TraceEvent>> next();

  // What was read so far, the facts of lines before the event that next() returned included.
  const std::vector<std::string>& tags() const;  // "untagged", then the others as they appeared
  const std::map<uint32_t, StackTrace>& stacks() const;
  std::string_view name() const;  // of the program that was traced; empty when unknown
  std::optional<uint64_t> limit() const;

  // Of the events so far: above every slot, and the most bytes of blocks that were live at a time.
  uint32_t slots() const;
  uint64_t peak_live_bytes() const;

 private:
  struct State;
  explicit TraceReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lobit

#include "lobit/memory/trace.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/utf8.h"
#include "lobit/memory/trace_rules.h"
#include "lobit/memory/trace_text_internal.h"

namespace lobit {
namespace {

constexpr size_t kBufferBytes = size_t{64} << 10;
}  // namespace

Result<TraceFile> TraceFile::create(const std::filesystem::path& path) {
  LOBIT_TRY(OutputFile file, OutputFile::create(path, 0));
  return TraceFile(std::move(file));
}

Status TraceFile::write(std::string_view text) {
  LOBIT_RETURN_IF_ERROR(file_.write_at(written_, std::as_bytes(std::span(text))));
  written_ += text.size();
  return {};
}

Status TraceFile::close() {
  return file_.commit();
}

Status TraceText::write(std::string_view text) {
  text_ += text;
  return {};
}

TraceWriter::TraceWriter(TraceSink& sink) : sink_(&sink), tags_(std::make_unique<detail::TraceTags>()) {
  buffer_.reserve(kBufferBytes + detail::kMaxEventCharacters);
  buffer_ += kTraceHeader;
  buffer_ += '\n';
}

Result<uint8_t> TraceWriter::add_tag(std::string_view name) {
  Result<uint8_t> number = tags_->number(name);
  if (number) return number;
  Error error = std::move(number).error();
  if (error.code == ErrorCode::kCorrupt) error.code = ErrorCode::kInvalidArgument;
  error.message = "trace: " + error.message;
  return fail(std::move(error));
}

Status TraceWriter::append(const TraceEvent& event) {
  LOBIT_RETURN_IF_ERROR(status_);
  if (event.tag >= tags_->names().size()) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("trace: there is no tag {}", event.tag));
  }
  LOBIT_RETURN_IF_ERROR(detail::append_event(buffer_, event, tags_->names()[event.tag]));
  return written();
}

Status TraceWriter::append_name(std::string_view name) {
  LOBIT_RETURN_IF_ERROR(status_);
  detail::append_name_fact(buffer_, name);
  return written();
}

Status TraceWriter::append_limit(uint64_t bytes) {
  LOBIT_RETURN_IF_ERROR(status_);
  detail::append_limit_fact(buffer_, bytes);
  return written();
}

Status TraceWriter::append_stack(uint32_t stack, const StackTrace& frames) {
  LOBIT_RETURN_IF_ERROR(status_);
  if (stack == 0) return fail(ErrorCode::kInvalidArgument, "trace: expected a stack above 0, found 0");
  detail::append_stack_fact(buffer_, stack, frames);
  return written();
}

Status TraceWriter::written() {
  return buffer_.size() < kBufferBytes ? Status() : flush();
}

Status TraceWriter::flush() {
  status_ = sink_->write(buffer_);
  buffer_.clear();
  return status_;
}

Status TraceWriter::close() {
  LOBIT_RETURN_IF_ERROR(status_);
  LOBIT_RETURN_IF_ERROR(flush());
  Status closed = sink_->close();
  status_ = closed ? fail(ErrorCode::kInvalidArgument, "trace: is closed already") : closed;
  return closed;
}

TraceWriter::TraceWriter(TraceWriter&&) noexcept = default;
TraceWriter& TraceWriter::operator=(TraceWriter&&) noexcept = default;
TraceWriter::~TraceWriter() = default;

struct TraceReader::State {
  State(const ByteSource& from, const TraceLimits& most) : source(&from), limits(most), rules(most) {}

  // The next line without its end, valid until the next call; nothing at the end.
  Result<std::optional<std::string_view>> next_line();
  Status fill();
  // Says where: in the line that was read last.
  tl::unexpected<Error> at_line(Error error) const;

  const ByteSource* source;
  TraceLimits limits;
  detail::TraceRules rules;
  detail::TraceTags tags;
  detail::TraceFacts facts;
  std::string buffer;
  size_t begin = 0;          // of what was not yet taken from the buffer
  uint64_t read = 0;         // how much of the source was read into the buffer
  uint64_t line = 0;         // the number of the line that was read last
  uint64_t line_offset = 0;  // where it begins
  bool done = false;
};

Status TraceReader::State::fill() {
  const size_t kept = buffer.size() - begin;
  std::memmove(buffer.data(), buffer.data() + begin, kept);
  begin = 0;
  const auto more = static_cast<size_t>(std::min<uint64_t>(source->size() - read, kBufferBytes));
  buffer.resize(kept + more);
  LOBIT_RETURN_IF_ERROR(source->read_at(read, std::as_writable_bytes(std::span(buffer).subspan(kept))));
  read += more;
  return {};
}

Result<std::optional<std::string_view>> TraceReader::State::next_line() {
  ++line;
  line_offset = read - (buffer.size() - begin);
  if (begin == buffer.size() && read < source->size()) LOBIT_RETURN_IF_ERROR(fill());
  if (begin == buffer.size()) return std::nullopt;
  // Whether it is a fact shows in its first character, which is there.
  const size_t most = buffer[begin] == '#' ? detail::kMaxFactCharacters : detail::kMaxEventCharacters;
  std::string_view rest = std::string_view(buffer).substr(begin);
  size_t end = rest.substr(0, most + 1).find('\n');
  if (end == std::string_view::npos && rest.size() <= most && read < source->size()) {
    LOBIT_RETURN_IF_ERROR(fill());
    rest = std::string_view(buffer).substr(begin);
    end = rest.substr(0, most + 1).find('\n');
  }
  if (end == std::string_view::npos) {
    const std::string expected = rest.size() <= most
                                     ? std::string("a line feed at the end")
                                     : fmt::format("at most {} characters and a line feed", most);
    return at_line(detail::malformed(expected, rest.substr(0, most + 1)).value());
  }
  begin += end + 1;
  return rest.substr(0, end);
}

tl::unexpected<Error> TraceReader::State::at_line(Error error) const {
  error.message = fmt::format("{}: line {}: {}", source->name(), line, error.message);
  error.detail.index = line;
  error.detail.offset = line_offset;
  return fail(std::move(error));
}

Result<TraceReader> TraceReader::open(const ByteSource& source, const TraceLimits& limits) {
  auto state = std::make_unique<State>(source, limits);
  const Result<std::optional<std::string_view>> header = state->next_line();
  if (!header && header.error().code != ErrorCode::kCorrupt) return fail(header.error());
  if (!header || *header != kTraceHeader) {
    // A file of another kind may have no lines.
    const std::string_view start = std::string_view(state->buffer).substr(0, kTraceHeader.size() + 1);
    return state->at_line(detail::malformed(quoted(kTraceHeader), start.substr(0, start.find('\n'))).value());
  }
  return TraceReader(std::move(state));
}

TraceReader::TraceReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
TraceReader::TraceReader(TraceReader&&) noexcept = default;
TraceReader& TraceReader::operator=(TraceReader&&) noexcept = default;
TraceReader::~TraceReader() = default;

uint32_t TraceReader::slots() const {
  return state_->rules.slots();
}

uint64_t TraceReader::peak_live_bytes() const {
  return state_->rules.peak_live_bytes();
}

const std::vector<std::string>& TraceReader::tags() const {
  return state_->tags.names();
}

const std::map<uint32_t, StackTrace>& TraceReader::stacks() const {
  return state_->facts.stacks;
}

std::string_view TraceReader::name() const {
  return state_->facts.name.has_value() ? std::string_view(*state_->facts.name) : std::string_view();
}

std::optional<uint64_t> TraceReader::limit() const {
  return state_->facts.limit;
}

Result<std::optional<TraceEvent>> TraceReader::next() {
  State& state = *state_;
  if (state.done) return std::nullopt;
  state.done = true;  // until the event turns out to be a good one
  for (;;) {
    LOBIT_TRY(const std::optional<std::string_view> line, state.next_line());
    if (!line.has_value()) return std::nullopt;
    if (line->starts_with('#')) {
      Status known = detail::parse_fact(*line, state.limits, state.facts);
      if (!known) return state.at_line(std::move(known).error());
      continue;
    }
    Result<TraceEvent> event = detail::parse_event(*line, state.tags);
    if (!event) return state.at_line(std::move(event).error());
    if (Status applied = state.rules.apply(*event); !applied) {
      return state.at_line(std::move(applied).error());
    }
    state.done = false;
    return *event;
  }
}

}  // namespace lobit

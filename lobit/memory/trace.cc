#include "lobit/memory/trace.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <iterator>
#include <limits>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/utf8.h"
#include "lobit/memory/trace_rules.h"

namespace lobit {
namespace {

constexpr size_t kBufferBytes = size_t{64} << 10;
// Above the longest line that the format allows, which has 101 characters and its end.
constexpr size_t kMaxLineBytes = 128;

struct NamedOp {
  std::string_view name;
  TraceOp op;
};
constexpr std::array kOps = {NamedOp{"allocate", TraceOp::kAllocate}, NamedOp{"free", TraceOp::kFree},
                             NamedOp{"refuse", TraceOp::kRefuse}, NamedOp{"trim", TraceOp::kTrim}};

tl::unexpected<Error> malformed(std::string_view expected, std::string_view found) {
  return fail(ErrorCode::kCorrupt, fmt::format("expected {}, found {}", expected, quoted(found)));
}

// Cuts the field off `rest`, up to the next comma.
std::string_view take_field(std::string_view& rest) {
  const size_t comma = rest.find(',');
  const std::string_view field = rest.substr(0, comma);
  rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  return field;
}

template <typename T>
Status parse_number(std::string_view name, std::string_view field, T& value) {
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  const bool whole = error == std::errc() && end == field.data() + field.size();
  if (whole && (field.size() == 1 || field[0] != '0')) return {};
  return malformed(fmt::format("as {} a number up to {}", name, std::numeric_limits<T>::max()), field);
}

Result<TraceEvent> parse_event(std::string_view line) {
  if (std::ranges::count(line, ',') != 6) return malformed("seven fields", line);
  const std::string_view op = take_field(line);
  const auto* named = std::ranges::find(kOps, op, &NamedOp::name);
  if (named == kOps.end()) return malformed("allocate, free, refuse or trim", op);
  TraceEvent event{.op = named->op};
  LOBIT_RETURN_IF_ERROR(parse_number("thread", take_field(line), event.thread));
  LOBIT_RETURN_IF_ERROR(parse_number("time", take_field(line), event.time_ns));
  LOBIT_RETURN_IF_ERROR(parse_number("block", take_field(line), event.block));
  LOBIT_RETURN_IF_ERROR(parse_number("bytes", take_field(line), event.bytes));
  LOBIT_RETURN_IF_ERROR(parse_number("alignment", take_field(line), event.alignment));
  LOBIT_RETURN_IF_ERROR(parse_number("stream", take_field(line), event.stream));
  return event;
}

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

TraceWriter::TraceWriter(TraceSink& sink) : sink_(&sink) {
  buffer_.reserve(kBufferBytes + kMaxLineBytes);
  buffer_ += kTraceHeader;
  buffer_ += '\n';
}

Status TraceWriter::append(const TraceEvent& event) {
  LOBIT_RETURN_IF_ERROR(status_);
  const auto* named = std::ranges::find(kOps, event.op, &NamedOp::op);
  if (named == kOps.end()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("trace: there is no operation {}", static_cast<unsigned>(event.op)));
  }
  fmt::format_to(std::back_inserter(buffer_), "{},{},{},{},{},{},{}\n", named->name, event.thread,
                 event.time_ns, event.block, event.bytes, event.alignment, event.stream);
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

struct TraceReader::State {
  State(const ByteSource& from, const TraceLimits& limits) : source(&from), rules(limits) {}

  // The next line without its end, valid until the next call; nothing at the end.
  Result<std::optional<std::string_view>> next_line();
  Status fill();
  // Says where: in the line that was read last.
  tl::unexpected<Error> at_line(Error error) const;

  const ByteSource* source;
  detail::TraceRules rules;
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
  if (buffer.size() - begin < kMaxLineBytes && read < source->size()) LOBIT_RETURN_IF_ERROR(fill());
  const std::string_view rest = std::string_view(buffer).substr(begin);
  if (rest.empty()) return std::nullopt;
  const size_t end = rest.substr(0, kMaxLineBytes).find('\n');
  if (end == std::string_view::npos) {
    const std::string_view expected =
        rest.size() < kMaxLineBytes ? "a line feed at the end" : "at most 127 characters and a line feed";
    return at_line(malformed(expected, rest.substr(0, kMaxLineBytes)).value());
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
  LOBIT_TRY(const std::optional<std::string_view> header, state->next_line());
  if (header != kTraceHeader) {
    const Error error = malformed(quoted(kTraceHeader), header.value_or("")).value();
    return state->at_line(error);
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

Result<std::optional<TraceEvent>> TraceReader::next() {
  if (state_->done) return std::nullopt;
  state_->done = true;  // until the event turns out to be a good one
  LOBIT_TRY(const std::optional<std::string_view> line, state_->next_line());
  if (!line.has_value()) return std::nullopt;
  Result<TraceEvent> event = parse_event(*line);
  if (!event) return state_->at_line(std::move(event).error());
  if (Status applied = state_->rules.apply(*event); !applied) {
    return state_->at_line(std::move(applied).error());
  }
  state_->done = false;
  return *event;
}

}  // namespace lobit

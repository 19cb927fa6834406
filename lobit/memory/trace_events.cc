#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>
#include <limits>

#include <fmt/format.h>

#include "lobit/base/utf8.h"
#include "lobit/memory/memory_tag.h"
#include "lobit/memory/trace_text_internal.h"

namespace lobit::detail {
namespace {

struct NamedOp {
  std::string_view name;
  TraceOp op;
};
constexpr std::array kOps = {NamedOp{"allocate", TraceOp::kAllocate}, NamedOp{"free", TraceOp::kFree},
                             NamedOp{"refuse", TraceOp::kRefuse}, NamedOp{"trim", TraceOp::kTrim},
                             NamedOp{"usage", TraceOp::kUsage}};

// Cuts the field off `rest`, up to the next comma.
std::string_view take_field(std::string_view& rest) {
  const size_t comma = rest.find(',');
  const std::string_view field = rest.substr(0, comma);
  rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  return field;
}

// The same for a number with a field after it.
template <typename T>
Status take_number(std::string_view name, std::string_view& rest, T& value) {
  const char* const begin = rest.data();
  const char* const last = begin + rest.size();
  const auto [end, error] = std::from_chars(begin, last, value);
  const bool whole = error == std::errc() && end != last && *end == ',';
  if (!whole || (end - begin > 1 && *begin == '0')) return parse_number(name, take_field(rest), value);
  rest.remove_prefix(static_cast<size_t>(end - begin) + 1);
  return {};
}

// A line with too few or too many fields is an error here, too, whichever.
Result<TraceEvent> parse_fields(std::string_view line, TraceTags& tags) {
  const std::string_view op = take_field(line);
  const auto* named = std::ranges::find(kOps, op, &NamedOp::name);
  if (named == kOps.end()) return malformed("allocate, free, refuse, trim or usage", op);
  TraceEvent event{.op = named->op};
  LOBIT_RETURN_IF_ERROR(take_number("thread", line, event.thread));
  LOBIT_RETURN_IF_ERROR(take_number("time", line, event.time_ns));
  LOBIT_RETURN_IF_ERROR(take_number("block", line, event.block));
  LOBIT_RETURN_IF_ERROR(take_number("bytes", line, event.bytes));
  LOBIT_RETURN_IF_ERROR(take_number("alignment", line, event.alignment));
  LOBIT_RETURN_IF_ERROR(take_number("stream", line, event.stream));
  LOBIT_TRY(event.tag, tags.number(take_field(line)));
  LOBIT_RETURN_IF_ERROR(take_number("address", line, event.address));
  LOBIT_RETURN_IF_ERROR(parse_number("stack", line, event.stack));
  return event;
}

}  // namespace

Result<uint8_t> TraceTags::number(std::string_view name) {
  if (names_[last_] == name) return static_cast<uint8_t>(last_);
  const auto found = std::ranges::find(names_, name);
  const auto place = static_cast<size_t>(found - names_.begin());
  if (found == names_.end()) {
    if (!is_memory_tag_name(name)) {
      return malformed(fmt::format("as tag 1 to {} characters a-z, 0-9 and _", kMaxMemoryTagName), name);
    }
    if (names_.size() == kMaxTraceTags) {
      return fail(ErrorCode::kLimit,
                  fmt::format("expected at most {} tags, found {}", kMaxTraceTags, quoted(name)),
                  {.required = kMaxTraceTags + 1, .available = kMaxTraceTags});
    }
    names_.emplace_back(name);
  }
  last_ = place;
  return static_cast<uint8_t>(place);
}

tl::unexpected<Error> malformed(std::string_view expected, std::string_view found) {
  return fail(ErrorCode::kCorrupt, fmt::format("expected {}, found {}", expected, quoted(found)));
}

template <typename T>
Status parse_number(std::string_view name, std::string_view field, T& value) {
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  const bool whole = error == std::errc() && end == field.data() + field.size();
  if (whole && (field.size() == 1 || field[0] != '0')) return {};
  return malformed(fmt::format("as {} a number up to {}", name, std::numeric_limits<T>::max()), field);
}
template Status parse_number(std::string_view name, std::string_view field, uint32_t& value);
template Status parse_number(std::string_view name, std::string_view field, uint64_t& value);

Result<TraceEvent> parse_event(std::string_view line, TraceTags& tags) {
  Result<TraceEvent> event = parse_fields(line, tags);
  // Looked at last: most lines are good, and then it costs time for nothing.
  if (!event && std::ranges::count(line, ',') != 9) return malformed("ten fields", line);
  return event;
}

Status append_event(std::string& out, const TraceEvent& event, std::string_view tag) {
  const auto* named = std::ranges::find(kOps, event.op, &NamedOp::op);
  if (named == kOps.end()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("trace: there is no operation {}", static_cast<unsigned>(event.op)));
  }
  fmt::format_to(std::back_inserter(out), "{},{},{},{},{},{},{},{},{},{}\n", named->name, event.thread,
                 event.time_ns, event.block, event.bytes, event.alignment, event.stream, tag, event.address,
                 event.stack);
  return {};
}

}  // namespace lobit::detail

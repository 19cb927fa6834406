#include "lobit/report/memory_tables.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/report/number.h"

namespace lobit::detail {
namespace {

constexpr size_t kPlaceWidth = 36;
constexpr size_t kFunctionWidth = 40;
constexpr size_t kMostFrames = 48;  // that a cell shows when it is opened

// Functions that allocate for whoever called them.
constexpr std::array<std::string_view, 7> kAllocatingFunctions{
    "operator new", "malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "std::"};
constexpr std::array<std::string_view, 2> kAllocatingFolders{"lobit/memory/", "bits/"};
// Where a program was built without line numbers its folders are not known, but what lobit's resources call
// their functions is.
constexpr std::array<std::string_view, 2> kAllocatingMembers{"::allocate(", "::do_allocate("};

bool is_lobits_allocation(const StackFrame& frame) {
  return frame.line == 0 && frame.function.starts_with("lobit::") &&
         std::ranges::any_of(kAllocatingMembers, [&](std::string_view member) {
           return frame.function.find(member) != std::string::npos;
         });
}

bool allocates_for_others(const StackFrame& frame) {
  return is_lobits_allocation(frame) ||
         std::ranges::any_of(kAllocatingFunctions,
                             [&](std::string_view name) { return frame.function.starts_with(name); }) ||
         std::ranges::any_of(kAllocatingFolders, [&](std::string_view folder) {
           return frame.file.find(folder) != std::string::npos;
         });
}

const StackTrace* stack_of(const MemoryProfile& profile, uint32_t stack) {
  const bool known = stack < profile.stacks.size() && !profile.stacks[stack].empty();
  return known ? &profile.stacks[stack] : nullptr;
}

std::string frame_text(const StackFrame& frame) {
  std::string out = frame.function.empty() ? "?" : frame.function;
  if (!frame.file.empty()) out += " at " + frame.file;
  return frame.line > 0 ? fmt::format("{}:{}", out, frame.line) : out;
}

// Who called, with the whole stack behind it.
Cell function_cell(const MemoryProfile& profile, uint32_t stack) {
  const StackFrame* frame = caller(profile, stack);
  if (frame == nullptr) return text_cell("unknown");
  Cell cell = text_cell(function_text(*frame));
  const StackTrace& frames = profile.stacks[stack];
  for (size_t i = 0; i < std::min(frames.size(), kMostFrames); ++i) {
    cell.folded.push_back(frame_text(frames[i]));
  }
  if (frames.size() > kMostFrames) {
    cell.folded.push_back(fmt::format("and {} more", frames.size() - kMostFrames));
  }
  return cell;
}

Cell place_cell(const MemoryProfile& profile, uint32_t stack) {
  const StackFrame* frame = caller(profile, stack);
  return text_cell(frame == nullptr ? std::string() : place_text(*frame));
}

Cell nanoseconds_cell(double nanoseconds) {
  return {.text = format_nanoseconds(nanoseconds), .value = nanoseconds};
}

std::string calls_text(uint64_t count, uint64_t bytes, uint64_t duration_ns) {
  const auto rate = per_second(count, duration_ns);
  return fmt::format("{}, together {}{}", format_count(count), format_bytes(bytes),
                     rate ? fmt::format(", {} a second", *rate) : "");
}

uint64_t value_at(const std::vector<uint64_t>& values, size_t i) {
  return i < values.size() ? values[i] : 0;
}

}  // namespace

std::string tag_name(const MemoryProfile& profile, uint32_t tag) {
  return tag < profile.tags.size() ? profile.tags[tag] : fmt::format("tag {}", tag);
}

std::string_view pattern_name(MemoryPatternKind kind) {
  switch (kind) {
    case MemoryPatternKind::kRepeating:
      return "repeating";
    case MemoryPatternKind::kShortLivedLarge:
      return "short-lived large";
    case MemoryPatternKind::kGrowth:
      return "growth";
    case MemoryPatternKind::kRegrowth:
      return "regrowth";
    case MemoryPatternKind::kManySmall:
      return "many small";
    case MemoryPatternKind::kFragmentation:
      break;
  }
  return "fragmentation";
}

std::optional<std::string> per_second(uint64_t count, uint64_t duration_ns) {
  if (duration_ns == 0) return std::nullopt;
  const double rate = static_cast<double>(count) * 1e9 / static_cast<double>(duration_ns);
  const bool is_count = rate >= 10 && rate < 1e15;
  return is_count ? format_count(static_cast<uint64_t>(std::llround(rate))) : format_short(rate);
}

std::string allocations_text(const MemoryProfile& profile) {
  return calls_text(profile.allocations, profile.allocated_bytes, profile.duration_ns);
}

std::string frees_text(const MemoryProfile& profile) {
  const uint64_t live = std::min(profile.live_bytes, profile.allocated_bytes);
  return calls_text(profile.frees, profile.allocated_bytes - live, profile.duration_ns);
}

std::string place_text(const StackFrame& frame) {
  if (frame.file.empty()) return {};
  const size_t name = frame.file.find_last_of('/');
  size_t start = 0;
  if (name != std::string::npos && name > 0) start = frame.file.find_last_of('/', name - 1) + 1;
  const std::string file = frame.file.substr(start);
  return frame.line > 0 ? fmt::format("{}:{}", file, frame.line) : file;
}

std::string function_text(const StackFrame& frame) {
  const std::string& name = frame.function;
  const size_t close = name.find_last_of(')');
  if (close == std::string::npos) return name.empty() ? "?" : name;
  size_t depth = 0;
  for (size_t i = close + 1; i-- > 0;) {
    depth += name[i] == ')' ? 1 : 0;
    depth -= name[i] == '(' ? 1 : 0;
    if (depth == 0) return i == 0 || name[i - 1] == ':' ? name : name.substr(0, i);
  }
  return name;
}

const StackFrame* caller(const MemoryProfile& profile, uint32_t stack) {
  const StackTrace* frames = stack_of(profile, stack);
  if (frames == nullptr) return nullptr;
  const auto found = std::ranges::find_if_not(*frames, allocates_for_others);
  return found == frames->end() ? &frames->front() : &*found;
}

Table tags_table(const MemoryProfile& profile) {
  Table table({{"tag", Align::kLeft, 31},
               {"at the peak", Align::kRight},
               {"share", Align::kRight},
               {"most ever", Align::kRight},
               {"at the end", Align::kRight}});
  const auto peak = static_cast<double>(profile.peak.live_bytes);
  std::vector<uint64_t> at_end(profile.tags.size(), 0);
  for (const MemoryHolder& holder : profile.at_end) {
    if (holder.tag < at_end.size()) at_end[holder.tag] += holder.bytes;
  }
  std::vector<size_t> order;
  for (size_t tag = 0; tag < profile.tags.size(); ++tag) {
    const bool held = value_at(profile.peak_by_tag, tag) > 0 ||
                      value_at(profile.peak.bytes_by_tag, tag) > 0 || at_end[tag] > 0;
    if (held) order.push_back(tag);
  }
  std::ranges::sort(order, [&](size_t a, size_t b) {
    const uint64_t left = value_at(profile.peak.bytes_by_tag, a);
    const uint64_t right = value_at(profile.peak.bytes_by_tag, b);
    return left != right ? left > right : a < b;
  });
  for (const size_t tag : order) {
    const uint64_t bytes = value_at(profile.peak.bytes_by_tag, tag);
    table.add_row({text_cell(profile.tags[tag]), bytes_cell(bytes),
                   percent_cell(static_cast<double>(bytes), peak),
                   bytes_cell(value_at(profile.peak_by_tag, tag)), bytes_cell(at_end[tag])});
  }
  return table;
}

Table holders_table(const MemoryProfile& profile, const std::vector<MemoryHolder>& holders, uint64_t whole,
                    size_t most) {
  Table table({{"tag", Align::kLeft, 31},
               {"bytes", Align::kRight},
               {"share", Align::kRight},
               {"blocks", Align::kRight},
               {"allocated by", Align::kLeft, kFunctionWidth},
               {"at", Align::kLeft, kPlaceWidth}});
  for (size_t i = 0; i < std::min(holders.size(), most); ++i) {
    const MemoryHolder& holder = holders[i];
    table.add_row({text_cell(tag_name(profile, holder.tag)), bytes_cell(holder.bytes),
                   percent_cell(static_cast<double>(holder.bytes), static_cast<double>(whole)),
                   count_cell(holder.blocks), function_cell(profile, holder.stack),
                   place_cell(profile, holder.stack)});
  }
  return table;
}

Table unfreed_table(const MemoryProfile& profile, size_t most) {
  const bool has_device =
      std::ranges::any_of(profile.unfreed, [](const UnfreedBlock& block) { return !block.device.empty(); });
  std::vector<Column> columns{
      {"address"}, {"size", Align::kRight}, {"age", Align::kRight}, {"tag", Align::kLeft, 31}};
  if (has_device) columns.push_back({"device", Align::kLeft, 12});
  columns.push_back({"thread", Align::kRight});
  columns.push_back({"allocated by", Align::kLeft, kFunctionWidth});
  columns.push_back({"at", Align::kLeft, kPlaceWidth});
  Table table(std::move(columns));
  for (size_t i = 0; i < std::min(profile.unfreed.size(), most); ++i) {
    const UnfreedBlock& block = profile.unfreed[i];
    // A trace numbers its blocks and may not know where they lay.
    const std::string name = block.address == 0 && block.block > 0 ? fmt::format("block {}", block.block)
                                                                   : fmt::format("{:#x}", block.address);
    std::vector<Cell> cells{text_cell(name), bytes_cell(block.bytes),
                            nanoseconds_cell(static_cast<double>(block.age_ns)),
                            text_cell(tag_name(profile, block.tag))};
    if (has_device) cells.push_back(text_cell(block.device));
    cells.push_back({.text = fmt::format("{}", block.thread), .value = block.thread});
    cells.push_back(function_cell(profile, block.stack));
    cells.push_back(place_cell(profile, block.stack));
    table.add_row(std::move(cells));
  }
  return table;
}

Table fragmentation_table(const MemoryProfile& profile) {
  Table table(
      {{"committed memory"}, {"size", Align::kRight}, {"share", Align::kRight}, {"bytes", Align::kRight}});
  if (!profile.fragmentation) return table;
  const MemoryFragmentation& parts = *profile.fragmentation;
  const auto whole = static_cast<double>(parts.committed);
  const auto add = [&](const char* name, uint64_t bytes) {
    table.add_row({text_cell(name), bytes_cell(bytes), percent_cell(static_cast<double>(bytes), whole),
                   count_cell(bytes)});
  };
  add("requested by live blocks", parts.requested);
  add("rounding of live blocks", parts.rounding);
  add("free", parts.free);
  table.add_footer({text_cell("committed"), bytes_cell(parts.committed), percent_cell(whole, whole),
                    count_cell(parts.committed)});
  return table;
}

Table latency_table(const MemoryProfile& profile) {
  Table table({{"call"},
               {"timed", Align::kRight},
               {"mean", Align::kRight},
               {"median", Align::kRight},
               {"99 %", Align::kRight},
               {"slowest", Align::kRight}});
  const auto add = [&table](const char* call, const std::optional<CallLatency>& latency) {
    if (!latency) return;
    table.add_row({text_cell(call), count_cell(latency->timed), nanoseconds_cell(latency->mean_ns),
                   nanoseconds_cell(static_cast<double>(latency->p50_ns)),
                   nanoseconds_cell(static_cast<double>(latency->p99_ns)),
                   nanoseconds_cell(static_cast<double>(latency->max_ns))});
  };
  add("allocate", profile.allocate_latency);
  add("free", profile.free_latency);
  return table;
}

}  // namespace lobit::detail

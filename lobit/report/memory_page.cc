// to_html(MemoryProfile): usage over time, what held the peak and what would lower it, where blocks lay, and
// what was not freed. What the profile knows nothing of has no section.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lobit/base/bytes.h"
#include "lobit/report/html.h"
#include "lobit/report/memory_report.h"
#include "lobit/report/memory_tables.h"
#include "lobit/report/number.h"

namespace lobit {
namespace {

constexpr size_t kMostTagSeries = 10;  // colours that the eye tells apart
constexpr size_t kMostHolders = 50;
constexpr size_t kMostBlocks = 1000;
constexpr size_t kMostArenas = 16;
// Above so many times what was live or committed, a limit would press the chart flat.
constexpr double kFarLimit = 4;
// With bars that differ more, the short ones are only seen on a logarithmic scale.
constexpr double kWideSpread = 200;

double seconds(uint64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1e9;
}

uint64_t bytes_of_tag(const MemoryMoment& moment, size_t tag) {
  return tag < moment.bytes_by_tag.size() ? moment.bytes_by_tag[tag] : 0;
}

// Which series of the charts a tag belongs to: the tags that held most have their own, in one order and
// colour on the whole page; the others share the last.
struct TagSeries {
  std::vector<ChartSeries> series = {};
  std::vector<size_t> of_tag = {};  // series.size() for a tag that never held anything
};

std::vector<size_t> tags_by_size(const MemoryProfile& profile) {
  std::vector<uint64_t> most(profile.tags.size(), 0);
  for (size_t tag = 0; tag < most.size(); ++tag) {
    if (tag < profile.peak_by_tag.size()) most[tag] = profile.peak_by_tag[tag];
    for (const MemoryMoment& moment : profile.timeline) {
      most[tag] = std::max(most[tag], bytes_of_tag(moment, tag));
    }
  }
  std::vector<size_t> order;
  for (size_t tag = 0; tag < most.size(); ++tag) {
    if (most[tag] > 0) order.push_back(tag);
  }
  std::ranges::sort(order,
                    [&most](size_t a, size_t b) { return most[a] != most[b] ? most[a] > most[b] : a < b; });
  return order;
}

TagSeries tag_series(const MemoryProfile& profile) {
  const std::vector<size_t> order = tags_by_size(profile);
  TagSeries out;
  std::vector<std::string> others;
  const size_t own = order.size() <= kMostTagSeries ? order.size() : kMostTagSeries - 1;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i < own) {
      out.series.push_back({.name = profile.tags[order[i]]});
    } else {
      others.push_back(profile.tags[order[i]]);
    }
  }
  if (!others.empty()) {
    out.series.push_back(
        {.name = fmt::format("others: {}", fmt::join(others, ", ")), .values = {}, .muted = true});
  }
  out.of_tag.assign(profile.tags.size(), out.series.size());
  for (size_t i = 0; i < order.size(); ++i) out.of_tag[order[i]] = std::min(i, own);
  return out;
}

// A profile without tags has one area.
std::vector<ChartSeries> areas_of(const MemoryProfile& profile, const TagSeries& tags) {
  std::vector<ChartSeries> areas = tags.series;
  if (areas.empty()) areas.push_back({.name = "live"});
  for (ChartSeries& area : areas) area.values.assign(profile.timeline.size(), 0);
  for (size_t i = 0; i < profile.timeline.size(); ++i) {
    const MemoryMoment& moment = profile.timeline[i];
    if (tags.series.empty()) areas[0].values[i] = static_cast<double>(moment.live_bytes);
    for (size_t tag = 0; tag < tags.of_tag.size(); ++tag) {
      if (tags.of_tag[tag] < tags.series.size()) {
        areas[tags.of_tag[tag]].values[i] += static_cast<double>(bytes_of_tag(moment, tag));
      }
    }
  }
  return areas;
}

AreaChart usage_chart(const MemoryProfile& profile, const TagSeries& tags) {
  AreaChart chart{.title = "Usage over time",
                  .note = tags.series.empty() ? "Live bytes" : "Live bytes, stacked by tag",
                  .end = seconds(profile.duration_ns),
                  .areas = areas_of(profile, tags),
                  .unit = ChartUnit::kBytes};
  uint64_t most = profile.peak.live_bytes;
  ChartSeries committed{.name = "committed"};
  for (const MemoryMoment& moment : profile.timeline) {
    chart.times.push_back(seconds(moment.time_ns));
    committed.values.push_back(moment.committed > 0 ? static_cast<double>(moment.committed)
                                                    : std::numeric_limits<double>::quiet_NaN());
    most = std::max({most, moment.live_bytes, moment.committed});
  }
  const bool knows_committed =
      std::ranges::any_of(profile.timeline, [](const MemoryMoment& m) { return m.committed > 0; });
  if (knows_committed) chart.line = std::move(committed);
  if (profile.limit) {
    const auto limit = static_cast<double>(*profile.limit);
    const std::string label = "limit " + format_bytes(*profile.limit);
    if (limit <= kFarLimit * static_cast<double>(most)) {
      chart.reference = ReferenceLine{.value = limit, .label = label};
    } else {
      chart.note += fmt::format("; the {} lies far above", label);
    }
  }
  if (profile.peak.live_bytes > 0) {
    chart.moment = ReferenceLine{.value = seconds(profile.peak.time_ns),
                                 .label = "peak " + format_bytes(profile.peak.live_bytes)};
  }
  return chart;
}

ArenaChart arena_chart(const MemoryProfile& profile, const ArenaMap& arena, const TagSeries& tags,
                       size_t number) {
  ArenaChart chart{.title = profile.arenas.size() == 1 ? "Arena map" : fmt::format("Arena map {}", number),
                   .note = fmt::format("Addresses from {:#x} upwards, over time. The colour is the tag that "
                                       "holds most of a square, paler where less of it is live",
                                       arena.first_address),
                   .rows = arena.rows,
                   .columns = arena.columns,
                   .row_bytes = arena.row_bytes,
                   .column_seconds = seconds(arena.column_ns),
                   .holders = tags.series,
                   .shares = arena.live};
  for (const uint8_t tag : arena.tag) {
    const size_t series = tag < tags.of_tag.size() ? tags.of_tag[tag] : tags.series.size();
    chart.holder.push_back(static_cast<uint8_t>(series));
  }
  for (const ArenaMap::Gap& gap : arena.gaps) chart.gaps.push_back({gap.row, gap.bytes});
  return chart;
}

// Bars for powers of two, from the first to the last that something was counted for.
BarChart power_chart(const std::array<uint64_t, 65>& counts, std::string title, std::string note,
                     std::string axis, std::string (*label)(double)) {
  BarChart chart{.title = std::move(title),
                 .note = std::move(note),
                 .series = {{.name = "blocks"}},
                 .direction = BarChart::Direction::kVertical,
                 .category_title = std::move(axis)};
  const auto counted = [](uint64_t count) { return count > 0; };
  const auto first = std::ranges::find_if(counts, counted);
  const auto last = std::find_if(counts.rbegin(), counts.rend(), counted).base();
  if (first == counts.end()) return chart;
  uint64_t least = UINT64_MAX;
  uint64_t most = 0;
  for (auto count = first; count != last; ++count) {
    chart.categories.push_back(label(std::ldexp(1.0, static_cast<int>(count - counts.begin()))));
    chart.series[0].values.push_back(static_cast<double>(*count));
    if (*count > 0) least = std::min(least, *count);
    most = std::max(most, *count);
  }
  if (static_cast<double>(most) > kWideSpread * static_cast<double>(least)) {
    chart.scale = ChartScale::kLog;
    chart.note += "; logarithmic scale";
  }
  return chart;
}

BarChart fragmentation_chart(const MemoryFragmentation& parts) {
  BarChart chart{.title = "What committed memory is used for",
                 .note = fmt::format("{} requested + {} rounding + {} free = {} committed",
                                     format_bytes(parts.requested), format_bytes(parts.rounding),
                                     format_bytes(parts.free), format_bytes(parts.committed)),
                 .categories = {"committed"},
                 .arrangement = BarChart::Arrangement::kStacked,
                 .unit = ChartUnit::kBytes};
  const auto add = [&chart](const char* name, uint64_t bytes, bool muted) {
    chart.series.push_back({.name = name, .values = {static_cast<double>(bytes)}, .muted = muted});
  };
  add("requested", parts.requested, false);
  add("rounding", parts.rounding, false);
  add("free", parts.free, true);
  return chart;
}

std::vector<Card> cards_of(const MemoryProfile& profile) {
  const auto peak = static_cast<double>(profile.peak.live_bytes);
  std::string peak_note = "at " + format_nanoseconds(static_cast<double>(profile.peak.time_ns));
  if (profile.limit) {
    peak_note += fmt::format(", {} of the limit", format_percent(peak, static_cast<double>(*profile.limit)));
  }
  std::vector<Card> cards{{"Peak", format_bytes(profile.peak.live_bytes), peak > 0 ? peak_note : ""}};
  if (profile.peak_committed > 0) {
    cards.push_back({"Committed", format_bytes(profile.peak_committed),
                     profile.limit ? "at most; limit " + format_bytes(*profile.limit) : "at most"});
  }
  const std::string share = format_percent(static_cast<double>(profile.live_bytes), peak);
  cards.push_back(
      {"Live at the end", format_bytes(profile.live_bytes), peak > 0 ? share + " of the peak" : ""});
  cards.push_back({"Unfreed", format_count(profile.live_blocks),
                   fmt::format("of {}", format_counted(profile.allocations, "block"))});
  cards.push_back({"Refused", format_count(profile.refused), "allocations that failed"});
  const auto rate = detail::per_second(profile.allocations, profile.duration_ns);
  cards.push_back({"Duration", format_nanoseconds(static_cast<double>(profile.duration_ns)),
                   rate ? *rate + " allocations a second" : ""});
  return cards;
}

void add_peak(HtmlPage& page, const MemoryProfile& profile) {
  if (profile.at_peak.empty() && profile.advice.empty()) return;
  page.add_section("The peak");
  if (!profile.advice.empty()) {
    Table table({{"saves", Align::kRight}, {"what would lower the peak"}});
    for (const PeakAdvice& advice : profile.advice) {
      table.add_row({bytes_cell(advice.bytes), text_cell(advice.text)});
    }
    page.add_table("What would lower the peak", table);
  }
  if (!profile.at_peak.empty()) {
    page.add_table("Holders at the peak",
                   detail::holders_table(profile, profile.at_peak, profile.peak.live_bytes, kMostHolders));
  }
}

void add_arenas(HtmlPage& page, const MemoryProfile& profile, const TagSeries& tags) {
  if (profile.arenas.empty()) return;
  page.add_section("Addresses");
  for (size_t i = 0; i < std::min(profile.arenas.size(), kMostArenas); ++i) {
    page.add_chart(arena_chart(profile, profile.arenas[i], tags, i + 1));
  }
  if (profile.arenas.size() > kMostArenas) {
    page.add_paragraph(fmt::format("The first {} of {} arenas. The data embedded in this page has all.",
                                   kMostArenas, format_count(profile.arenas.size())));
  }
}

void add_fragmentation(HtmlPage& page, const MemoryProfile& profile) {
  if (!profile.fragmentation) return;
  const MemoryFragmentation& parts = *profile.fragmentation;
  page.add_section("Fragmentation");
  page.add_chart(fragmentation_chart(parts));
  page.add_table("Committed memory at the end", detail::fragmentation_table(profile));
  if (parts.free > 0 && parts.free_pieces > 0) {
    page.add_paragraph(
        fmt::format("The free memory lies in {}, of which the largest has {}: {} of it cannot "
                    "hold a block of that size.",
                    format_counted(parts.free_pieces, "piece"), format_bytes(parts.largest_free),
                    format_percent(parts.unusable(), 1)));
  }
}

void add_blocks(HtmlPage& page, const MemoryProfile& profile) {
  const BarChart sizes =
      power_chart(profile.sizes, "Allocations by size", "Each bar counts sizes up to its label", "size",
                  [](double bytes) { return format_chart_value(ChartUnit::kBytes, bytes); });
  const BarChart lifetimes =
      power_chart(profile.lifetimes, "Freed blocks by lifetime", "Each bar counts lifetimes up to its label",
                  "lifetime", format_nanoseconds);
  if (sizes.categories.empty() && lifetimes.categories.empty()) return;
  page.add_section("Blocks");
  if (!sizes.categories.empty()) page.add_chart(sizes);
  if (!lifetimes.categories.empty()) page.add_chart(lifetimes);
}

void add_patterns(HtmlPage& page, const MemoryProfile& profile) {
  if (profile.patterns.empty()) return;
  page.add_section("Patterns");
  Table table({{"bytes", Align::kRight},
               {"pattern"},
               {"tag"},
               {"blocks", Align::kRight},
               {"what was seen"},
               {"at"},
               {"what to do"}});
  for (const MemoryPattern& pattern : profile.patterns) {
    const StackFrame* frame = detail::caller(profile, pattern.stack);
    table.add_row({bytes_cell(pattern.bytes), text_cell(std::string(detail::pattern_name(pattern.kind))),
                   text_cell(detail::tag_name(profile, pattern.tag)), count_cell(pattern.blocks),
                   text_cell(pattern.text),
                   text_cell(frame == nullptr ? std::string() : detail::place_text(*frame)),
                   text_cell(pattern.advice)});
  }
  page.add_table("Patterns and what to do about them", table);
}

void add_unfreed(HtmlPage& page, const MemoryProfile& profile) {
  if (profile.at_end.empty() && profile.unfreed.empty()) return;
  page.add_section("Not freed");
  if (!profile.at_end.empty()) {
    page.add_table("Holders at the end",
                   detail::holders_table(profile, profile.at_end, profile.live_bytes, kMostHolders));
  }
  if (!profile.unfreed.empty()) {
    page.add_table("Unfreed blocks", detail::unfreed_table(profile, kMostBlocks));
  }
  if (profile.unfreed.size() > kMostBlocks) {
    page.add_paragraph(fmt::format("The largest {} of {} blocks. The data embedded in this page has all.",
                                   format_count(kMostBlocks), format_count(profile.unfreed.size())));
  }
}

std::vector<Fact> facts_of(const MemoryProfile& profile) {
  std::vector<Fact> facts{{"Allocations", detail::allocations_text(profile)},
                          {"Freed", detail::frees_text(profile)}};
  if (profile.frees > 0) {
    facts.push_back({"Mean lifetime of freed blocks", format_nanoseconds(profile.mean_lifetime_ns)});
  }
  if (profile.threads > 0) facts.push_back({"Threads", format_count(profile.threads)});
  if (profile.trims > 0) {
    facts.push_back({"Trims", fmt::format("{}, which gave back {}", format_count(profile.trims),
                                          format_bytes(profile.trimmed_bytes))});
  }
  return facts;
}

}  // namespace

std::string to_html(const MemoryProfile& profile) {
  HtmlPage page("Memory report", profile.name);
  page.add_cards(cards_of(profile));
  if (profile.is_estimate) {
    page.add_paragraph("Holders and unfreed blocks are estimated from those that were sampled.");
  }
  const TagSeries tags = tag_series(profile);
  const Table tag_totals = detail::tags_table(profile);
  if (!profile.timeline.empty() || !tag_totals.rows().empty()) page.add_section("Usage");
  if (!profile.timeline.empty()) page.add_chart(usage_chart(profile, tags));
  if (!tag_totals.rows().empty()) page.add_table("Bytes by tag", tag_totals);
  add_peak(page, profile);
  add_patterns(page, profile);
  add_arenas(page, profile, tags);
  add_fragmentation(page, profile);
  add_blocks(page, profile);
  add_unfreed(page, profile);
  page.add_section("Run");
  page.add_facts(facts_of(profile));
  if (const Table calls = detail::latency_table(profile); !calls.rows().empty()) {
    page.add_table("Time of calls", calls);
  }
  page.set_data(to_json(profile));
  return page.to_string();
}

}  // namespace lobit

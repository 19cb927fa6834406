#include "lobit/memory/cleanup_report.h"

#include <algorithm>
#include <utility>

namespace lobit {

void CleanupReport::add(TargetCleanup cleaned) {
  bytes_freed += cleaned.bytes_freed;
  blocks_moved += cleaned.blocks_moved;
  duration += cleaned.duration;
  finished = finished && cleaned.finished;
  targets.push_back(std::move(cleaned));
}

void CleanupStatistics::add(const CleanupReport& report) {
  failures += report.error.empty() ? 0 : 1;
  for (const TargetCleanup& cleaned : report.targets) failures += cleaned.error.empty() ? 0 : 1;
  if (report.targets.empty()) return;
  ++runs;
  bytes_freed += report.bytes_freed;
  blocks_moved += report.blocks_moved;
  unfinished += report.finished ? 0 : 1;
  duration += report.duration;
  auto of = std::ranges::find(strategies, report.strategy, &OfStrategy::strategy);
  if (of == strategies.end()) of = strategies.insert(of, {.strategy = report.strategy});
  ++of->runs;
  of->bytes_freed += report.bytes_freed;
  of->blocks_moved += report.blocks_moved;
}

}  // namespace lobit

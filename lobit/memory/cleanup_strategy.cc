#include "lobit/memory/cleanup_strategy.h"

#include <array>

#include <fmt/format.h>

namespace lobit {
namespace {

bool is_pressed(const CleanupState& state) {
  const CleanupPolicy& policy = state.policy;
  return state.changed && (state.level >= policy.pressure_level || state.fill() >= policy.pressure_threshold);
}

bool is_idle(const CleanupState& state) {
  const std::chrono::nanoseconds interval = state.policy.idle_interval;
  return interval > interval.zero() && state.changed && state.idle >= interval;
}

bool is_its_time(const CleanupState& state) {
  const std::chrono::nanoseconds period = state.policy.period;
  return period > period.zero() && state.since_cleanup >= period;
}

bool own_policy_wants(const CleanupState& state) {
  return state.policy_is_own && (is_pressed(state) || is_idle(state) || is_its_time(state));
}

template <bool (*kWants)(const CleanupState&)>
bool common_policy_wants(const CleanupState& state) {
  return !state.policy_is_own && kWants(state);
}

}  // namespace

std::span<const CleanupStrategy> builtin_cleanup_strategies() {
  static const std::array<CleanupStrategy, 4> kStrategies = {{
      {"pressure", common_policy_wants<is_pressed>},
      {"device", own_policy_wants},
      {"idle", common_policy_wants<is_idle>},
      {"periodic", common_policy_wants<is_its_time>},
  }};
  return kStrategies;
}

Status check_policy(const CleanupPolicy& policy) {
  if (!(policy.pressure_threshold > 0)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("cleanup policy: pressure_threshold {}, expected more than 0",
                            policy.pressure_threshold));
  }
  for (const auto& [name, time] :
       {std::pair("idle_interval", policy.idle_interval), std::pair("period", policy.period)}) {
    if (time < time.zero()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("cleanup policy: {} of {} ns, expected 0 or more", name, time.count()));
    }
  }
  return {};
}

}  // namespace lobit

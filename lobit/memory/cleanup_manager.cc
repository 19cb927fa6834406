#include "lobit/memory/cleanup_manager.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "lobit/memory/cleanup_target_internal.h"
#include "lobit/memory/maintenance_thread.h"

namespace lobit {

using detail::CleanupAction;
using detail::CleanupOrder;
using detail::CleanupTarget;

CleanupOptions minimal_cleanup() {
  CleanupOptions options;
  options.policy.idle_interval = options.policy.idle_interval.zero();
  options.max_cleanup_time = std::chrono::milliseconds(10);
  options.compaction = Compaction::kOff;
  return options;
}

CleanupOptions aggressive_cleanup() {
  CleanupOptions options;
  options.policy = {.idle_interval = std::chrono::seconds(5),
                    .pressure_threshold = 0.6,
                    .pressure_level = MemoryPressureLevel::kMedium};
  options.max_cleanup_time = std::chrono::milliseconds(500);
  return options;
}

// `mutex_` guards all but what targets remember: that belongs to the thread in whose turn it is.
class CleanupManager::State final : public detail::MaintenanceTask {
 public:
  using Wanted = std::function<bool(const CleanupTarget&)>;

  State(const CleanupOptions& options, TimeBudget::Clock clock)
      : MaintenanceTask(options.check_interval), options_(options), clock_(clock) {}
  ~State();

  Status start(detail::MaintenanceThread& thread);
  Status add(CleanupTarget target);
  Status remove(std::string_view name);
  bool has(std::string_view name) const;
  Status register_strategy(CleanupStrategy strategy);
  void set_device_policy(Device device, const CleanupPolicy& policy);
  void set_pressure_source(std::function<MemoryPressureLevel()> source);

  CleanupReport run(std::string strategy, CleanupAction action, const Wanted& wanted);
  std::vector<CleanupReport> clean_due();

  CleanupAction usual_action() const {
    return options_.compaction == Compaction::kOn ? CleanupAction::kMoveAndGive : CleanupAction::kGive;
  }
  CleanupStatistics statistics() const {
    const std::lock_guard lock(mutex_);
    return statistics_;
  }
  std::vector<CleanupReport> history() const {
    const std::lock_guard lock(mutex_);
    return {history_.begin(), history_.end()};
  }
  const CleanupOptions& options() const { return options_; }

 private:
  using Targets = std::vector<std::shared_ptr<CleanupTarget>>;

  // One thread's run, from the moment when no other has one.
  class Turn {
   public:
    explicit Turn(State& state);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    bool is_nested() const { return nested_; }  // the thread is in a run already

   private:
    State& state_;
    bool nested_;
  };
  // A target that is worked on, so that nobody removes it.
  class Work {
   public:
    Work(State& state, const CleanupTarget& target);
    ~Work();
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    bool is_removed() const { return removed_; }

   private:
    State& state_;
    bool removed_;
  };
  // What strategies are asked with, the same for all targets of a check.
  struct Check {
    std::vector<CleanupStrategy> strategies;
    std::vector<std::pair<Device, CleanupPolicy>> policies;
    MemoryPressureLevel level = MemoryPressureLevel::kNone;
    std::vector<CleanupReport> reports = {};  // by strategy

    CleanupReport& report(const std::string& strategy);
    std::string wanted_by(const CleanupState& state);
  };

  detail::NextTurn take_turn() override;
  Targets targets() const;
  Check begin_check();
  CleanupState look(CleanupTarget& target, const Check& check) const;
  TargetCleanup clean_one(CleanupTarget& target, CleanupAction action, const TimeBudget& budget, bool first);
  void note(const CleanupReport& report);
  static CleanupReport refusal(std::string strategy);

  const CleanupOptions options_;
  const TimeBudget::Clock clock_;
  detail::MaintenanceThread* of_schedule_ = nullptr;  // where there is one

  mutable std::mutex mutex_;  // never held while a target, a strategy or a function works
  std::condition_variable work_over_;
  std::thread::id runner_;
  const CleanupTarget* in_work_ = nullptr;
  Targets targets_;                          // in the order in which they are cleaned
  std::vector<CleanupStrategy> strategies_;  // the user's
  std::vector<std::pair<Device, CleanupPolicy>> policies_;
  std::function<MemoryPressureLevel()> pressure_source_;
  CleanupStatistics statistics_;
  std::deque<CleanupReport> history_;
};

// ---- Turns.

CleanupManager::State::Turn::Turn(State& state) : state_(state) {
  std::unique_lock lock(state.mutex_);
  nested_ = state.runner_ == std::this_thread::get_id();
  if (nested_) return;
  state.work_over_.wait(lock, [&] { return state.runner_ == std::thread::id(); });
  state.runner_ = std::this_thread::get_id();
}

CleanupManager::State::Turn::~Turn() {
  if (nested_) return;
  const std::lock_guard lock(state_.mutex_);
  state_.runner_ = {};
  state_.work_over_.notify_all();
}

CleanupManager::State::Work::Work(State& state, const CleanupTarget& target) : state_(state) {
  const std::lock_guard lock(state.mutex_);
  removed_ = target.removed;
  if (!removed_) state.in_work_ = &target;
}

CleanupManager::State::Work::~Work() {
  const std::lock_guard lock(state_.mutex_);
  state_.in_work_ = nullptr;
  state_.work_over_.notify_all();
}

Status CleanupManager::State::start(detail::MaintenanceThread& thread) {
  LOBIT_RETURN_IF_ERROR(thread.add(*this));
  of_schedule_ = &thread;
  return {};
}

CleanupManager::State::~State() {
  if (of_schedule_ != nullptr) of_schedule_->remove(*this);
}

// The thread sleeps while there is nothing to look at.
detail::NextTurn CleanupManager::State::take_turn() {
  try {
    clean_due();
  } catch (const std::bad_alloc&) {  // of a report: the next turn may have more luck
    return detail::NextTurn::kAfterPeriod;
  }
  const std::lock_guard lock(mutex_);
  return targets_.empty() ? detail::NextTurn::kWhenStirred : detail::NextTurn::kAfterPeriod;
}

// ---- What there is.

Status CleanupManager::State::add(CleanupTarget target) {
  target.cleaned_at = target.busy_at = clock_();
  detail::look_at(target, target.busy_at);
  auto added = std::make_shared<CleanupTarget>(std::move(target));
  {
    const std::lock_guard lock(mutex_);
    for (const auto& known : targets_) {
      if (known->name == added->name) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("cleanup: there is a target \"{}\" already", added->name));
      }
    }
    const auto behind =
        std::ranges::upper_bound(targets_, added->order, {}, [](const auto& known) { return known->order; });
    targets_.insert(behind, std::move(added));
  }
  stir();
  return {};
}

Status CleanupManager::State::remove(std::string_view name) {
  std::unique_lock lock(mutex_);
  const auto found = std::ranges::find_if(targets_, [&](const auto& target) { return target->name == name; });
  if (found == targets_.end()) {
    return fail(ErrorCode::kNotFound, fmt::format("cleanup: there is no target \"{}\"", name));
  }
  const std::shared_ptr<CleanupTarget> target = std::move(*found);
  target->removed = true;
  targets_.erase(found);
  if (runner_ == std::this_thread::get_id()) return {};
  work_over_.wait(lock, [&] { return in_work_ != target.get(); });
  return {};
}

bool CleanupManager::State::has(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(targets_, [&](const auto& target) { return target->name == name; });
}

Status CleanupManager::State::register_strategy(CleanupStrategy strategy) {
  const auto is_same = [&](const CleanupStrategy& known) { return known.name == strategy.name; };
  const std::lock_guard lock(mutex_);
  if (!strategy.should_clean) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("cleanup: strategy \"{}\": there is no function", strategy.name));
  }
  if (std::ranges::any_of(builtin_cleanup_strategies(), is_same) ||
      std::ranges::any_of(strategies_, is_same)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("cleanup: there is a strategy \"{}\" already", strategy.name));
  }
  strategies_.push_back(std::move(strategy));
  return {};
}

void CleanupManager::State::set_device_policy(Device device, const CleanupPolicy& policy) {
  const std::lock_guard lock(mutex_);
  std::erase_if(policies_, [&](const auto& known) { return known.first == device; });
  policies_.emplace_back(device, policy);
}

void CleanupManager::State::set_pressure_source(std::function<MemoryPressureLevel()> source) {
  const std::lock_guard lock(mutex_);
  pressure_source_ = std::move(source);
}

CleanupManager::State::Targets CleanupManager::State::targets() const {
  const std::lock_guard lock(mutex_);
  return targets_;
}

// ---- Runs.

CleanupReport CleanupManager::State::run(std::string strategy, CleanupAction action, const Wanted& wanted) {
  const Turn turn(*this);
  if (turn.is_nested()) return refusal(std::move(strategy));
  const TimeBudget budget(options_.max_cleanup_time, clock_);
  CleanupReport report{.strategy = std::move(strategy)};
  for (const auto& target : targets()) {
    const Work work(*this, *target);
    if (work.is_removed() || !wanted(*target)) continue;
    report.add(clean_one(*target, action, budget, report.targets.empty()));
  }
  note(report);
  return report;
}

std::vector<CleanupReport> CleanupManager::State::clean_due() {
  const Turn turn(*this);
  if (turn.is_nested()) return {refusal("check")};
  Check check = begin_check();
  const TimeBudget budget(options_.max_cleanup_time, clock_);
  using Due = std::vector<std::pair<std::shared_ptr<CleanupTarget>, std::string>>;
  Due due;  // what waits since the last check, then what a strategy wants
  Due wanted;
  for (const auto& target : targets()) {
    const Work work(*this, *target);
    if (work.is_removed()) continue;
    const CleanupState state = look(*target, check);
    if (!target->unfinished.empty()) {
      due.emplace_back(target, target->unfinished);
    } else if (std::string strategy = check.wanted_by(state); !strategy.empty()) {
      wanted.emplace_back(target, std::move(strategy));
    }
  }
  due.insert(due.end(), wanted.begin(), wanted.end());
  bool first = true;
  for (const auto& [target, strategy] : due) {
    const Work work(*this, *target);
    if (work.is_removed()) continue;
    TargetCleanup cleaned = clean_one(*target, usual_action(), budget, first);
    first = false;
    target->unfinished = cleaned.finished ? std::string() : strategy;
    check.report(strategy).add(std::move(cleaned));
  }
  for (const CleanupReport& report : check.reports) note(report);
  return std::move(check.reports);
}

CleanupManager::State::Check CleanupManager::State::begin_check() {
  Check check;
  std::function<MemoryPressureLevel()> source;
  {
    const std::lock_guard lock(mutex_);
    const auto builtin = builtin_cleanup_strategies();
    check.strategies.assign(builtin.begin(), builtin.end());
    check.strategies.insert(check.strategies.end(), strategies_.begin(), strategies_.end());
    check.policies = policies_;
    source = pressure_source_;
  }
  try {
    if (source) check.level = source();
  } catch (...) {
    check.report("pressure").error = detail::current_exception_text();
  }
  return check;
}

CleanupReport& CleanupManager::State::Check::report(const std::string& strategy) {
  for (CleanupReport& report : reports) {
    if (report.strategy == strategy) return report;
  }
  return reports.emplace_back(CleanupReport{.strategy = strategy});
}

std::string CleanupManager::State::Check::wanted_by(const CleanupState& state) {
  for (const CleanupStrategy& strategy : strategies) {
    try {
      if (strategy.should_clean(state)) return strategy.name;
    } catch (...) {
      report(strategy.name).error = detail::current_exception_text();
    }
  }
  return {};
}

CleanupState CleanupManager::State::look(CleanupTarget& target, const Check& check) const {
  const uint64_t now = clock_();
  const detail::CleanupUse use = detail::look_at(target, now);
  CleanupState state{.target = target.name,
                     .device = target.device,
                     .committed = use.committed,
                     .live = use.live,
                     .limit = target.limit,
                     .changed = target.changed,
                     .idle = std::chrono::nanoseconds(now - target.busy_at),
                     .since_cleanup = std::chrono::nanoseconds(now - target.cleaned_at),
                     .level = check.level,
                     .policy = options_.policy};
  for (const auto& [device, policy] : check.policies) {
    if (device != target.device) continue;
    state.policy = policy;
    state.policy_is_own = true;
  }
  return state;
}

// The first target of a run is cleaned in any case, so that each run gets somewhere.
TargetCleanup CleanupManager::State::clean_one(CleanupTarget& target, CleanupAction action,
                                               const TimeBudget& budget, bool first) {
  if (first || !budget.is_spent()) return detail::clean(target, action, budget, clock_);
  return {.target = target.name, .device = target.device, .finished = false};
}

CleanupReport CleanupManager::State::refusal(std::string strategy) {
  return {.strategy = std::move(strategy),
          .finished = false,
          .error = "asked for by a function that a cleanup is calling"};
}

void CleanupManager::State::note(const CleanupReport& report) {
  if (report.targets.empty() && report.error.empty()) return;
  const std::lock_guard lock(mutex_);
  history_.push_back(report);
  if (history_.size() > kHistory) history_.pop_front();
  statistics_.add(report);
}

// ---- The manager.

CleanupManager::CleanupManager(std::unique_ptr<State> state) : state_(std::move(state)) {}
CleanupManager::~CleanupManager() = default;

Result<std::unique_ptr<CleanupManager>> CleanupManager::create(const CleanupOptions& options,
                                                               TimeBudget::Clock clock,
                                                               detail::MaintenanceThread* thread) {
  LOBIT_RETURN_IF_ERROR(check_policy(options.policy));
  if (options.check_interval <= options.check_interval.zero()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("cleanup options: check_interval of {} ns, expected more than 0",
                            options.check_interval.count()));
  }
  auto state = std::make_unique<State>(options, clock);
  if (options.schedule == CleanupSchedule::kOn) {
    LOBIT_RETURN_IF_ERROR(
        state->start(thread != nullptr ? *thread : detail::MaintenanceThread::of_process()));
  }
  return std::unique_ptr<CleanupManager>(new CleanupManager(std::move(state)));
}

Status CleanupManager::add(std::string name, MemoryResource& resource, uint64_t limit) {
  return state_->add(detail::make_target(std::move(name), resource, limit));
}

Status CleanupManager::add(std::string name, HybridMemoryPool& pool) {
  return state_->add(detail::make_target(std::move(name), pool, pool.options().limit));
}

Status CleanupManager::add(std::string name, TensorMemoryPool& pool) {
  return state_->add(detail::make_target(std::move(name), pool));
}

Status CleanupManager::add(std::string name, MovableBlockPool& pool) {
  return state_->add(detail::make_target(std::move(name), pool));
}

Status CleanupManager::add(std::string name, Device device, Function function) {
  if (!function) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("cleanup: target \"{}\": there is no function", name));
  }
  return state_->add(detail::make_target(std::move(name), device, std::move(function)));
}

Status CleanupManager::remove(std::string_view name) {
  return state_->remove(name);
}

Status CleanupManager::register_strategy(CleanupStrategy strategy) {
  return state_->register_strategy(std::move(strategy));
}

Status CleanupManager::set_device_policy(Device device, const CleanupPolicy& policy) {
  LOBIT_RETURN_IF_ERROR(check_policy(policy));
  state_->set_device_policy(device, policy);
  return {};
}

void CleanupManager::set_pressure_source(std::function<MemoryPressureLevel()> source) {
  state_->set_pressure_source(std::move(source));
}

CleanupReport CleanupManager::force_cleanup() {
  return state_->run("forced", state_->usual_action(), [](const CleanupTarget&) { return true; });
}

CleanupReport CleanupManager::cleanup_device(Device device) {
  return state_->run("forced", state_->usual_action(),
                     [device](const CleanupTarget& target) { return target.device == device; });
}

Result<CleanupReport> CleanupManager::cleanup(std::string_view name) {
  if (!state_->has(name)) {
    return fail(ErrorCode::kNotFound, fmt::format("cleanup: there is no target \"{}\"", name));
  }
  return state_->run("forced", state_->usual_action(),
                     [name](const CleanupTarget& target) { return target.name == name; });
}

CleanupReport CleanupManager::compact() {
  return state_->run("compaction", CleanupAction::kMoveAndGive,
                     [](const CleanupTarget& target) { return target.order == CleanupOrder::kMovable; });
}

std::vector<CleanupReport> CleanupManager::clean_due() {
  return state_->clean_due();
}

CleanupStatistics CleanupManager::statistics() const {
  return state_->statistics();
}

std::vector<CleanupReport> CleanupManager::history() const {
  return state_->history();
}

const CleanupOptions& CleanupManager::options() const {
  return state_->options();
}

}  // namespace lobit

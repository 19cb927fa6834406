#include "lobit/memory/cleanup_manager.h"

#include <atomic>
#include <stdexcept>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/system_resource.h"
#include "lobit/memory/test_maintenance_clock.h"

namespace lobit {
namespace {

using namespace std::chrono_literals;

constexpr size_t kMiB = size_t{1} << 20;

// The time of the manager under test, which stands still until a test says so.
std::atomic<uint64_t> now_ns{0};
uint64_t test_clock() {
  return now_ns;
}
void pass(std::chrono::nanoseconds time) {
  now_ns += static_cast<uint64_t>(time.count());
}

std::unique_ptr<HybridMemoryPool> make_pool(uint64_t limit = kNoLimit) {
  return HybridMemoryPool::create({.limit = limit, .idle_trim = 0ms}).value();
}

std::unique_ptr<CleanupManager> make_manager(CleanupOptions options = {}) {
  options.schedule = CleanupSchedule::kOff;
  return CleanupManager::create(options, test_clock).value();
}

void use_and_free(MemoryResource& pool, size_t bytes) {
  void* const block = pool.allocate(bytes).value();
  ASSERT_THAT(pool.deallocate(block, bytes), is_ok());
}

// The one report of a check, or an empty one.
CleanupReport check(CleanupManager& manager) {
  const std::vector<CleanupReport> reports = manager.clean_due();
  EXPECT_LE(reports.size(), 1u);
  return reports.empty() ? CleanupReport() : reports.front();
}

TEST(CleanupManager, FreesWhatItSaysAndLeavesWhatLives) {
  const auto pool = make_pool();
  CheckedBlocks blocks(*pool);
  Random random(2);
  for (int i = 0; i < 100; ++i) blocks.add(random.size(2 * kMiB));
  for (int i = 0; i < 60; ++i) blocks.free_random(random);
  const auto manager = make_manager();
  ASSERT_THAT(manager->add("pool", *pool), is_ok());
  const uint64_t before = pool->usage().committed;
  const CleanupReport report = manager->force_cleanup();
  const uint64_t after = pool->usage().committed;
  EXPECT_GT(report.bytes_freed, 0u);
  EXPECT_EQ(report.bytes_freed, before - after);
  EXPECT_EQ(report.strategy, "forced");
  EXPECT_TRUE(report.finished);
  ASSERT_EQ(report.targets.size(), 1u);
  EXPECT_EQ(report.targets[0].target, "pool");
  EXPECT_EQ(report.targets[0].device, Device());
  EXPECT_EQ(report.targets[0].committed_before, before);
  EXPECT_EQ(report.targets[0].committed_after, after);
  blocks.expect_contents();
  EXPECT_EQ(manager->force_cleanup().bytes_freed, 0u);
}

TEST(CleanupManager, CleansATargetThatWasIdleOnce) {
  const auto pool = make_pool();
  const auto manager = make_manager();
  ASSERT_THAT(manager->add("pool", *pool), is_ok());
  use_and_free(*pool, 8 * kMiB);
  EXPECT_TRUE(check(*manager).targets.empty());  // sees that it was used
  pass(29s);
  EXPECT_TRUE(check(*manager).targets.empty());
  use_and_free(*pool, 8 * kMiB);
  pass(2s);
  EXPECT_TRUE(check(*manager).targets.empty());
  pass(30s);
  const CleanupReport report = check(*manager);
  EXPECT_EQ(report.strategy, "idle");
  EXPECT_EQ(report.bytes_freed, 8 * kMiB);
  pass(1h);
  EXPECT_TRUE(check(*manager).targets.empty()) << "nothing happened since";
}

TEST(CleanupManager, CleansATargetNearItsLimit) {
  const auto pool = make_pool(100 * kMiB);
  const auto manager = make_manager();
  ASSERT_THAT(manager->add("pool", *pool), is_ok());
  use_and_free(*pool, 88 * kMiB);
  EXPECT_TRUE(check(*manager).targets.empty());
  use_and_free(*pool, 90 * kMiB);
  const CleanupReport report = check(*manager);
  EXPECT_EQ(report.strategy, "pressure");
  EXPECT_EQ(report.bytes_freed, 90 * kMiB);
}

TEST(CleanupManager, CleansUnderPressureWithoutALimit) {
  const auto pool = make_pool();
  const auto manager = make_manager();
  ASSERT_THAT(manager->add("pool", *pool), is_ok());
  use_and_free(*pool, 8 * kMiB);
  MemoryPressureLevel level = MemoryPressureLevel::kMedium;
  manager->set_pressure_source([&] { return level; });
  EXPECT_TRUE(check(*manager).targets.empty());
  level = MemoryPressureLevel::kHigh;
  EXPECT_EQ(check(*manager).bytes_freed, 8 * kMiB);
  EXPECT_TRUE(check(*manager).targets.empty()) << "there is nothing more to get";
  manager->set_pressure_source([]() -> MemoryPressureLevel { throw std::runtime_error("no level"); });
  EXPECT_EQ(check(*manager).error, "no level");
}

TEST(CleanupManager, CleansFromTimeToTimeWhereThatIsWanted) {
  for (const bool wanted : {true, false}) {
    const auto pool = make_pool();
    const auto manager = make_manager({.policy = {.period = wanted ? 10s : 0s}});
    ASSERT_THAT(manager->add("pool", *pool), is_ok());
    for (int i = 0; i < 3; ++i) {
      use_and_free(*pool, 8 * kMiB);
      pass(9s);
      EXPECT_TRUE(check(*manager).targets.empty());
      pass(1s);
      const CleanupReport report = check(*manager);
      EXPECT_EQ(report.strategy, wanted ? "periodic" : "");
      EXPECT_EQ(report.bytes_freed, wanted ? 8 * kMiB : 0);
    }
  }
}

TEST(CleanupManager, FollowsThePolicyOfADevice) {
  const auto pool = make_pool();
  const auto manager = make_manager();
  ASSERT_THAT(manager->add("pool", *pool), is_ok());
  int calls = 0;
  ASSERT_THAT(manager->add("card", {DeviceKind::kCuda, 1},
                           [&](auto) {
                             ++calls;
                             return size_t{5};
                           }),
              is_ok());
  use_and_free(*pool, 8 * kMiB);
  ASSERT_THAT(manager->set_device_policy({}, {.idle_interval = 5s}), is_ok());
  check(*manager);
  pass(5s);
  const CleanupReport of_cpu = check(*manager);
  EXPECT_EQ(of_cpu.strategy, "device");
  EXPECT_EQ(of_cpu.bytes_freed, 8 * kMiB);
  EXPECT_EQ(of_cpu.targets.size(), 1u);
  ASSERT_THAT(manager->set_device_policy({DeviceKind::kCuda, 1}, {.period = 1s}), is_ok());
  pass(1s);
  const CleanupReport of_card = check(*manager);
  EXPECT_EQ(of_card.bytes_freed, 5u);
  EXPECT_EQ(of_card.targets.at(0).target, "card");
  EXPECT_EQ(calls, 1);
}

TEST(CleanupManager, AsksTheUsersOwnStrategy) {
  const auto pool = make_pool();
  const auto manager = make_manager();
  ASSERT_THAT(manager->add("pool", *pool, 640 * kMiB), is_ok());
  CleanupState seen;
  ASSERT_THAT(manager->register_strategy({"half free",
                                          [&](const CleanupState& state) {
                                            seen = state;
                                            return state.committed >= 2 * state.live + 1;
                                          }}),
              is_ok());
  void* const block = pool->allocate(64 * kMiB).value();
  EXPECT_TRUE(check(*manager).targets.empty());
  EXPECT_EQ(seen.live, 64 * kMiB);
  EXPECT_EQ(seen.committed, 64 * kMiB);
  EXPECT_DOUBLE_EQ(seen.fill(), 0.1);
  ASSERT_THAT(pool->deallocate(block, 64 * kMiB), is_ok());
  const CleanupReport report = check(*manager);
  EXPECT_EQ(report.strategy, "half free");
  EXPECT_EQ(report.bytes_freed, 64 * kMiB);
}

TEST(CleanupManager, GivesBackWhatTensorPoolsKeepAndThenTheMemoryBelow) {
  const auto pool = make_pool();
  const auto tensors = TensorMemoryPool::create(*pool).value();
  const auto manager = make_manager();
  ASSERT_THAT(manager->add("pool", *pool), is_ok());
  ASSERT_THAT(manager->add("tensors", *tensors), is_ok());
  const TensorHandle kept = tensors->allocate_tensor(1, 8 * kMiB).value();
  const TensorHandle live = tensors->allocate_tensor(2, 4 * kMiB).value();
  fill_pattern(live.data, 4 * kMiB, 4);
  ASSERT_THAT(tensors->deallocate_tensor(kept), is_ok());
  const CleanupReport report = manager->force_cleanup();
  ASSERT_EQ(report.targets.size(), 2u);
  EXPECT_EQ(report.targets[0].target, "tensors");
  EXPECT_EQ(report.targets[0].bytes_freed, 8 * kMiB);
  EXPECT_EQ(report.targets[0].committed_before - report.targets[0].committed_after, 8 * kMiB);
  EXPECT_EQ(report.targets[1].target, "pool");
  EXPECT_EQ(report.targets[1].bytes_freed, 8 * kMiB);
  EXPECT_EQ(pool->usage().committed, 4 * kMiB);
  EXPECT_TRUE(holds_pattern(live.data, 4 * kMiB, 4));
}

TEST(CleanupManager, MovesBlocksTogetherWhereThatIsOn) {
  for (const Compaction compaction : {Compaction::kOn, Compaction::kOff}) {
    const auto memory = make_pool();
    const auto pool = MovableBlockPool::create(*memory).value();
    const auto manager = make_manager({.compaction = compaction});
    ASSERT_THAT(manager->add("movable", *pool), is_ok());
    ASSERT_THAT(manager->add("memory", *memory), is_ok());
    std::vector<MovableBlock> blocks;
    for (int i = 0; i < 8; ++i) {
      blocks.push_back(pool->allocate(5 * kMiB).value());
      fill_pattern(blocks.back().pin().data(), 5 * kMiB, 6);
    }
    for (size_t i = 0; i < blocks.size(); ++i) blocks.erase(blocks.begin() + static_cast<ptrdiff_t>(i));
    const uint64_t before = memory->usage().committed;
    const CleanupReport report = manager->force_cleanup();
    EXPECT_EQ(report.blocks_moved, compaction == Compaction::kOn ? 2u : 0u);
    EXPECT_EQ(report.bytes_freed, before - memory->usage().committed);
    for (const MovableBlock& block : blocks) EXPECT_TRUE(holds_pattern(block.pin().data(), 5 * kMiB, 6));
    // Asked for, it is done in any case.
    blocks.push_back(pool->allocate(50 * kMiB).value());
    blocks.push_back(pool->allocate(50 * kMiB).value());
    blocks.erase(blocks.end() - 2);
    const CleanupReport compacted = manager->compact();
    EXPECT_EQ(compacted.strategy, "compaction");
    EXPECT_EQ(compacted.targets.size(), 1u);
    EXPECT_GE(compacted.blocks_moved, 1u);
  }
}

TEST(CleanupManager, CleansTheTargetOrTheDeviceThatIsNamed) {
  const auto pool = make_pool();
  const auto manager = make_manager();
  ASSERT_THAT(manager->add("pool", *pool), is_ok());
  ASSERT_THAT(manager->add("card", {DeviceKind::kCuda, 0}, [](auto) { return size_t{7}; }), is_ok());
  EXPECT_EQ(manager->cleanup("card").value().bytes_freed, 7u);
  EXPECT_EQ(manager->cleanup_device({DeviceKind::kCuda, 0}).bytes_freed, 7u);
  EXPECT_TRUE(manager->cleanup_device({DeviceKind::kCuda, 1}).targets.empty());
  use_and_free(*pool, 8 * kMiB);
  EXPECT_EQ(manager->cleanup_device({}).bytes_freed, 8 * kMiB);
  EXPECT_THAT(manager->cleanup("other"), fails_with(ErrorCode::kNotFound));
  EXPECT_EQ(manager->history().size(), 3u);
}

// Each function takes 60 ms: after two, 100 ms are over.
TEST(CleanupManager, StopsWhenTheTimeIsUpAndGoesOnAtTheNextCheck) {
  const auto manager = make_manager({.policy = {.period = 1h}, .max_cleanup_time = 100ms});
  std::vector<std::string> calls;
  std::vector<std::chrono::nanoseconds> budgets;
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    ASSERT_THAT(manager->add(name, {},
                             [&, name](std::chrono::nanoseconds budget) {
                               calls.emplace_back(name);
                               budgets.push_back(budget);
                               pass(60ms);
                               return size_t{1};
                             }),
                is_ok());
  }
  pass(1h);
  const CleanupReport first = check(*manager);
  EXPECT_FALSE(first.finished);
  EXPECT_EQ(first.bytes_freed, 2u);
  EXPECT_EQ(first.duration, 120ms);
  EXPECT_EQ(calls, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(budgets, (std::vector<std::chrono::nanoseconds>{100ms, 40ms}));
  EXPECT_FALSE(check(*manager).finished);
  EXPECT_TRUE(check(*manager).finished);
  EXPECT_EQ(calls, (std::vector<std::string>{"a", "b", "c", "d", "e"}));
  EXPECT_TRUE(check(*manager).targets.empty());
  EXPECT_EQ(manager->statistics().unfinished, 2u);
}

TEST(CleanupManager, OfAPoolStopsAfterAStepOfTrimming) {
  const auto pool = make_pool();
  const auto manager = make_manager({.max_cleanup_time = 0ms});
  ASSERT_THAT(manager->add("pool", *pool), is_ok());
  use_and_free(*pool, 40 * kMiB);
  check(*manager);
  pass(30s);
  EXPECT_EQ(check(*manager).bytes_freed, 16 * kMiB);
  EXPECT_EQ(check(*manager).bytes_freed, 16 * kMiB);
  EXPECT_EQ(check(*manager).bytes_freed, 8 * kMiB);
  EXPECT_TRUE(check(*manager).targets.empty());
}

TEST(CleanupManager, CountsWhatThrowsAsNothing) {
  const auto manager = make_manager({.policy = {.period = 1s}});
  ASSERT_THAT(manager->add("bad", {}, [](auto) -> size_t { throw std::runtime_error("broken"); }), is_ok());
  ASSERT_THAT(manager->add("odd", {}, [](auto) -> size_t { throw 7; }), is_ok());
  ASSERT_THAT(manager->add("good", {}, [](auto) { return size_t{3}; }), is_ok());
  ASSERT_THAT(manager->register_strategy(
                  {"angry", [](const CleanupState&) -> bool { throw std::logic_error("no"); }}),
              is_ok());
  EXPECT_EQ(check(*manager).error, "no");
  pass(1s);
  const CleanupReport report = check(*manager);
  EXPECT_EQ(report.bytes_freed, 3u);
  EXPECT_EQ(report.targets.at(0).error, "broken");
  EXPECT_NE(report.targets.at(1).error, "");
  EXPECT_EQ(report.targets.at(2).error, "");
  EXPECT_EQ(manager->statistics().failures, 3u);
}

TEST(CleanupManager, RefusesACleanupFromWithinACleanup) {
  const auto manager = make_manager();
  CleanupReport inner;
  ASSERT_THAT(manager->add("self", {},
                           [&](auto) {
                             inner = manager->force_cleanup();
                             EXPECT_EQ(manager->clean_due().at(0).finished, false);
                             EXPECT_THAT(manager->add("new", {}, [](auto) { return size_t{0}; }), is_ok());
                             EXPECT_THAT(manager->remove("self"), is_ok());
                             return size_t{1};
                           }),
              is_ok());
  EXPECT_EQ(manager->force_cleanup().bytes_freed, 1u);
  EXPECT_NE(inner.error, "");
  EXPECT_FALSE(inner.finished);
  EXPECT_EQ(manager->force_cleanup().targets.at(0).target, "new");
}

TEST(CleanupManager, CountsByStrategyAndRemembersTheLastThousandRuns) {
  const auto manager = make_manager({.policy = {.period = 1s}});
  size_t n = 0;
  ASSERT_THAT(manager->add("counting", {}, [&](auto) { return ++n; }), is_ok());
  for (int i = 0; i < 1000; ++i) manager->force_cleanup();
  pass(1s);
  check(*manager);
  const std::vector<CleanupReport> history = manager->history();
  ASSERT_EQ(history.size(), CleanupManager::kHistory);
  EXPECT_EQ(history.front().bytes_freed, 2u);
  EXPECT_EQ(history.back().bytes_freed, 1001u);
  EXPECT_EQ(history.back().strategy, "periodic");
  const CleanupStatistics statistics = manager->statistics();
  EXPECT_EQ(statistics.runs, 1001u);
  EXPECT_EQ(statistics.bytes_freed, 1001u * 1002u / 2);
  ASSERT_EQ(statistics.strategies.size(), 2u);
  EXPECT_EQ(statistics.strategies[0].strategy, "forced");
  EXPECT_EQ(statistics.strategies[0].bytes_freed, 1000u * 1001u / 2);
  EXPECT_EQ(statistics.strategies[1].runs, 1u);
}

TEST(CleanupManager, RefusesWhatMakesNoSense) {
  const auto refused = fails_with(ErrorCode::kInvalidArgument);
  EXPECT_THAT(CleanupManager::create({.check_interval = 0ms}), refused);
  EXPECT_THAT(CleanupManager::create({.policy = {.pressure_threshold = 0}}), refused);
  EXPECT_THAT(CleanupManager::create({.policy = {.idle_interval = -1ns}}), refused);
  const auto manager = make_manager();
  EXPECT_THAT(manager->set_device_policy({}, {.period = -1ns}), refused);
  EXPECT_THAT(manager->add("none", {}, CleanupManager::Function()), refused);
  EXPECT_THAT(manager->add("a", {}, [](auto) { return size_t{0}; }), is_ok());
  SystemResource system_target;
  EXPECT_THAT(manager->add("a", system_target), refused);
  EXPECT_THAT(manager->remove("a"), is_ok());
  EXPECT_THAT(manager->remove("a"), fails_with(ErrorCode::kNotFound));
  EXPECT_THAT(manager->register_strategy({"idle", [](const CleanupState&) { return true; }}), refused);
  EXPECT_THAT(manager->register_strategy({"mine", nullptr}), refused);
}

TEST(CleanupManager, PresetsDifferInWhatTheyDo) {
  for (const bool aggressive : {true, false}) {
    const auto pool = make_pool(100 * kMiB);
    const auto manager = make_manager(aggressive ? aggressive_cleanup() : minimal_cleanup());
    ASSERT_THAT(manager->add("pool", *pool), is_ok());
    use_and_free(*pool, 60 * kMiB);
    EXPECT_EQ(check(*manager).bytes_freed, aggressive ? 60 * kMiB : 0);
    use_and_free(*pool, 20 * kMiB);
    check(*manager);
    pass(5s);
    EXPECT_EQ(check(*manager).strategy, aggressive ? "idle" : "");
    EXPECT_EQ(manager->options().max_cleanup_time, aggressive ? 500ms : 10ms);
    pass(24h);
    EXPECT_EQ(pool->usage().committed, aggressive ? 0 : 60 * kMiB);
  }
}

}  // namespace
}  // namespace lobit

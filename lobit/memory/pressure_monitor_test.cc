#include "lobit/memory/pressure_monitor.h"

#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/test_maintenance_clock.h"

namespace lobit {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using enum MemoryPressureLevel;

constexpr size_t kBlock = 5'000'000;  // large, so that no cache keeps it
constexpr uint64_t kLimit = 100'000'000;

std::unique_ptr<HybridMemoryPool> make_pool(MemoryPoolOptions options = {.limit = kLimit}) {
  options.idle_trim = options.idle_trim.zero();
  return HybridMemoryPool::create(options).value();
}

PressureOptions pools_only() {
  return {.interval = 0ms, .container = PressureWatch::kOff, .stalls = PressureWatch::kOff};
}

std::unique_ptr<PressureMonitor> make_monitor(const PressureOptions& options = pools_only()) {
  return PressureMonitor::create(options).value();
}

// A resource that says what it is told to.
class SaidUsage final : public MemoryResource {
 public:
  void say(uint64_t used) { used_ = used; }

 private:
  Result<void*> do_allocate(size_t /*bytes*/, size_t /*alignment*/, Stream /*stream*/) override {
    return fail(ErrorCode::kUnsupported, "nothing to give");
  }
  Status do_deallocate(void* /*pointer*/, size_t /*bytes*/, size_t /*alignment*/,
                       Stream /*stream*/) override {
    return fail(ErrorCode::kUnsupported, "nothing to take");
  }
  MemoryUsage do_usage() const override { return {.used = used_}; }

  uint64_t used_ = 0;
};

// The levels that a callback was told, one after the other.
class Told {
 public:
  explicit Told(PressureMonitor& monitor) {
    monitor.add_callback([this](const PressureChange& change) { changes_.push_back(change); });
  }
  std::vector<MemoryPressureLevel> take() {
    std::vector<MemoryPressureLevel> levels;
    for (const PressureChange& change : changes_) levels.push_back(change.to);
    changes_.clear();
    return levels;
  }
  const std::vector<PressureChange>& changes() const { return changes_; }

 private:
  std::vector<PressureChange> changes_;
};

using Levels = std::vector<MemoryPressureLevel>;

TEST(PressureMonitor, TellsEachLevelOnceOnTheWayUpAndDown) {
  const auto pool = make_pool();
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(*pool, "weights"), is_ok());
  const Told told(*monitor);
  std::vector<Buffer> blocks;
  while (blocks.size() < 19) {
    blocks.push_back(Buffer::allocate(*pool, kBlock).value());
    monitor->check();
  }
  while (!blocks.empty()) {
    blocks.pop_back();
    monitor->check();
  }
  struct Expected {
    MemoryPressureLevel from, to;
    uint64_t blocks;
  };
  const Expected expected[] = {{kNone, kLow, 14},      {kLow, kMedium, 16},    {kMedium, kHigh, 18},
                               {kHigh, kCritical, 19}, {kCritical, kHigh, 18}, {kHigh, kMedium, 17},
                               {kMedium, kLow, 15},    {kLow, kNone, 13}};
  ASSERT_EQ(told.changes().size(), std::size(expected));
  for (size_t i = 0; i < std::size(expected); ++i) {
    const PressureChange& change = told.changes()[i];
    EXPECT_EQ(change.from, expected[i].from) << i;
    EXPECT_EQ(change.to, expected[i].to) << i;
    EXPECT_EQ(change.cause.source, PressureSource::kPool);
    EXPECT_EQ(change.cause.name, "weights");
    EXPECT_EQ(change.cause.level, expected[i].to);
    EXPECT_EQ(change.cause.limit, kLimit);
    EXPECT_EQ(change.cause.used, expected[i].blocks * 5'001'216) << "pages of " << i;
  }
  EXPECT_EQ(monitor->level(), kNone);
}

TEST(PressureMonitor, ALevelBeginsAtItsThresholdAndEndsTwoHundredthsBelow) {
  SaidUsage resource;
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(resource, 10000), is_ok());
  const auto level_at = [&](uint64_t used) {
    resource.say(used);
    return monitor->check();
  };
  EXPECT_EQ(level_at(6999), kNone);
  EXPECT_EQ(level_at(7000), kLow);
  EXPECT_EQ(level_at(6801), kLow);
  EXPECT_EQ(level_at(6800), kNone);
  EXPECT_EQ(level_at(6999), kNone);
  EXPECT_EQ(level_at(9500), kCritical);
  EXPECT_EQ(level_at(9301), kCritical);
  EXPECT_EQ(level_at(9300), kHigh);
  EXPECT_EQ(level_at(9499), kHigh);
  EXPECT_EQ(level_at(8801), kHigh);
  EXPECT_EQ(level_at(7900), kMedium);
  EXPECT_EQ(level_at(7801), kMedium);
  EXPECT_EQ(level_at(7800), kLow);
  EXPECT_EQ(level_at(20000), kCritical);
}

TEST(PressureMonitor, LowThresholdsEndAtHalf) {
  SaidUsage resource;
  PressureOptions options = pools_only();
  options.thresholds = {.low = 0.01, .medium = 0.02, .high = 0.5, .critical = 1};
  const auto monitor = make_monitor(options);
  ASSERT_THAT(monitor->watch(resource, 10000), is_ok());
  const auto level_at = [&](uint64_t used) {
    resource.say(used);
    return monitor->check();
  };
  EXPECT_EQ(level_at(200), kMedium);
  EXPECT_EQ(level_at(100), kLow);
  EXPECT_EQ(level_at(51), kLow);
  EXPECT_EQ(level_at(50), kNone);
  EXPECT_EQ(level_at(10000), kCritical);
}

TEST(PressureMonitor, AJumpIsOneChange) {
  SaidUsage resource;
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(resource, 100), is_ok());
  Told told(*monitor);
  resource.say(97);
  EXPECT_EQ(monitor->check(), kCritical);
  EXPECT_EQ(monitor->check(), kCritical);
  EXPECT_EQ(told.take(), Levels{kCritical});
  resource.say(0);
  EXPECT_EQ(monitor->check(), kNone);
  EXPECT_EQ(told.take(), Levels{kNone});
}

TEST(PressureMonitor, TheHighestSourceDecidesAndIsNamed) {
  SaidUsage a;
  SaidUsage b;
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(a, 100, "a"), is_ok());
  ASSERT_THAT(monitor->watch(b, 100, "b"), is_ok());
  Told told(*monitor);
  const auto expect_cause = [&](uint64_t used_a, uint64_t used_b, MemoryPressureLevel to, const char* name) {
    a.say(used_a);
    b.say(used_b);
    EXPECT_EQ(monitor->check(), to);
    ASSERT_FALSE(told.changes().empty());
    EXPECT_EQ(told.changes().back().to, to);
    EXPECT_EQ(told.changes().back().cause.name, name);
  };
  expect_cause(75, 85, kMedium, "b");
  expect_cause(92, 85, kHigh, "a");
  expect_cause(60, 85, kMedium, "a");
  expect_cause(60, 75, kLow, "b");
  expect_cause(0, 75, kLow, "b");
  EXPECT_EQ(told.take().size(), 4u);
  monitor->unwatch(b);
  EXPECT_EQ(monitor->level(), kNone);
  ASSERT_EQ(told.changes().size(), 1u);
  EXPECT_EQ(told.changes()[0].from, kLow);
  EXPECT_EQ(told.changes()[0].cause.name, "b");
  EXPECT_EQ(told.changes()[0].cause.used, 75u);
  monitor->unwatch(b);
  EXPECT_EQ(monitor->status().sources.size(), 1u);
}

TEST(PressureMonitor, FreeMemoryOfAPoolIsNoPressure) {
  const auto pool = make_pool();
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(*pool), is_ok());
  void* const block = pool->allocate(96'000'000).value();
  EXPECT_EQ(monitor->check(), kCritical);
  EXPECT_THAT(pool->deallocate(block, 96'000'000), is_ok());
  EXPECT_GE(pool->usage().committed, 96'000'000u);
  EXPECT_EQ(pool->held_bytes(), 0u);
  EXPECT_EQ(monitor->check(), kNone);
}

TEST(PressureMonitor, SmallBlocksCountWithTheirSlabs) {
  const auto pool = make_pool();
  std::vector<Buffer> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(Buffer::allocate(*pool, 1024).value());
  EXPECT_GE(pool->held_bytes(), 1'024'000u);
  EXPECT_LE(pool->held_bytes(), 1'400'000u);
  EXPECT_EQ(pool->held_bytes() % 4096, 0u);
}

// A pool of two parts with limits of their own has no more than both.
TEST(PressureMonitor, TheLimitOfAPoolIsWhatItMayHoldInAll) {
  const auto limit_of = [](const MemoryPoolOptions& options) {
    const auto pool = make_pool(options);
    const auto monitor = make_monitor();
    EXPECT_THAT(monitor->watch(*pool), is_ok());
    return monitor->status().sources.at(0).limit;
  };
  EXPECT_EQ(limit_of({.limit = kLimit}), kLimit);
  EXPECT_EQ(limit_of({.small = {.max = 1 << 20}, .large = {.max = 2 << 20}, .limit = kLimit}), 3u << 20);
  EXPECT_EQ(limit_of({.large = {.max = 2 << 20}}), kNoLimit);
}

TEST(PressureMonitor, CallbacksMayFreeThrowCheckAndChangeWhoIsCalled) {
  const auto pool = make_pool();
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(*pool), is_ok());
  std::vector<Buffer> blocks;
  int thrown = 0;
  monitor->add_callback([&](const PressureChange&) {
    ++thrown;
    throw std::runtime_error("no");
  });
  monitor->add_callback([&](const PressureChange& change) {
    if (change.to != kCritical) return;
    blocks.resize(10);
    Buffer::allocate(*pool, kBlock).value();
    EXPECT_EQ(monitor->check(), kNone);
    EXPECT_EQ(monitor->level(), kNone);
  });
  PressureMonitor::CallbackId once = 0;
  int onces = 0;
  once = monitor->add_callback([&](const PressureChange&) {
    ++onces;
    monitor->remove_callback(once);
  });
  Told told(*monitor);
  while (blocks.size() < 19) blocks.push_back(Buffer::allocate(*pool, kBlock).value());
  EXPECT_EQ(monitor->check(), kCritical) << "what it found";
  EXPECT_EQ(told.take(), (Levels{kCritical, kNone}));
  EXPECT_EQ(thrown, 2);
  EXPECT_EQ(onces, 1);
  EXPECT_EQ(blocks.size(), 10u);
}

// ---- A pool that is short.

TEST(PressureMonitor, CallbacksRunBeforeAnAllocationFails) {
  const auto pool = make_pool();
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(*pool, "short"), is_ok());
  Buffer cache = Buffer::allocate(*pool, 60'000'000).value();
  std::string order;
  pool->add_reclaimer({.priority = -1000, .reclaim = [&](const OutOfMemory&) { order += "r"; }});
  PressureChange last;
  monitor->add_callback([&](const PressureChange& change) {
    last = change;
    order += "c";
    if (change.to == kCritical) static_cast<void>(cache.free());
  });
  EXPECT_EQ(monitor->check(), kNone);
  {
    const auto block = Buffer::allocate(*pool, 50'000'000);
    EXPECT_THAT(block, is_ok());
  }
  EXPECT_EQ(order, "c") << "first of all, and nobody else was needed";
  EXPECT_EQ(last.from, kNone);
  EXPECT_EQ(last.to, kCritical);
  EXPECT_EQ(last.cause.name, "short");
  EXPECT_GE(last.cause.used, 110'000'000u);
  EXPECT_LE(last.cause.used, 110'010'000u);
  EXPECT_EQ(monitor->level(), kCritical) << "until the next look";
  EXPECT_EQ(monitor->check(), kNone);
}

TEST(PressureMonitor, EveryShortageIsTold) {
  const auto pool = make_pool();
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(*pool), is_ok());
  const Buffer some = Buffer::allocate(*pool, 10'000'000).value();
  Told told(*monitor);
  EXPECT_THAT(pool->allocate(95'000'000), fails_with(ErrorCode::kLimit));
  EXPECT_EQ(told.take(), Levels{kCritical});
  EXPECT_THAT(pool->allocate(95'000'000), fails_with(ErrorCode::kLimit));
  EXPECT_EQ(told.take(), (Levels{kNone, kCritical})) << "the first was over";
}

TEST(PressureMonitor, WhatNobodyCanHelpIsNoShortage) {
  const auto pool = make_pool();
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(*pool), is_ok());
  const Told told(*monitor);
  EXPECT_THAT(pool->allocate(kLimit + 1), fails_with(ErrorCode::kLimit));
  EXPECT_TRUE(told.changes().empty());
}

TEST(PressureMonitor, APoolWithoutALimitIsShortWhenTheSystemIs) {
  const auto pool = make_pool({});
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(*pool), is_ok());
  const Buffer some = Buffer::allocate(*pool, 10'000'000).value();
  const Told told(*monitor);
  EXPECT_THAT(pool->allocate(SIZE_MAX), fails_with(ErrorCode::kOutOfMemory));
  ASSERT_EQ(told.changes().size(), 1u);
  EXPECT_EQ(told.changes()[0].to, kCritical);
  EXPECT_EQ(told.changes()[0].cause.used, UINT64_MAX) << "more than can be said";
}

// In a callback, for an allocation that cannot be helped any more.
TEST(PressureMonitor, AShortageWithinACallbackIsToldAfterIt) {
  const auto pool = make_pool();
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(*pool), is_ok());
  Buffer all = Buffer::allocate(*pool, 75'000'000).value();
  bool is_inside = false;
  Levels levels;
  monitor->add_callback([&](const PressureChange& change) {
    EXPECT_FALSE(is_inside);
    levels.push_back(change.to);
    if (change.to != kLow) return;
    is_inside = true;
    EXPECT_THAT(pool->allocate(50'000'000), fails_with(ErrorCode::kLimit));
    is_inside = false;
  });
  EXPECT_EQ(monitor->check(), kLow);
  EXPECT_EQ(levels, (Levels{kLow, kCritical}));
}

TEST(PressureMonitor, AFailingRequestCountsUntilItsCallbacksAreDone) {
  const auto pool = make_pool();
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(*pool), is_ok());
  const Buffer some = Buffer::allocate(*pool, 10'000'000).value();
  Levels seen;
  monitor->add_callback([&](const PressureChange&) { seen.push_back(monitor->check()); });
  EXPECT_THAT(pool->allocate(95'000'000), fails_with(ErrorCode::kLimit));
  EXPECT_EQ(seen, Levels{kCritical});
  EXPECT_EQ(monitor->check(), kNone);
}

TEST(PressureMonitor, LeavesAPoolThatIsUnwatchedAlone) {
  const auto pool = make_pool();
  auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(*pool), is_ok());
  const Buffer some = Buffer::allocate(*pool, 10'000'000).value();
  const Told told(*monitor);
  monitor->unwatch(*pool);
  EXPECT_THAT(pool->allocate(95'000'000), fails_with(ErrorCode::kLimit));
  EXPECT_TRUE(told.changes().empty());
  ASSERT_THAT(monitor->watch(*pool), is_ok());
  monitor.reset();
  EXPECT_THAT(pool->allocate(95'000'000), fails_with(ErrorCode::kLimit));
  EXPECT_TRUE(told.changes().empty());
}

// ---- Arguments and options.

TEST(PressureMonitor, WatchesEachResourceOnceAndAgainstALimit) {
  const auto pool = make_pool();
  const auto monitor = make_monitor();
  ASSERT_THAT(monitor->watch(*pool), is_ok());
  EXPECT_THAT(monitor->watch(*pool), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(monitor->watch(*pool, 100, "again"), fails_with(ErrorCode::kInvalidArgument));
  const SaidUsage resource;
  const Status refused = monitor->watch(resource, 0, "mine");
  ASSERT_THAT(refused, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(refused.error().message, "pressure: mine: expected a limit of at least 1 byte, found 0");
  EXPECT_EQ(monitor->status().sources.size(), 1u);
}

TEST(PressureMonitor, ARatioStandsForAllThresholds) {
  const PressureThresholds usual = PressureThresholds::from_ratio(0.8).value();
  const PressureThresholds defaults;
  EXPECT_EQ(usual.low, defaults.low);
  EXPECT_EQ(usual.medium, defaults.medium);
  EXPECT_EQ(usual.high, defaults.high);
  EXPECT_EQ(usual.critical, defaults.critical);
  const PressureThresholds half = PressureThresholds::from_ratio(0.4).value();
  EXPECT_DOUBLE_EQ(half.low, 0.35);
  EXPECT_EQ(half.medium, 0.4);
  EXPECT_DOUBLE_EQ(half.high, 0.45);
  EXPECT_DOUBLE_EQ(half.critical, 0.475);
  const PressureThresholds all = PressureThresholds::from_ratio(1).value();
  EXPECT_DOUBLE_EQ(all.low, 0.875);
  EXPECT_EQ(all.medium, 1);
  EXPECT_EQ(all.high, 1);
  EXPECT_EQ(all.critical, 1);
  for (const double ratio : {0.0, -0.1, 1.01, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(PressureThresholds::from_ratio(ratio), fails_with(ErrorCode::kInvalidArgument)) << ratio;
  }
  for (int i = 1; i <= 1000; ++i) {
    PressureOptions options = pools_only();
    options.thresholds = PressureThresholds::from_ratio(i / 1000.0).value();
    EXPECT_THAT(PressureMonitor::create(options), is_ok()) << i;
  }
}

TEST(PressureMonitor, OptionsOutOfRangeAreRefused) {
  const auto message_of = [](const PressureOptions& options) {
    const auto monitor = PressureMonitor::create(options);
    EXPECT_THAT(monitor, fails_with(ErrorCode::kInvalidArgument));
    return monitor ? std::string() : monitor.error().message;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const PressureThresholds& thresholds :
       {PressureThresholds{.low = 0}, PressureThresholds{.low = -1}, PressureThresholds{.low = 0.81},
        PressureThresholds{.high = 0.96}, PressureThresholds{.critical = 1.01},
        PressureThresholds{.low = nan}, PressureThresholds{.critical = nan}}) {
    EXPECT_THAT(message_of({.thresholds = thresholds}),
                HasSubstr("thresholds: expected ascending shares above 0 and up to 1"));
  }
  EXPECT_EQ(message_of({.interval = -1ms}),
            "pressure options: interval: expected 0 to 86400000 ms, found -1");
  EXPECT_THAT(message_of({.interval = std::chrono::milliseconds::max()}), HasSubstr("interval"));
}

TEST(PressureMonitor, ThresholdsDecide) {
  SaidUsage resource;
  resource.say(50);
  PressureOptions options = pools_only();
  options.thresholds = PressureThresholds::from_ratio(0.5).value();
  const auto monitor = make_monitor(options);
  ASSERT_THAT(monitor->watch(resource, 100), is_ok());
  EXPECT_EQ(monitor->check(), kMedium);
}

size_t threads_of_process() {
  size_t threads = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++threads;
  return threads;
}

TEST(PressureMonitor, LooksByItselfAtEveryInterval) {
  SaidUsage resource;
  detail::TestMaintenanceClock clock;
  detail::MaintenanceThread thread(clock);
  PressureOptions options = pools_only();
  options.interval = 100ms;
  const size_t threads = threads_of_process();
  const auto monitor = PressureMonitor::create(options, thread).value();
  EXPECT_EQ(threads_of_process(), threads + 1);
  ASSERT_THAT(monitor->watch(resource, 100), is_ok());
  Told told(*monitor);
  resource.say(80);
  clock.advance(99ms);
  EXPECT_TRUE(told.changes().empty());
  clock.advance(1ms);
  EXPECT_EQ(told.take(), Levels{kMedium});
  resource.say(60);
  clock.advance(100ms);
  EXPECT_EQ(told.take(), Levels{kNone});
}

TEST(PressureMonitor, WithoutAnIntervalThereIsNoThread) {
  const size_t threads = threads_of_process();
  const auto monitor = make_monitor();
  EXPECT_EQ(threads_of_process(), threads);
  EXPECT_EQ(monitor->options().interval, 0ms);
}

}  // namespace
}  // namespace lobit

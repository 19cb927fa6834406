#include "lobit/memory/maintenance_thread.h"

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/test_maintenance_clock.h"
#include "lobit/memory/thread_cache.h"

namespace lobit::detail {
namespace {

using namespace std::chrono_literals;

class CountingTask final : public MaintenanceTask {
 public:
  CountingTask(MaintenanceThread& thread, std::chrono::nanoseconds period)
      : MaintenanceTask(period), thread_(thread) {
    EXPECT_THAT(thread_.add(*this), is_ok());
  }
  ~CountingTask() { thread_.remove(*this); }

  int turns() const { return turns_; }
  // What the next turns do.
  std::function<NextTurn()> turn = [] { return NextTurn::kWhenStirred; };

 private:
  NextTurn take_turn() override {
    const NextTurn next = turn();
    ++turns_;
    return next;
  }

  MaintenanceThread& thread_;
  std::atomic<int> turns_{0};
};

TEST(MaintenanceThread, GivesATurnOnePeriodAfterTheTaskWasStirred) {
  TestMaintenanceClock clock;
  MaintenanceThread thread(clock);
  CountingTask task(thread, 10ms);
  clock.advance(1h);
  EXPECT_EQ(task.turns(), 0);
  task.stir();
  clock.advance(6ms);
  task.stir();  // does not put it off
  clock.advance(3ms);
  EXPECT_EQ(task.turns(), 0);
  clock.advance(1ms);
  EXPECT_EQ(task.turns(), 1);
  EXPECT_TRUE(clock.is_thread_at_rest());
  clock.advance(1h);
  EXPECT_EQ(task.turns(), 1);
}

TEST(MaintenanceThread, GivesFurtherTurnsAsLongAsTheTaskWantsThem) {
  TestMaintenanceClock clock;
  MaintenanceThread thread(clock);
  CountingTask task(thread, 10ms);
  task.turn = [&] { return task.turns() < 2 ? NextTurn::kAfterPeriod : NextTurn::kWhenStirred; };
  task.stir();
  for (const int turns : {1, 2, 3}) {
    clock.advance(10ms);
    EXPECT_EQ(task.turns(), turns);
    EXPECT_EQ(clock.is_thread_at_rest(), turns == 3);
  }
}

TEST(MaintenanceThread, WhatStirsATaskDuringItsTurnBringsAnother) {
  TestMaintenanceClock clock;
  MaintenanceThread thread(clock);
  CountingTask task(thread, 10ms);
  task.turn = [&] {
    if (task.turns() == 0) task.stir();
    return NextTurn::kWhenStirred;
  };
  task.stir();
  clock.advance(10ms);
  EXPECT_FALSE(clock.is_thread_at_rest());
  clock.advance(10ms);
  EXPECT_EQ(task.turns(), 2);
  EXPECT_TRUE(clock.is_thread_at_rest());
}

TEST(MaintenanceThread, KeepsTheTimesOfTasksApart) {
  TestMaintenanceClock clock;
  MaintenanceThread thread(clock);
  CountingTask often(thread, 10ms);
  often.turn = [] { return NextTurn::kAfterPeriod; };
  CountingTask seldom(thread, 35ms);
  seldom.turn = often.turn;
  often.stir();
  seldom.stir();
  for (int i = 0; i < 14; ++i) clock.advance(5ms);
  EXPECT_EQ(often.turns(), 7);
  EXPECT_EQ(seldom.turns(), 2);
}

TEST(MaintenanceThread, WaitsForTheTurnOfATaskThatIsRemoved) {
  SystemMaintenanceClock clock;
  MaintenanceThread thread(clock);
  std::atomic<bool> begun{false};
  std::atomic<bool> over{false};
  {
    CountingTask task(thread, 0ns);
    task.turn = [&] {
      begun = true;
      std::this_thread::sleep_for(5ms);
      over = true;
      return NextTurn::kWhenStirred;
    };
    task.stir();
    while (!begun) std::this_thread::yield();
  }
  EXPECT_TRUE(over);
}

TEST(MaintenanceThread, EndsWithItsLastTaskAndStartsWithTheNext) {
  TestMaintenanceClock clock;
  MaintenanceThread thread(clock);
  for (int round = 0; round < 3; ++round) {
    CountingTask first(thread, 10ms);
    CountingTask second(thread, 10ms);
    second.stir();
    clock.advance(10ms);
    EXPECT_EQ(first.turns(), 0);
    EXPECT_EQ(second.turns(), 1);
  }
}

TEST(MaintenanceThread, TasksComeGoAndAreStirredFromManyThreads) {
  SystemMaintenanceClock clock;
  MaintenanceThread thread(clock);
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        CountingTask task(thread, 0ns);
        task.stir();
        while (task.turns() == 0) std::this_thread::yield();
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

// What the copy of the parent's thread would have done, the child's own does.
TEST(MaintenanceThread, AChildProcessHasItsOwn) {
  if constexpr (LOBIT_TSAN != 0) GTEST_SKIP() << "the thread sanitizer forbids threads after fork()";
  auto* const of_parent = new CountingTask(MaintenanceThread::of_process(), 0ns);
  of_parent->stir();
  const pid_t child = ::fork();
  ASSERT_NE(child, -1);
  if (child == 0) {
    of_parent->stir();
    delete of_parent;  // as static objects are
    CountingTask own(MaintenanceThread::of_process(), 0ns);
    own.stir();
    while (own.turns() == 0) std::this_thread::yield();
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  while (of_parent->turns() == 0) std::this_thread::yield();
  delete of_parent;
}

}  // namespace
}  // namespace lobit::detail

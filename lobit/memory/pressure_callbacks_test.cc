#include <atomic>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "lobit/base/test_support.h"
#include "lobit/memory/pressure_callbacks_internal.h"

namespace lobit::detail {
namespace {

PressureChange change_to(MemoryPressureLevel to) {
  return {.to = to};
}

// What a callback with a name was told: "a1" for low, "a4" for critical.
class Log {
 public:
  PressureCallbacks::Callback named(char name) {
    return [this, name](const PressureChange& change) { write(name, change); };
  }
  void write(char name, const PressureChange& change) {
    text_ += name;
    text_ += static_cast<char>('0' + static_cast<int>(change.to));
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

using enum MemoryPressureLevel;

TEST(PressureCallbacks, EachIsToldEveryChangeSinceItCame) {
  PressureCallbacks callbacks;
  Log log;
  callbacks.add(log.named('a'));
  callbacks.post(change_to(kLow));
  callbacks.add(log.named('b'));
  callbacks.post(change_to(kHigh));
  EXPECT_EQ(log.text(), "");
  callbacks.deliver();
  EXPECT_EQ(log.text(), "a1a3b3");
  callbacks.deliver();
  EXPECT_EQ(log.text(), "a1a3b3");
}

TEST(PressureCallbacks, OneThatThrowsOrIsEmptyKeepsNobodyFromTheirs) {
  PressureCallbacks callbacks;
  Log log;
  callbacks.add([](const PressureChange&) { throw std::runtime_error("no"); });
  callbacks.add({});
  callbacks.add(log.named('a'));
  callbacks.post(change_to(kLow));
  callbacks.deliver();
  EXPECT_EQ(log.text(), "a1");
}

TEST(PressureCallbacks, MayComeAndGoWhileTheyAreCalled) {
  PressureCallbacks callbacks;
  Log log;
  PressureCallbacks::Id first = 0;
  PressureCallbacks::Id third = 0;
  first = callbacks.add([&](const PressureChange& change) {
    log.write('a', change);
    callbacks.remove(first);
    callbacks.remove(third);
    callbacks.add(log.named('d'));
  });
  callbacks.add(log.named('b'));
  third = callbacks.add(log.named('c'));
  callbacks.post(change_to(kLow));
  callbacks.deliver();
  EXPECT_EQ(log.text(), "a1b1") << "the fourth came after the change";
  callbacks.post(change_to(kNone));
  callbacks.deliver();
  EXPECT_EQ(log.text(), "a1b1b0d0");
}

TEST(PressureCallbacks, WhatACallbackPostsIsToldAfterThisChange) {
  PressureCallbacks callbacks;
  Log log;
  callbacks.add([&](const PressureChange& change) {
    log.write('a', change);
    if (change.to != kLow) return;
    callbacks.post(change_to(kMedium));
    callbacks.deliver();
    callbacks.deliver_and_wait();
  });
  callbacks.add(log.named('b'));
  callbacks.post(change_to(kLow));
  callbacks.deliver();
  EXPECT_EQ(log.text(), "a1b1a2b2");
}

// A callback that holds the thread that calls it until the test lets it go.
struct Gate {
  std::promise<void> entered;
  std::promise<void> opened;
  PressureCallbacks::Callback callback() {
    return [this](const PressureChange&) {
      entered.set_value();
      opened.get_future().wait();
    };
  }
};

TEST(PressureCallbacks, RemovingWaitsForWhoIsInIt) {
  PressureCallbacks callbacks;
  Gate gate;
  auto token = std::make_shared<int>(0);
  std::atomic<bool> is_removed{false};
  const auto id = callbacks.add([&, token, hold = gate.callback()](const PressureChange& change) {
    hold(change);
    for (int i = 0; i < 1000; ++i) {
      EXPECT_FALSE(is_removed);
      std::this_thread::yield();
    }
  });
  callbacks.post(change_to(kLow));
  std::thread teller([&] { callbacks.deliver(); });
  gate.entered.get_future().wait();
  std::thread remover([&] {
    gate.opened.set_value();
    callbacks.remove(id);
    is_removed = true;
    EXPECT_EQ(token.use_count(), 1) << "what it held is gone";
  });
  remover.join();
  teller.join();
}

TEST(PressureCallbacks, WhoWaitsReturnsWhenTheOtherThreadHasToldAll) {
  PressureCallbacks callbacks;
  Gate gate;
  std::atomic<int> told{0};
  const auto id =
      callbacks.add([&, hold = gate.callback(), first = true](const PressureChange& change) mutable {
        if (std::exchange(first, false)) hold(change);
        ++told;
      });
  callbacks.post(change_to(kLow));
  std::thread teller([&] { callbacks.deliver(); });
  gate.entered.get_future().wait();
  callbacks.post(change_to(kHigh));
  callbacks.deliver();  // leaves it to the other
  EXPECT_EQ(told, 0);
  std::thread waiter([&] {
    callbacks.deliver_and_wait();
    EXPECT_EQ(told, 2);
  });
  gate.opened.set_value();
  waiter.join();
  teller.join();
  callbacks.remove(id);
}

// Two that wait for each other would wait for ever.
TEST(PressureCallbacks, WhoIsInACallbackOfAnotherDoesNotWait) {
  PressureCallbacks one;
  PressureCallbacks other;
  Gate gate;
  Log log;
  other.add(gate.callback());
  other.post(change_to(kLow));
  std::thread teller([&] { other.deliver(); });
  gate.entered.get_future().wait();
  one.add([&](const PressureChange& change) {
    other.deliver_and_wait();
    log.write('a', change);
  });
  one.post(change_to(kLow));
  one.deliver_and_wait();
  EXPECT_EQ(log.text(), "a1");
  gate.opened.set_value();
  teller.join();
}

TEST(PressureCallbacks, ClosingWaitsForWhoIsCalledAndCallsNobodyElse) {
  PressureCallbacks callbacks;
  Gate gate;
  std::atomic<bool> is_closed{false};
  callbacks.add([&, hold = gate.callback()](const PressureChange& change) {
    EXPECT_FALSE(is_closed);
    hold(change);
    for (int i = 0; i < 1000; ++i) {
      EXPECT_FALSE(is_closed);
      std::this_thread::yield();
    }
  });
  callbacks.post(change_to(kLow));
  std::thread teller([&] { callbacks.deliver(); });
  gate.entered.get_future().wait();
  std::thread closer([&] {
    gate.opened.set_value();
    callbacks.close();
    is_closed = true;
  });
  closer.join();
  teller.join();
  callbacks.post(change_to(kHigh));
  callbacks.deliver();  // would enter the callback, which sees that it is closed
}

}  // namespace
}  // namespace lobit::detail

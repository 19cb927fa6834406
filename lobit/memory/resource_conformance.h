// For tests alone (not installed): what every MemoryResource promises, as tests. A resource joins with one
// line in any test file of the module:
//
//   INSTANTIATE_TEST_SUITE_P(System, ResourceConformance, testing::Values(under_test<SystemResource>()));
//
// The tests are in resource_conformance_test.cc, those with a model in model_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/memory/memory_resource.h"

namespace lobit {

// Which bytes and alignments a resource finds wrong when a block comes back.
enum class SizeCheck : uint8_t {
  kNone,   // it knows the address only
  kBytes,  // not the alignment
  kExact,
};

// What a resource is able to do. Tests ask for no more, and say so when they leave something out.
struct Capabilities {
  size_t max_bytes = size_t{4} << 20;     // the largest block, at least when nothing else is live
  size_t total_bytes = size_t{64} << 20;  // blocks that are live together, however they are rounded
  SizeCheck size_check = SizeCheck::kExact;
  bool exact_peak = true;  // of usage().allocated; false where threads count apart and tell later
  bool any_thread = true;  // may be called from several threads
};

// Objects that stand on each other and go in the opposite order. The one on top is the resource under test.
class ResourceStack {
 public:
  ResourceStack() = default;
  ResourceStack(const ResourceStack&) = delete;
  ResourceStack& operator=(const ResourceStack&) = delete;
  ~ResourceStack() {
    while (!objects_.empty()) objects_.pop_back();
  }

  template <typename T, typename... Arguments>
  T& add(Arguments&&... arguments) {
    return own(std::make_unique<T>(std::forward<Arguments>(arguments)...));
  }
  template <typename T>
  T& own(std::unique_ptr<T> object) {
    T& result = *object;
    objects_.push_back(std::shared_ptr<T>(std::move(object)));
    if constexpr (std::is_base_of_v<MemoryResource, T>) top_ = &result;
    return result;
  }

  MemoryResource& top() const { return *top_; }

 private:
  std::vector<std::shared_ptr<void>> objects_;
  MemoryResource* top_ = nullptr;
};

struct ResourceUnderTest {
  std::function<void(ResourceStack&)> build;
  Capabilities can = {};

  // In the messages of tests, whose names say which one it is.
  friend std::ostream& operator<<(std::ostream& out, const ResourceUnderTest&) { return out << "a resource"; }
};

// One that is made from nothing.
template <typename Resource>
ResourceUnderTest under_test(const Capabilities& can = {}) {
  return {[](ResourceStack& stack) { stack.add<Resource>(); }, can};
}

class ResourceConformance : public testing::TestWithParam<ResourceUnderTest> {
 protected:
  ResourceConformance() : stack_(std::make_unique<ResourceStack>()) { GetParam().build(*stack_); }

  MemoryResource& resource() const { return stack_->top(); }
  const Capabilities& can() const { return GetParam().can; }
  // Ends the resource before the test ends.
  void destroy() { stack_.reset(); }

 private:
  std::unique_ptr<ResourceStack> stack_;
};

}  // namespace lobit

#include "lobit/memory/failing_resource.h"

#include <fmt/format.h>

namespace lobit {
namespace {

// SplitMix64: the number-th value of the sequence that `seed` begins.
uint64_t random_bits(uint64_t seed, uint64_t number) {
  uint64_t x = seed + number * 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

bool fails(const FailurePlan& plan, uint64_t number, size_t bytes) {
  // The upper 53 bits as a number in [0, 1).
  const double random = static_cast<double>(random_bits(plan.seed, number) >> 11) * 0x1p-53;
  return number == plan.number || (plan.every != 0 && number % plan.every == 0) || bytes > plan.above_bytes ||
         random < plan.probability;
}

}  // namespace

void FailingResource::set_plan(const FailurePlan& plan) {
  const std::lock_guard lock(mutex_);
  plan_ = plan;
  allocations_ = 0;
  failures_ = 0;
}

uint64_t FailingResource::allocations() const {
  const std::lock_guard lock(mutex_);
  return allocations_;
}

uint64_t FailingResource::failures() const {
  const std::lock_guard lock(mutex_);
  return failures_;
}

Result<void*> FailingResource::do_allocate(size_t bytes, size_t alignment, Stream stream) {
  LOBIT_RETURN_IF_ERROR(check_request(bytes, alignment));
  {
    const std::lock_guard lock(mutex_);
    ++allocations_;
    if (fails(plan_, allocations_, bytes)) {
      ++failures_;
      return fail(ErrorCode::kOutOfMemory,
                  fmt::format("allocate: {} bytes: made to fail as allocation {}", bytes, allocations_),
                  {.index = allocations_, .required = bytes, .available = 0});
    }
  }
  return upstream().allocate(bytes, alignment, stream);
}

Status FailingResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) {
  return upstream().deallocate(pointer, bytes, alignment, stream);
}

}  // namespace lobit

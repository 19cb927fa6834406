#include "lobit/convert/conversion_speed.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>

#include "lobit/base/fp_env.h"
#include "lobit/convert/tensor_job.h"
#include "lobit/device/cpu/virtual_memory.h"
#include "lobit/memory/system_resource.h"

namespace lobit {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kEnough = std::chrono::microseconds(300);
// The least of so many times is close to what the work takes, whatever other programs do.
constexpr int kRounds = 5;
// What is known when there is no memory to measure with.
constexpr double kUsualSeconds = 1e-9;

double seconds(Clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

// The least time of several conversions of a tensor that fits the second-level cache.
Result<double> measure(ValueFormat from, ValueFormat to, QuantizeMethod method) {
  SystemResource memory;
  MemoryAccount account(UINT64_MAX);
  const int64_t extents[] = {32, 256};  // rows that every block divides
  LOBIT_TRY(const Shape shape, Shape::create(extents));
  const RandomOptions normal{.distribution = Distribution::kNormal, .deviation = 0.02f};
  LOBIT_TRY(const Tensor source, Tensor::random(shape, from, memory, normal));
  LOBIT_TRY(const FormatLayout layout, check_convertible(source, to, source.device()));
  TensorJob job(source, layout,
                {.to = to,
                 .method = method,
                 .overflow = OverflowRule::kSaturate,
                 .memory = &memory,
                 .account = &account});
  LOBIT_RETURN_IF_ERROR(job.take_memory());
  Clock::duration least = Clock::duration::max();
  const auto start = Clock::now();
  auto now = start;
  for (int round = 0; round < kRounds || now - start < kEnough; ++round) {
    const auto begin = now;
    LOBIT_RETURN_IF_ERROR(job.run({}, {}));
    now = Clock::now();
    least = std::min(least, now - begin);
  }
  return seconds(least) / static_cast<double>(shape.elements());
}

MemorySpeed measure_memory() {
  constexpr size_t kBytes = 16 << 20;  // more than a core's own caches
  MemorySpeed speed{.seconds_per_new_byte = kUsualSeconds, .seconds_per_moved_byte = kUsualSeconds};
  VirtualMemory& memory = system_virtual_memory();
  for (int round = 0; round < kRounds; ++round) {
    // A mapping of its own each time: the C library would give the last one's pages again.
    const auto block = memory.reserve(kBytes);
    if (!block) return speed;
    std::byte* const bytes = *block;
    if (!memory.make_accessible(bytes, kBytes)) {
      memory.release(bytes, kBytes);
      return speed;
    }
    memory.prefer_huge_pages(bytes, kBytes, true);
    const auto start = Clock::now();
    std::memset(bytes, 1, kBytes);
    const auto touched = Clock::now();
    std::memcpy(bytes, bytes + kBytes / 2, kBytes / 2);
    const auto moved = Clock::now();
    memory.release(bytes, kBytes);
    const MemorySpeed now{seconds(touched - start) / kBytes, seconds(moved - touched) / kBytes};
    if (round == 0) speed = now;
    speed.seconds_per_new_byte = std::min(speed.seconds_per_new_byte, now.seconds_per_new_byte);
    speed.seconds_per_moved_byte = std::min(speed.seconds_per_moved_byte, now.seconds_per_moved_byte);
  }
  return speed;
}

}  // namespace

double seconds_per_element(ValueFormat from, ValueFormat to, QuantizeMethod method) {
  if (from == to) return 0;
  const ScopedFpEnv fp_env;
  static std::mutex mutex;
  static std::map<std::tuple<Encoding, ScaleGroup, Encoding, ScaleGroup, QuantizeMethod>, double> known;
  const auto key = std::tuple(from.encoding, from.scales, to.encoding, to.scales, method);
  const std::lock_guard lock(mutex);
  const auto found = known.find(key);
  if (found != known.end()) return found->second;
  const double measured = measure(from, to, method).value_or(kUsualSeconds);
  known.emplace(key, measured);
  return measured;
}

const MemorySpeed& memory_speed() {
  static const MemorySpeed kMeasured = measure_memory();
  return kMeasured;
}

}  // namespace lobit

// lobit_bench_tracking: measures a pair of deallocate and allocate that replaces a random block of a live
// set, from sixteen call sites twenty frames deep, and prints {malloc, ns}: whose malloc is loaded, and
// nanoseconds of a pair for every sample. The contestant `ours` is a pool, and the same pool at every level
// of tracking; they take turns, so that they share whatever the machine does. The contestant `malloc` is
// alone, for profilers that are loaded with it. With --overhead prints {malloc, overhead} instead: the bytes
// that tracking takes beside the live ones of the transformer trace. Run by script/bench tracking.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/allocators/contestants.h"
#include "bench/allocators/patterns.h"
#include "bench/program.h"
#include "bench/trace/replay.h"
#include "bench/trace/transformer.h"
#include <nlohmann/json.hpp>

#include "lobit/base/call_stack.h"
#include "lobit/memory/tracking_resource.h"

namespace lobit::bench {
namespace {

constexpr size_t kSites = 16;
constexpr int kDepth = 14;  // calls of at_depth(); main and the measuring functions are the others

struct Options {
  std::string contestant;
  size_t bytes = 64;
  size_t live = 1000;
  size_t threads = 1;
  size_t samples = 5;
  double sample_seconds = 0.02;
  bool overhead = false;
};

std::optional<Options> parse_options(const std::vector<std::string>& arguments) {
  Options options;
  const Option known[] = {
      {"--contestant", &options.contestant},
      {"--bytes", &options.bytes},
      {"--live", &options.live},
      {"--threads", &options.threads},
      {"--samples", &options.samples},
      {"--sample-seconds", &options.sample_seconds},
      {"--overhead", &options.overhead},
  };
  const bool good = read_options(arguments, known) && options.bytes >= sizeof(uint64_t) && options.live > 0 &&
                    options.threads > 0 && options.samples > 0 && options.sample_seconds > 0;
  return good ? std::optional(options) : std::nullopt;
}

// Any resource with the calls of a contestant.
class OverResource {
 public:
  explicit OverResource(MemoryResource& resource) : resource_(&resource) {}
  void* allocate(size_t bytes) {
    const Result<void*> block = resource_->allocate(bytes);
    if (!block) out_of_memory(bytes);
    return *block;
  }
  void deallocate(void* block, size_t bytes) {
    if (!resource_->deallocate(block, bytes)) std::abort();
  }

 private:
  MemoryResource* resource_;
};

template <class Allocator, size_t site>
[[gnu::noinline]] void* allocate_at(Allocator& allocator, size_t bytes) {
  void* const block = allocator.allocate(bytes);
  *static_cast<volatile uint64_t*>(block) = site;
  return block;
}

template <class Allocator, size_t... sites>
constexpr auto make_sites(std::index_sequence<sites...>) {
  return std::array{&allocate_at<Allocator, sites>...};
}

template <class Function>
[[gnu::noinline]] double at_depth(int depth, const Function& function) {
  const double result = depth == 0 ? function() : at_depth(depth - 1, function);
  asm volatile("" : : "r"(&result) : "memory");  // not the last thing this frame does
  return result;
}

// This thread's processor seconds for that many pairs.
template <class Allocator>
double replace(Allocator& allocator, std::vector<void*>& blocks, size_t bytes, size_t pairs) {
  static constexpr auto kAllocate = make_sites<Allocator>(std::make_index_sequence<kSites>());
  uint64_t random = 0x9E3779B97F4A7C15;
  return at_depth(kDepth, [&] {
    const double start = thread_seconds();
    for (size_t i = 0; i < pairs; ++i) {
      random = random * 6364136223846793005 + 1442695040888963407;
      void*& block = blocks[(random >> 33) % blocks.size()];
      allocator.deallocate(block, bytes);
      block = kAllocate[i % kSites](allocator, bytes);
    }
    return thread_seconds() - start;
  });
}

// One allocator with a live set for each thread.
template <class Allocator>
class Contest {
 public:
  Contest(Allocator allocator, const Options& options) : allocator_(allocator), options_(options) {
    for (size_t t = 0; t < options.threads; ++t) {
      std::vector<void*>& blocks = sets_.emplace_back();
      for (size_t i = 0; i < options.live; ++i) blocks.push_back(allocator_.allocate(options.bytes));
    }
    static_cast<void>(run());
    while (run() * static_cast<double>(pairs_) < 1e9 * options.sample_seconds) pairs_ *= 2;
  }
  ~Contest() {
    for (std::vector<void*>& blocks : sets_) {
      for (void* const block : blocks) allocator_.deallocate(block, options_.bytes);
    }
  }
  Contest(const Contest&) = delete;
  Contest& operator=(const Contest&) = delete;

  // Nanoseconds of a pair, the mean over threads.
  double run() {
    const double seconds =
        sets_.size() == 1 ? replace(allocator_, sets_[0], options_.bytes, pairs_) : run_threads();
    return 1e9 * seconds / static_cast<double>(sets_.size() * pairs_);
  }

 private:
  // The sum of their seconds. None is the main thread, whose core they would inherit.
  double run_threads() {
    std::vector<double> seconds(sets_.size());
    std::vector<std::thread> threads;
    std::atomic<size_t> ready = 0;
    for (size_t t = 0; t < sets_.size(); ++t) {
      threads.emplace_back([&, t] {
        use_core(static_cast<int>(t));
        ready.fetch_add(1);
        while (ready.load() < sets_.size()) std::this_thread::yield();
        seconds[t] = replace(allocator_, sets_[t], options_.bytes, pairs_);
      });
    }
    for (std::thread& thread : threads) thread.join();
    return std::accumulate(seconds.begin(), seconds.end(), 0.0);
  }

  Allocator allocator_;
  Options options_;
  std::vector<std::vector<void*>> sets_;
  size_t pairs_ = 4096;  // of a sample; not fewer, or one interruption would end the search for a number
};

struct Level {
  const char* name;
  TrackingOptions options;
};

std::vector<Level> levels() {
  return {{"none", {.level = TrackingLevel::kNone}},
          {"basic", TrackingOptions::minimal()},
          {"standard", {}},
          {"detailed, no stacks", TrackingOptions::detailed()},
          {"detailed", {.level = TrackingLevel::kDetailed}}};
}

// A pool that keeps what it has while the others have their turns.
std::unique_ptr<HybridMemoryPool> make_pool() {
  return HybridMemoryPool::create({.idle_trim = std::chrono::milliseconds(0)}).value();
}

// A pool at one level. The tracking is destroyed after the blocks of the contest, and before the pool.
class Tracked {
 public:
  Tracked(const Level& level, const Options& options)
      : name_(level.name),
        tracked_(TrackingResource::create(*pool_, level.options).value()),
        contest_(OverResource(*tracked_), options) {}

  const char* name() const { return name_; }
  double run() { return contest_.run(); }

 private:
  const char* name_;
  std::unique_ptr<HybridMemoryPool> pool_ = make_pool();
  std::unique_ptr<TrackingResource> tracked_;
  Contest<OverResource> contest_;
};

nlohmann::json measure_ours(const Options& options) {
  const auto pool = make_pool();
  Contest<OverResource> plain(OverResource(*pool), options);
  std::vector<std::unique_ptr<Tracked>> tracked;
  for (const Level& level : levels()) tracked.push_back(std::make_unique<Tracked>(level, options));
  nlohmann::json result;
  for (size_t i = 0; i < options.samples; ++i) {
    result["pool"].push_back(plain.run());
    for (const auto& contestant : tracked) result[contestant->name()].push_back(contestant->run());
  }
  return result;
}

nlohmann::json measure_malloc(const Options& options) {
  Contest<Malloc> contest(Malloc(), options);
  nlohmann::json result;
  for (size_t i = 0; i < options.samples; ++i) result["pool"].push_back(contest.run());
  return result;
}

// What tracking takes at one level while the trace is replayed, in bytes: the most of its records, counts and
// timeline, and the stacks that the process keeps, where the level takes any.
nlohmann::json measure_overhead(const Level& level, const BlockTrace& trace) {
  constexpr size_t kEvents = 4096;  // between two looks
  const auto pool = make_pool();
  const auto tracked = TrackingResource::create(*pool, level.options).value();
  OverResource allocator(*tracked);
  Replay<TouchPages::kNo, OverResource> replay(allocator, trace);
  uint64_t records = 0;
  while (!replay.done()) {
    replay.run(kEvents);
    records = std::max(records, tracked->statistics().own_bytes);
  }
  const bool takes_stacks =
      level.options.level >= TrackingLevel::kStandard && level.options.stacks == StackCapture::kRecorded;
  return {{"records", records},
          {"stacks", takes_stacks ? call_stack_bytes() : 0},
          {"live", trace.peak_live_bytes}};
}

nlohmann::json measure_overhead() {
  constexpr size_t kRequests = 80;
  nlohmann::json result;
  for (const auto& [name, growth] : {std::pair("concat", KvGrowth::kConcat), {"paged", KvGrowth::kPaged}}) {
    const BlockTrace trace = transformer_trace(growth, kRequests);
    for (const Level& level : levels()) result[name][level.name] = measure_overhead(level, trace);
  }
  return result;
}

int run(const std::vector<std::string>& arguments) {
  const std::optional<Options> options = parse_options(arguments);
  if (!options || (options->contestant != "ours" && options->contestant != "malloc")) {
    std::cerr
        << "usage: lobit_bench_tracking --contestant ours|malloc [--bytes N] [--live BLOCKS] [--threads N]\n"
           "         [--samples N] [--sample-seconds S] [--overhead]\n";
    return 2;
  }
  nlohmann::json result{{"malloc", loaded_malloc()}};
  if (options->overhead) {
    result["overhead"] = measure_overhead();
  } else {
    result["ns"] = options->contestant == "ours" ? measure_ours(*options) : measure_malloc(*options);
  }
  return print_result(result);
}

}  // namespace
}  // namespace lobit::bench

int main(int argc, char** argv) {
  return lobit::bench::run({argv + 1, argv + argc});
}

// lobit_bench_tracking: what tracking adds to a pair of allocate and deallocate, as {malloc, ns}: nanoseconds
// of a pair for every sample, by contestant. Replaces random blocks of a live set from sixteen call sites
// twenty frames deep. Those of ours take turns, so that they share whatever the machine does; malloc stands
// alone, for profilers that are loaded with it. --overhead prints the bytes that tracking takes beside the
// transformer trace instead. Run by script/bench tracking.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <iostream>
#include <memory>
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

// Seconds of one thread's processor time for that many pairs.
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

// One contestant with a live set for each thread.
template <class Allocator>
class Contest {
 public:
  Contest(Allocator allocator, const Options& options) : allocator_(allocator), options_(options) {
    for (size_t t = 0; t < options.threads; ++t) {
      std::vector<void*>& blocks = sets_.emplace_back();
      for (size_t i = 0; i < options.live; ++i) blocks.push_back(allocator_.allocate(options.bytes));
    }
    // Not fewer, or one interruption would end the search for a number.
    pairs_ = 4096;
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
    std::vector<double> seconds(sets_.size());
    std::vector<std::thread> threads;
    std::atomic<size_t> ready = 0;
    const auto work = [&](size_t t) {
      if (sets_.size() > 1) use_core(static_cast<int>(t));
      ready.fetch_add(1);
      while (ready.load() < sets_.size()) std::this_thread::yield();
      seconds[t] = replace(allocator_, sets_[t], options_.bytes, pairs_);
    };
    for (size_t t = 1; t < sets_.size(); ++t) threads.emplace_back(work, t);
    work(0);
    for (std::thread& thread : threads) thread.join();
    double sum = 0;
    for (const double s : seconds) sum += s;
    return 1e9 * sum / static_cast<double>(sets_.size() * pairs_);
  }

 private:
  Allocator allocator_;
  Options options_;
  std::vector<std::vector<void*>> sets_;
  size_t pairs_ = 0;
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

struct Tracked {
  std::unique_ptr<HybridMemoryPool> pool = make_pool();
  std::unique_ptr<TrackingResource> tracked;
  std::unique_ptr<Contest<OverResource>> contest;
};

nlohmann::json measure_ours(const Options& options) {
  const auto pool = make_pool();
  Contest<OverResource> plain(OverResource(*pool), options);
  std::vector<Tracked> tracked;
  for (const Level& level : levels()) {
    Tracked& one = tracked.emplace_back();
    one.tracked = TrackingResource::create(*one.pool, level.options).value();
    one.contest = std::make_unique<Contest<OverResource>>(OverResource(*one.tracked), options);
  }
  nlohmann::json result;
  for (size_t i = 0; i < options.samples; ++i) {
    result["pool"].push_back(plain.run());
    for (size_t l = 0; l < tracked.size(); ++l) result[levels()[l].name].push_back(tracked[l].contest->run());
  }
  return result;
}

nlohmann::json measure_malloc(const Options& options) {
  Contest<Malloc> contest(Malloc(), options);
  nlohmann::json result;
  for (size_t i = 0; i < options.samples; ++i) result["pool"].push_back(contest.run());
  return result;
}

// Bytes of records, counts and the timeline at the end of the trace, before its blocks are freed, and live
// ones.
nlohmann::json measure_overhead() {
  nlohmann::json result;
  for (const auto& [name, growth] :
       {std::pair("concat", KvGrowth::kConcat), std::pair("paged", KvGrowth::kPaged)}) {
    const BlockTrace trace = transformer_trace(growth, 80);
    for (const Level& level : levels()) {
      const auto pool = make_pool();
      const auto tracked = TrackingResource::create(*pool, level.options).value();
      OverResource allocator(*tracked);
      Replay<TouchPages::kNo, OverResource> replay(allocator, trace);
      uint64_t most = 0;
      while (!replay.done()) {
        replay.run(4096);
        most = std::max(most, tracked->statistics().own_bytes);
      }
      result[name][level.name] = {
          {"own", most}, {"live", trace.peak_live_bytes}, {"stacks", call_stack_bytes()}};
    }
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

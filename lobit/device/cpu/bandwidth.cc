#include "lobit/device/cpu/bandwidth.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <span>
#include <vector>

#include <fmt/format.h>
#include <sys/mman.h>

#include "lobit/base/thread_pool.h"
#include "lobit/device/cpu/machine.h"

namespace lobit {
namespace detail {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kMiB = uint64_t{1} << 20;
// What is read or copied between two looks at the clock. Copies of this size go through the caches, as those
// of buffers in a program do.
constexpr size_t kPiece = size_t{256} << 10;
// Short, and several times with others between: on a busy machine the best one is that in which nobody was
// interrupted.
constexpr auto kPass = std::chrono::milliseconds(1);
constexpr int kRounds = 8;

class Mapping {
 public:
  explicit Mapping(size_t bytes)
      : address_(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
        bytes_(bytes) {
    // Without huge pages the walk through the page tables is measured too. Refused where there are none.
    if (ok()) static_cast<void>(::madvise(address_, bytes_, MADV_HUGEPAGE));
  }
  ~Mapping() {
    if (ok()) ::munmap(address_, bytes_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  bool ok() const { return address_ != MAP_FAILED; }
  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(address_), bytes_}; }

 private:
  void* address_;
  size_t bytes_;
};

// 16 bytes that are added as two words, in a register that every processor has.
using Pair = uint64_t __attribute__((vector_size(16)));

void read_piece(const std::byte* piece) {
  // Four sums, because one chain of additions would be the limit; each a variable, so that it stays in a
  // register.
  Pair a{};
  Pair b{};
  Pair c{};
  Pair d{};
  for (const std::byte* end = piece + kPiece; piece != end; piece += 4 * sizeof(Pair)) {
    Pair words[4];
    std::memcpy(words, piece, sizeof words);
    a += words[0];
    b += words[1];
    c += words[2];
    d += words[3];
  }
  a += b + c + d;
  // Tells the compiler that the sum is used.
  asm volatile("" ::"r"(a[0] + a[1]));
}

enum class Pass : uint8_t { kRead, kCopy };

// One worker's part of the buffer. The cursor stays where the last pass ended, so that whatever comes next is
// what was used longest ago.
struct alignas(64) Lane {
  std::span<std::byte> bytes;
  size_t cursor = 0;
  size_t moved = 0;
  Clock::time_point begin;
  Clock::time_point end;

  // Counts from when all `lanes` are running, as far as they are within one more `duration`: threads do not
  // start at the same moment, and a lane alone is faster than one of many.
  void run(Pass pass, std::chrono::microseconds duration, std::atomic<size_t>& running, size_t lanes) {
    ++running;
    const Clock::time_point called = Clock::now();
    do {
      step(pass);
      begin = Clock::now();
    } while (running < lanes && begin - called < duration);
    moved = 0;
    do {
      step(pass);
      end = Clock::now();
    } while (end - begin < duration);
  }

  void step(Pass pass) {
    if (cursor + 2 * kPiece > bytes.size()) cursor = 0;
    std::byte* const at = bytes.data() + cursor;
    if (pass == Pass::kRead) {
      read_piece(at);
      cursor += kPiece;
    } else {
      std::memcpy(at + kPiece, at, kPiece);
      cursor += 2 * kPiece;
    }
    moved += kPiece;
  }
};

// The threads of a pool, each with its part of one buffer.
class Lanes {
 public:
  Lanes(ThreadPool& pool, std::span<std::byte> buffer) : pool_(pool), lanes_(pool.size()), buffer_(buffer) {
    const size_t share = buffer.size() / lanes_.size() / kPiece * kPiece;
    for (size_t i = 0; i < lanes_.size(); ++i) lanes_[i].bytes = buffer.subspan(i * share, share);
  }

  // Memory that was never written is one page of zeros.
  void touch() {
    pool_.run([&](size_t i) { std::memset(lanes_[i].bytes.data(), 1, lanes_[i].bytes.size()); });
    // Shares are whole pieces; another number of lanes reads what they leave.
    const std::span<std::byte> rest = buffer_.subspan(lanes_.size() * lanes_[0].bytes.size());
    std::memset(rest.data(), 1, rest.size());
  }

  // In GB/s, from the moment in which the first one begins to that in which the last one ends.
  double rate(Pass pass, std::chrono::microseconds duration) {
    std::atomic<size_t> running = 0;
    pool_.run([&](size_t i) { lanes_[i].run(pass, duration, running, lanes_.size()); });
    size_t moved = 0;
    Clock::time_point begin = lanes_[0].begin;
    Clock::time_point end = lanes_[0].end;
    for (const Lane& lane : lanes_) {
      moved += lane.moved;
      begin = std::min(begin, lane.begin);
      end = std::max(end, lane.end);
    }
    return static_cast<double>(moved) / std::chrono::duration<double>(end - begin).count() / 1e9;
  }

 private:
  ThreadPool& pool_;
  std::vector<Lane> lanes_;
  const std::span<std::byte> buffer_;
};

}  // namespace

uint64_t bandwidth_buffer_bytes(std::optional<uint64_t> last_level_bytes, uint64_t available_bytes) {
  constexpr uint64_t kLeast = 32 * kMiB;
  constexpr uint64_t kMost = 512 * kMiB;  // touching it takes longer than the passes
  const uint64_t wanted = std::clamp(std::min(last_level_bytes.value_or(0), kMost) * 4, kLeast, kMost);
  const uint64_t bytes = std::min(wanted, available_bytes / 8) / kMiB * kMiB;
  return bytes >= 4 * kMiB ? bytes : 0;
}

Result<MemoryBandwidth> measure_bandwidth(uint64_t buffer_bytes, size_t threads,
                                          std::chrono::microseconds pass) {
  // A lane needs room for two pieces; one that small would live in the cache, but with so many threads the
  // buffer as a whole does not.
  const size_t workers = std::min<uint64_t>(threads, buffer_bytes / (2 * kPiece));
  if (workers == 0) {
    return fail(ErrorCode::kLimit, "memory bandwidth: too little memory is available to measure it",
                {.required = 2 * kPiece, .available = buffer_bytes});
  }
  const Mapping mapping(buffer_bytes);
  if (!mapping.ok()) {
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("memory bandwidth: the system refused a buffer of {} bytes", buffer_bytes),
                {.required = buffer_bytes});
  }
  LOBIT_TRY(ThreadPool one, ThreadPool::create(1));
  LOBIT_TRY(ThreadPool all, ThreadPool::create(workers));
  Lanes single(one, mapping.bytes());
  Lanes together(all, mapping.bytes());
  together.touch();
  MemoryBandwidth best{.threads = workers, .buffer_bytes = buffer_bytes};
  for (int round = 0; round < kRounds; ++round) {
    best.read_one = std::max(best.read_one, single.rate(Pass::kRead, pass));
    best.copy_one = std::max(best.copy_one, single.rate(Pass::kCopy, pass));
    best.read_all = std::max(best.read_all, together.rate(Pass::kRead, pass));
    best.copy_all = std::max(best.copy_all, together.rate(Pass::kCopy, pass));
  }
  return best;
}

}  // namespace detail

Result<MemoryBandwidth> memory_bandwidth() {
  static std::mutex mutex;
  static std::optional<MemoryBandwidth> measured;
  // Held while it is measured: two at a time would measure each other.
  const std::lock_guard lock(mutex);
  if (!measured) {
    LOBIT_TRY(const DeviceCapabilities machine, detail::machine_capabilities("/", Bandwidth::kSkip));
    const uint64_t bytes = detail::bandwidth_buffer_bytes(machine.last_level_bytes, machine.available_bytes);
    LOBIT_TRY(measured, detail::measure_bandwidth(bytes, machine.threads, detail::kPass));
  }
  return *measured;
}

}  // namespace lobit

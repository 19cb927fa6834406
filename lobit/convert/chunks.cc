#include "lobit/convert/chunks.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <vector>

#include "lobit/base/check.h"

namespace lobit {
namespace {

constexpr auto kProgressInterval = std::chrono::milliseconds(100);

uint64_t chunk_count(const ChunkedItem& item) {
  LOBIT_DCHECK(item.chunk_elements > 0);
  return item.elements / item.chunk_elements + (item.elements % item.chunk_elements != 0 ? 1 : 0);
}

// The bytes of the item's first `elements` elements, in proportion.
uint64_t bytes_before(const ChunkedItem& item, uint64_t elements) {
  const double share = static_cast<double>(elements) / static_cast<double>(item.elements);
  return elements == item.elements ? item.bytes
                                   : static_cast<uint64_t>(share * static_cast<double>(item.bytes));
}

// The state that the workers of one loop share.
class Loop {
 public:
  Loop(std::span<const ChunkedItem> items, const RunControl& control) : items_(items), control_(control) {
    first_chunk_.reserve(items.size() + 1);
    uint64_t total = 0;
    for (const ChunkedItem& item : items) {
      first_chunk_.push_back(total);
      total += chunk_count(item);
      bytes_total_ += item.bytes;
    }
    first_chunk_.push_back(total);
    end_ = total;
  }

  void work(size_t worker, const std::function<Status(size_t, const Chunk&)>& fn) {
    for (;;) {
      const uint64_t index = next_.fetch_add(1, std::memory_order_relaxed);
      if (index >= end_.load(std::memory_order_relaxed)) return;
      const Chunk chunk = chunk_at(index);
      Status status = control_.stop.stop_requested() ? cancelled() : fn(worker, chunk);
      if (!status) {
        keep_error(index, std::move(status).error());
        return;
      }
      const ChunkedItem& item = items_[chunk.item];
      const uint64_t bytes = bytes_before(item, chunk.first + chunk.count) - bytes_before(item, chunk.first);
      const uint64_t done = bytes_done_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
      if (worker == 0 && control_.progress) report(done, item.name);
    }
  }

  Status finish() {
    if (failed_) return fail(std::move(error_));
    if (control_.progress) {
      LOBIT_RETURN_IF_ERROR(call_progress({bytes_total_, bytes_total_, {}}));
    }
    return {};
  }

 private:
  static Status cancelled() { return fail(ErrorCode::kCancelled, "stopped before it was complete"); }

  Chunk chunk_at(uint64_t index) const {
    // The last item whose first chunk is not after `index`; items without chunks share their successor's
    // number.
    const auto after = std::ranges::upper_bound(first_chunk_, index);
    const auto item = static_cast<size_t>(after - first_chunk_.begin()) - 1;
    const uint64_t first = (index - first_chunk_[item]) * items_[item].chunk_elements;
    return {item, first, std::min(items_[item].chunk_elements, items_[item].elements - first)};
  }

  void keep_error(uint64_t index, Error error) {
    const std::lock_guard lock(mutex_);
    if (failed_ && failed_index_ < index) return;
    failed_ = true;
    failed_index_ = index;
    error_ = std::move(error);
    // Earlier chunks that workers already hold are still done: one of them may fail, too.
    end_.store(std::min(index, end_.load(std::memory_order_relaxed)), std::memory_order_relaxed);
  }

  // Only worker 0 comes here, so callbacks never overlap.
  void report(uint64_t done, std::string_view name) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_report_ < kProgressInterval) return;
    last_report_ = now;
    if (Status status = call_progress({done, bytes_total_, name}); !status) {
      keep_error(0, std::move(status).error());
    }
  }

  Status call_progress(const Progress& progress) const {
    try {
      control_.progress(progress);
    } catch (const std::exception& e) {
      return fail(ErrorCode::kCancelled, std::string("the progress callback failed: ") + e.what());
    } catch (...) {
      return fail(ErrorCode::kCancelled, "the progress callback failed");
    }
    return {};
  }

  std::span<const ChunkedItem> items_;
  const RunControl& control_;
  std::vector<uint64_t> first_chunk_;
  uint64_t bytes_total_ = 0;
  std::atomic<uint64_t> next_{0};
  std::atomic<uint64_t> end_{0};
  std::atomic<uint64_t> bytes_done_{0};
  std::chrono::steady_clock::time_point last_report_{};
  std::mutex mutex_;
  bool failed_ = false;
  uint64_t failed_index_ = 0;
  Error error_;
};

}  // namespace

Status for_each_chunk(ThreadPool& pool, std::span<const ChunkedItem> items, const RunControl& control,
                      const std::function<Status(size_t, const Chunk&)>& work) {
  return for_each_chunk(ChunkWorkers{&pool, pool.size()}, items, control, work);
}

Status for_each_chunk(const ChunkWorkers& workers, std::span<const ChunkedItem> items,
                      const RunControl& control, const std::function<Status(size_t, const Chunk&)>& work) {
  Loop loop(items, control);
  if (workers.pool == nullptr || workers.count <= 1) {
    loop.work(0, work);
  } else {
    workers.pool->run([&](size_t worker) {
      if (worker < workers.count) loop.work(worker, work);
    });
  }
  return loop.finish();
}

}  // namespace lobit

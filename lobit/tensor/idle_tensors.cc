#include "lobit/tensor/idle_tensors.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "lobit/device/device.h"

namespace lobit {
namespace {

// The width of a format's numbers, for the byte shuffle: 1 for packed codes and blocks.
size_t shuffle_width(ValueFormat format) {
  const EncodingTraits& t = traits(format.encoding);
  const bool plain = !format.is_planar() && t.block_elements == 1;
  return plain && t.block_bytes <= 8 ? t.block_bytes : 1;
}

}  // namespace

// While it lives, its entry belongs to this thread and the lock is open.
class IdleTensors::Busy {
 public:
  Busy(IdleTensors& owner, Entry& entry, Lock& lock) : owner_(owner), entry_(entry), lock_(lock) {
    entry_.busy = true;
    lock_.unlock();
  }
  ~Busy() {
    lock_.lock();
    entry_.busy = false;
    owner_.idle_.notify_all();
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  IdleTensors& owner_;
  Entry& entry_;
  Lock& lock_;
};

Result<IdleTensors::Key> IdleTensors::add(Tensor tensor) {
  if (tensor.device().kind != DeviceKind::kCpu) {
    const std::string device = device_name(tensor.device());
    return fail(ErrorCode::kUnsupported,
                fmt::format("idle tensors: tensor '{}': expected one on the cpu, found it on {}",
                            tensor.name(), device),
                {.from = device, .to = "cpu"});
  }
  MemoryResource* const home = tensor.resource() != nullptr ? tensor.resource() : &resource_;
  LOBIT_TRY(Tensor whole, tensor.contiguous(*home));
  // What is in one piece again keeps its id: for the caller it is the same tensor.
  if (!whole.shares_storage_with(tensor)) whole = tensor.over(std::move(whole.storage_));
  tensor = Tensor();
  const Lock lock(mutex_);
  const Key key = ++last_key_;
  Entry& entry = entries_[key];
  entry.tensor = std::move(whole);
  entry.last_use = clock_();
  return key;
}

Result<IdleTensors::Entries::iterator> IdleTensors::wait_for(Key key, Lock& lock) {
  for (;;) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) {
      return fail(ErrorCode::kNotFound, fmt::format("idle tensors: there is no tensor {}", key),
                  {.index = key});
    }
    if (!found->second.busy) return found;
    idle_.wait(lock);
  }
}

Result<Tensor> IdleTensors::restore(const Entry& entry) {
  LOBIT_TRY(detail::StorageRef storage,
            detail::StorageRef::allocate(*entry.home, entry.compressed->original_bytes()));
  Tensor tensor = entry.tensor.over(std::move(storage));
  LOBIT_TRY(const std::span<std::byte> bytes, tensor.mutable_bytes());
  LOBIT_RETURN_IF_ERROR(compressor_.restore(*entry.compressed, bytes));
  return tensor;
}

Result<Tensor> IdleTensors::restored(Entry& entry, Lock& lock) {
  if (entry.compressed) {
    Result<Tensor> tensor;
    {
      const Busy busy(*this, entry, lock);
      tensor = restore(entry);
      if (tensor) {
        entry.tensor = *tensor;
        entry.compressed.reset();
      }
    }
    if (!tensor) {
      ++failed_restores_;
      return tensor;
    }
  }
  entry.last_use = clock_();
  return entry.tensor;
}

Result<Tensor> IdleTensors::get(Key key) {
  Lock lock(mutex_);
  LOBIT_TRY(const Entries::iterator found, wait_for(key, lock));
  return restored(found->second, lock);
}

Result<Tensor> IdleTensors::take(Key key) {
  Lock lock(mutex_);
  LOBIT_TRY(const Entries::iterator found, wait_for(key, lock));
  LOBIT_TRY(Tensor tensor, restored(found->second, lock));
  entries_.erase(key);
  return tensor;
}

Status IdleTensors::remove(Key key) {
  Entries::node_type removed;  // freed without the lock
  Lock lock(mutex_);
  LOBIT_TRY(const Entries::iterator found, wait_for(key, lock));
  removed = entries_.extract(found);
  lock.unlock();
  return {};
}

std::vector<IdleTensors::Key> IdleTensors::idle_keys(std::chrono::nanoseconds older_than) const {
  const Lock lock(mutex_);
  const uint64_t now = clock_();
  std::vector<std::pair<uint64_t, Key>> found;
  for (const auto& [key, entry] : entries_) {
    const uint64_t age = now - std::min(now, entry.last_use);
    const bool idle = older_than.count() <= 0 || age >= static_cast<uint64_t>(older_than.count());
    if (idle && !entry.busy && !entry.compressed && entry.tensor.size_bytes() > 0) {
      found.emplace_back(entry.last_use, key);
    }
  }
  std::ranges::sort(found);
  std::vector<Key> keys;
  keys.reserve(found.size());
  for (const auto& [use, key] : found) keys.push_back(key);
  return keys;
}

IdleCompression IdleTensors::compress_idle(std::chrono::nanoseconds older_than,
                                           std::chrono::nanoseconds budget) {
  // The memory that compressing needs may come from a resource that asks for more room by calling this.
  static thread_local bool at_work = false;
  IdleCompression report;
  if (at_work) {
    report.finished = false;
    return report;
  }
  const TimeBudget time(budget, clock_);
  const struct AtWork {
    AtWork() { at_work = true; }
    ~AtWork() { at_work = false; }
  } scope;
  for (const Key key : idle_keys(older_than)) {
    if (time.is_spent()) {
      report.finished = false;
      break;
    }
    Lock lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second.busy || found->second.compressed) continue;
    Entry& entry = found->second;
    if (!entry.tensor.is_exclusive()) {
      ++report.in_use;
      entry.last_use = clock_();
    } else if (entry.incompressible) {
      ++report.incompressible;
    } else {
      compress(entry, lock, report);
    }
  }
  return report;
}

void IdleTensors::compress(Entry& entry, Lock& lock, IdleCompression& report) {
  const Busy busy(*this, entry, lock);
  // Of this thread alone now; a weak reference that wakes up meanwhile keeps the values for itself.
  const auto bytes = entry.tensor.bytes();
  Result<std::optional<CompressedBlock>> block =
      bytes ? compressor_.compress(*bytes, shuffle_width(entry.tensor.format()))
            : Result<std::optional<CompressedBlock>>(fail(bytes.error()));
  if (!block) {
    if (report.failed++ == 0) report.error = block.error().message;
    return;
  }
  if (!*block) {
    ++report.incompressible;
    entry.incompressible = true;
    return;
  }
  const uint64_t before = entry.tensor.capacity();
  ++report.compressed;
  report.bytes_freed += before - std::min(before, (*block)->stored_bytes());
  entry.compressed = std::move(*block);
  entry.home = entry.tensor.resource();
  entry.tensor = entry.tensor.over({});
}

bool IdleTensors::is_compressed(Key key) const {
  const Lock lock(mutex_);
  const auto found = entries_.find(key);
  return found != entries_.end() && !found->second.busy && found->second.compressed.has_value();
}

IdleTensorStatistics IdleTensors::statistics() const {
  IdleTensorStatistics s;
  s.compression = compressor_.statistics();
  const Lock lock(mutex_);
  s.tensors = entries_.size();
  s.failed_restores = failed_restores_;
  for (const auto& [key, entry] : entries_) {
    if (entry.busy || !entry.compressed) continue;
    ++s.compressed_tensors;
    s.original_bytes += entry.compressed->original_bytes();
    s.stored_bytes += entry.compressed->stored_bytes();
  }
  return s;
}

}  // namespace lobit

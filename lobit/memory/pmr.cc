#include "lobit/memory/pmr.h"

#include <algorithm>
#include <exception>
#include <new>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/memory/live_blocks_internal.h"

namespace lobit {

void* PmrAdaptor::do_allocate(size_t bytes, size_t alignment) {
  const Result<void*> block = upstream_->allocate(std::max<size_t>(bytes, 1), alignment, stream_);
  if (!block) throw std::bad_alloc();
  return *block;
}

void PmrAdaptor::do_deallocate(void* pointer, size_t bytes, size_t alignment) {
  const Status freed = upstream_->deallocate(pointer, std::max<size_t>(bytes, 1), alignment, stream_);
  if (!freed) refused_.fetch_add(1, std::memory_order_relaxed);
}

bool PmrAdaptor::do_is_equal(const std::pmr::memory_resource& other) const noexcept {
  const auto* adaptor = dynamic_cast<const PmrAdaptor*>(&other);
  return adaptor != nullptr && adaptor->upstream_ == upstream_ && adaptor->stream_ == stream_;
}

PmrResource::PmrResource(std::pmr::memory_resource& upstream)
    : upstream_(&upstream), blocks_(std::make_unique<detail::LiveBlocks>()) {}

PmrResource::~PmrResource() {
  for (const auto& [pointer, block] : blocks_->blocks()) {
    upstream_->deallocate(pointer, block.rounded, block.alignment);
  }
}

Result<void*> PmrResource::do_allocate(size_t bytes, size_t alignment, Stream /*stream*/) {
  LOBIT_RETURN_IF_ERROR(check_request(bytes, alignment));
  const auto refuse = [bytes](std::string_view why) {
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("allocate: the std::pmr resource refused {} bytes: {}", bytes, why),
                {.required = bytes});
  };
  // Above PTRDIFF_MAX no object exists; resources below add their own bytes without a check.
  if (bytes > PTRDIFF_MAX - kMaxAlignment) return refuse("no object is that large");
  // The pools of libstdc++ 12 align by the size alone: 77 bytes aligned to 64 may lie at 16.
  const size_t rounded = checked_round_up(bytes, alignment).value();

  const std::lock_guard lock(mutex_);
  void* pointer = nullptr;
  try {
    pointer = upstream_->allocate(rounded, alignment);
  } catch (const std::exception& error) {
    return refuse(error.what());
  } catch (...) {
    return refuse("an exception of its own");
  }
  if (auto added = blocks_->add(pointer, bytes, alignment, rounded, {}); !added) {
    upstream_->deallocate(pointer, rounded, alignment);
    return fail(std::move(added).error());
  }
  return pointer;
}

Status PmrResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream /*stream*/) {
  const std::lock_guard lock(mutex_);
  LOBIT_TRY(const detail::LiveBlocks::Block block, blocks_->remove(pointer, bytes, alignment));
  upstream_->deallocate(pointer, block.rounded, block.alignment);
  return {};
}

MemoryUsage PmrResource::do_usage() const {
  const std::lock_guard lock(mutex_);
  return blocks_->usage();
}

}  // namespace lobit

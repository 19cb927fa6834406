#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "lobit/base/check.h"
#include "lobit/base/checked.h"
#include "lobit/memory/unit_arena_internal.h"

namespace lobit::detail {
namespace {

// A run's tag: how much of it was not asked for, above the logarithm of the alignment.
constexpr uint32_t kAlignmentBits = 5;

uint32_t make_tag(size_t spare, size_t alignment) {
  return static_cast<uint32_t>(spare << kAlignmentBits) | static_cast<uint32_t>(std::countr_zero(alignment));
}
size_t tag_spare(uint32_t tag) {
  return tag >> kAlignmentBits;
}
size_t tag_alignment(uint32_t tag) {
  return size_t{1} << (tag & ((1U << kAlignmentBits) - 1));
}

// The largest power of two that divides the unit, as far as it is worth asking for.
size_t alignment_of(size_t unit) {
  return std::min(unit & (~unit + 1), kMaxAlignment);
}

// How many bytes lie between `address` and the next multiple of `alignment`.
size_t padding(uintptr_t address, size_t alignment) {
  return (~address + 1) & (alignment - 1);
}

}  // namespace

Result<std::unique_ptr<UnitArena>> UnitArena::create(std::string_view name, size_t capacity, size_t unit,
                                                     MemoryResource& upstream) {
  LOBIT_CHECK(unit % kDefaultAlignment == 0 && unit > 0 && unit <= kMaxUnit);
  const size_t units = capacity / unit;
  if (units == 0 || units > RunMap::kMaxUnits) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: expected 1 to {} units of {} bytes, found {} bytes", name, RunMap::kMaxUnits,
                            unit, capacity),
                {.required = unit, .available = capacity});
  }
  LOBIT_TRY(RunMap map, RunMap::create(static_cast<uint32_t>(units)));
  LOBIT_TRY(void* base, upstream.allocate(units * unit, alignment_of(unit)));
  return std::unique_ptr<UnitArena>(
      new UnitArena(name, units * unit, unit, upstream, static_cast<std::byte*>(base), std::move(map)));
}

UnitArena::UnitArena(std::string_view name, size_t capacity, size_t unit, MemoryResource& upstream,
                     std::byte* base, RunMap map)
    : name_(name),
      capacity_(capacity),
      unit_(unit),
      unit_alignment_(alignment_of(unit)),
      upstream_(upstream),
      base_(base),
      map_(std::move(map)),
      count_(capacity) {}

UnitArena::~UnitArena() {
  static_cast<void>(upstream_.deallocate(base_, capacity_, unit_alignment_));
}

Result<void*> UnitArena::allocate(size_t bytes, size_t alignment) {
  LOBIT_RETURN_IF_ERROR(check_request(bytes, alignment));
  const size_t slack = alignment > unit_alignment_ ? alignment - unit_alignment_ : 0;
  const std::lock_guard lock(mutex_);
  // Compared first, so that nothing below can overflow.
  if (bytes > capacity_) return exhausted(bytes, alignment, bytes);
  const auto wanted = static_cast<uint32_t>((bytes + slack + unit_ - 1) / unit_);
  std::optional<uint32_t> run = map_.allocate(wanted);
  if (!run.has_value()) return exhausted(bytes, alignment, bytes + slack);

  const uintptr_t start = reinterpret_cast<uintptr_t>(base_) + *run * unit_;
  const size_t offset = *run * unit_ + padding(start, alignment);
  const auto first = static_cast<uint32_t>(offset / unit_);
  const auto units = static_cast<uint32_t>((offset + bytes + unit_ - 1) / unit_ - first);
  if (units < wanted) map_.cut(*run, first, units);
  map_.set_tag(first, make_tag(units * unit_ - bytes, alignment));

  count_.allocated(bytes, units * unit_, 0);
  return base_ + offset;
}

Status UnitArena::deallocate(void* pointer, size_t bytes, size_t alignment) {
  const std::lock_guard lock(mutex_);
  if (!contains(pointer)) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: the address to free is not in it", name_));
  }
  const auto offset = static_cast<size_t>(static_cast<std::byte*>(pointer) - base_);
  const auto unit = static_cast<uint32_t>(offset / unit_);
  const bool live = map_.is_live(unit);
  const size_t own_alignment = live ? tag_alignment(map_.tag(unit)) : 0;
  const uintptr_t start = reinterpret_cast<uintptr_t>(base_) + unit * unit_;
  if (!live || offset != unit * unit_ + padding(start, own_alignment)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: no live block begins at byte {} of it: freed before, or an address inside a "
                            "block",
                            name_, offset),
                {.offset = offset});
  }
  const size_t reserved = map_.live_units(unit) * unit_;
  const size_t own_bytes = reserved - tag_spare(map_.tag(unit));
  if (own_bytes != bytes || own_alignment != alignment) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: {} bytes aligned to {} are to be freed, but the block has {} aligned to {}",
                            name_, bytes, alignment, own_bytes, own_alignment));
  }
  map_.free(unit);
  count_.freed(bytes, reserved, 0);
  return {};
}

bool UnitArena::contains(const void* pointer) const {
  // Below the base the difference wraps round and is larger than any arena.
  return reinterpret_cast<uintptr_t>(pointer) - reinterpret_cast<uintptr_t>(base_) < capacity_;
}

MemoryUsage UnitArena::usage() const {
  const std::lock_guard lock(mutex_);
  return count_.usage();
}

ArenaOccupancy UnitArena::occupancy() const {
  const std::lock_guard lock(mutex_);
  return {.capacity = capacity_,
          .allocated = count_.usage().allocated,
          .used = count_.usage().used,
          .largest_free = map_.largest_free() * unit_};
}

tl::unexpected<Error> UnitArena::exhausted(size_t bytes, size_t alignment, size_t required) const {
  const size_t largest = map_.largest_free() * unit_;
  return fail(ErrorCode::kOutOfMemory,
              fmt::format("{}: {} bytes aligned to {} asked for, {} of {} are free, the largest block has {}",
                          name_, bytes, alignment, capacity_ - count_.usage().used, capacity_, largest),
              {.required = required, .available = largest});
}

}  // namespace lobit::detail

// The allocators that the memory benchmarks compare, each with the same three calls and a type of its own, so
// that a measured loop calls it directly. A process measures one of them: the malloc of mimalloc, jemalloc
// and tcmalloc takes the place of glibc's through LD_PRELOAD, which the drivers in Python arrange.
//
//   void* allocate(size_t bytes)                  ends the process when there is no memory
//   void deallocate(void* block, size_t bytes)
//   bool trim()                                   gives free memory back to the system; false: has no such
//   call
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <memory_resource>
#include <new>
#include <string_view>
#include <type_traits>

#include "lobit/memory/hybrid_memory_pool.h"

namespace lobit::bench {

// What the column `ours` measures.
using OurResource = HybridMemoryPool;
inline constexpr std::string_view kOurName = "HybridMemoryPool";

// Every name with which visit_contestant() can be called.
inline constexpr std::string_view kContestantNames =
    "ours ours-as-resource malloc pmr-sync pmr-unsync free-list";

// Whose malloc this process uses: "glibc", "mimalloc", "jemalloc" or "tcmalloc".
std::string_view loaded_malloc();

// Gives free memory of that malloc back to the system by its own call.
void trim_malloc();

[[noreturn]] inline void out_of_memory(size_t bytes) {
  std::fprintf(stderr, "out of memory: %zu bytes\n", bytes);
  std::exit(3);
}

std::unique_ptr<OurResource> make_our_resource();

// The interface of pointers.
class Ours {
 public:
  static constexpr bool kThreadSafe = true;
  void* allocate(size_t bytes) {
    void* const block = resource_->try_allocate(bytes);
    if (block == nullptr) out_of_memory(bytes);
    return block;
  }
  void deallocate(void* block, size_t bytes) {
    if (!resource_->try_deallocate(block, bytes)) std::abort();
  }
  bool trim() {
    resource_->trim();
    return true;
  }

 private:
  std::unique_ptr<OurResource> resource_ = make_our_resource();
};

// The interface that all resources share.
class OursAsResource {
 public:
  static constexpr bool kThreadSafe = true;
  void* allocate(size_t bytes) {
    const Result<void*> block = resource_->allocate(bytes);
    if (!block) out_of_memory(bytes);
    return *block;
  }
  void deallocate(void* block, size_t bytes) {
    if (!resource_->deallocate(block, bytes)) std::abort();
  }
  bool trim() {
    resource_->trim();
    return true;
  }

 private:
  std::unique_ptr<MemoryResource> resource_ = make_our_resource();
};

class Malloc {
 public:
  static constexpr bool kThreadSafe = true;
  void* allocate(size_t bytes) {
    void* block = std::malloc(bytes);
    if (block == nullptr) out_of_memory(bytes);
    return block;
  }
  void deallocate(void* block, size_t) { std::free(block); }
  bool trim() {
    trim_malloc();
    return true;
  }
};

template <class Pool>
class PmrPool {
 public:
  static constexpr bool kThreadSafe = std::is_same_v<Pool, std::pmr::synchronized_pool_resource>;
  void* allocate(size_t bytes) { return pool_.allocate(bytes); }
  void deallocate(void* block, size_t bytes) { pool_.deallocate(block, bytes); }
  bool trim() { return false; }  // release() would take the live blocks too

 private:
  Pool pool_;
};

// What no allocator can beat: blocks of one size in a list that nobody else sees. A call each, as a library
// needs it.
class FreeList {
 public:
  static constexpr bool kThreadSafe = false;
  [[gnu::noinline]] void* allocate(size_t bytes) {
    Link* const block = first_;
    if (block == nullptr) return Malloc().allocate(bytes);
    first_ = block->next;
    return block;
  }
  [[gnu::noinline]] void deallocate(void* block, size_t) { first_ = new (block) Link{first_}; }
  bool trim() { return false; }

 private:
  struct Link {
    Link* next;
  };
  Link* first_ = nullptr;
};

// Calls visitor(contestant) with the contestant of that name; false when there is none.
template <class Visitor>
bool visit_contestant(std::string_view name, Visitor&& visitor) {
  const auto visit = [&](auto contestant) {
    visitor(*contestant);
    return true;
  };
  if (name == "ours") return visit(std::make_unique<Ours>());
  if (name == "ours-as-resource") return visit(std::make_unique<OursAsResource>());
  if (name == "malloc") return visit(std::make_unique<Malloc>());
  if (name == "pmr-sync") return visit(std::make_unique<PmrPool<std::pmr::synchronized_pool_resource>>());
  if (name == "pmr-unsync") return visit(std::make_unique<PmrPool<std::pmr::unsynchronized_pool_resource>>());
  if (name == "free-list") return visit(std::make_unique<FreeList>());
  return false;
}

}  // namespace lobit::bench

#include "bench/allocators/contestants.h"

#include <utility>

#include <dlfcn.h>
#include <malloc.h>

#include "lobit/base/check.h"

namespace lobit::bench {
namespace {

// A function of whichever malloc is loaded, or nullptr.
template <class Function>
Function* symbol(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

using Mallctl = int(const char*, void*, size_t*, void*, size_t);

}  // namespace

std::unique_ptr<OurResource> make_our_resource() {
  auto made = OurResource::create();
  LOBIT_CHECK(made.has_value());
  return std::move(*made);
}

std::string_view loaded_malloc() {
  if (symbol<void>("mi_collect") != nullptr) return "mimalloc";
  if (symbol<void>("mallctl") != nullptr) return "jemalloc";
  if (symbol<void>("MallocExtension_ReleaseFreeMemory") != nullptr) return "tcmalloc";
  return "glibc";
}

void trim_malloc() {
  if (auto* const collect = symbol<void(bool)>("mi_collect")) {
    collect(true);
  } else if (auto* const control = symbol<Mallctl>("mallctl")) {
    control("thread.tcache.flush", nullptr, nullptr, nullptr, 0);
    control("arena.4096.purge", nullptr, nullptr, nullptr, 0);  // 4096 stands for all arenas
  } else if (auto* const release = symbol<void()>("MallocExtension_ReleaseFreeMemory")) {
    release();
  } else {
    malloc_trim(0);
  }
}

}  // namespace lobit::bench

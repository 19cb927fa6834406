// LOBIT_CHECK(condition): ends the program when lobit itself is wrong. Never for file contents, sizes or
// arguments, which are errors. LOBIT_DCHECK is the same where the check would cost time; it is compiled only
// without NDEBUG.
#pragma once

#include "lobit/base/export.h"

namespace lobit::detail {
[[noreturn]] LOBIT_API void check_failed(const char* condition, const char* file, int line);
}  // namespace lobit::detail

#define LOBIT_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::lobit::detail::check_failed(#condition, __FILE__, __LINE__))
#ifdef NDEBUG
#define LOBIT_DCHECK(condition) static_cast<void>(0)
#else
#define LOBIT_DCHECK(condition) LOBIT_CHECK(condition)
#endif

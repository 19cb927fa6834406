// Result<T>: a value or an Error. Status: success or an Error. Nothing in lobit throws except std::bad_alloc
// of small standard containers.
//
//   Result<File> f = File::open(path);
//   if (!f) return report(f.error());
//
// Inside a function that itself returns a Result or Status:
//
//   LOBIT_TRY(File file, File::open(path));      // declares `file` or returns the error
//   LOBIT_RETURN_IF_ERROR(file.sync());
#pragma once

#include <string>
#include <utility>

#include <tl/expected.hpp>

#include "lobit/base/error.h"

namespace lobit {

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

// The error side of a Result: `return fail(ErrorCode::kIo, "...");`
[[nodiscard]] inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}
[[nodiscard]] inline tl::unexpected<Error> fail(ErrorCode code, std::string message,
                                                ErrorDetail detail = {}) {
  return fail(Error{code, std::move(message), std::move(detail)});
}

}  // namespace lobit

#define LOBIT_CONCAT_INNER(a, b) a##b
#define LOBIT_CONCAT(a, b) LOBIT_CONCAT_INNER(a, b)

#define LOBIT_TRY_INNER(declaration, expression, tmp)     \
  auto tmp = (expression);                                \
  if (!tmp) return ::lobit::fail(std::move(tmp).error()); \
  declaration = std::move(*tmp)
#define LOBIT_TRY(declaration, expression) \
  LOBIT_TRY_INNER(declaration, expression, LOBIT_CONCAT(lobit_try_, __COUNTER__))

#define LOBIT_RETURN_IF_ERROR_INNER(expression, status) \
  do {                                                  \
    if (auto status = (expression); !status) {          \
      return ::lobit::fail(std::move(status).error());  \
    }                                                   \
  } while (false)
#define LOBIT_RETURN_IF_ERROR(expression) \
  LOBIT_RETURN_IF_ERROR_INNER(expression, LOBIT_CONCAT(lobit_status_, __COUNTER__))

#include <cerrno>
#include <system_error>

#include <fmt/format.h>

#include "lobit/io/system_error_internal.h"

namespace lobit {

tl::unexpected<Error> system_error(std::string_view what, std::string_view where, int error) {
  const ErrorCode code = error == ENOENT   ? ErrorCode::kNotFound
                         : error == ENOMEM ? ErrorCode::kOutOfMemory
                                           : ErrorCode::kIo;
  return fail(code, fmt::format("{}: {}: {}", where, what, std::generic_category().message(error)));
}

}  // namespace lobit

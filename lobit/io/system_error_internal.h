// What the parts of io say when a system call failed. Not installed.
#pragma once

#include <string_view>

#include "lobit/base/result.h"

namespace lobit {

// "where: what: the system's words" for a value of errno: kNotFound for ENOENT, kOutOfMemory for ENOMEM, kIo
// for all others.
tl::unexpected<Error> system_error(std::string_view what, std::string_view where, int error);

}  // namespace lobit

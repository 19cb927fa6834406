// Error: why an operation of lobit failed, as a code for programs, a message for people and the numbers
// behind the message. A plain value; copy and move it freely between threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lobit/base/export.h"

namespace lobit {

enum class ErrorCode : uint8_t {
  kInvalidArgument,  // the caller asked for something that cannot be
  kOutOfMemory,      // the system or a pool has no memory left
  kLimit,            // does not fit the limit that the user named
  kNotFound,         // a file, tensor or key is not there
  kCorrupt,          // a file breaks its format's rules
  kIo,               // the system refused to read or write
  kUnsupported,      // valid, but lobit cannot do it
  kDataLoss,         // a value would be lost (overflow, NaN) and the caller did not allow it
  kDevice,           // an accelerator failed
  kCancelled,        // stopped by the caller
};

// The numbers of an error. A field that does not apply stays empty. (The initialisers let designated ones
// leave fields out without a warning.)
struct ErrorDetail {
  std::optional<uint64_t> offset = std::nullopt;     // bytes from the start of the file
  std::optional<uint64_t> index = std::nullopt;      // element, tensor or argument number
  std::optional<uint64_t> required = std::nullopt;   // what was needed, in bytes or elements
  std::optional<uint64_t> available = std::nullopt;  // what there was, in the same unit
  std::string from = {};                             // encoding, type or device on the source's side
  std::string to = {};                               // the same on the target's side
};

// `message` reads "what: where: expected and found", without a trailing full stop.
struct Error {
  ErrorCode code = ErrorCode::kInvalidArgument;
  std::string message;
  ErrorDetail detail;
};

// "corrupt", "limit", ...: the code's name in messages and JSON.
LOBIT_API std::string_view error_code_name(ErrorCode code);

}  // namespace lobit

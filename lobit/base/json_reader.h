// A strict reader of JSON that comes from outside: events instead of a tree, so that memory stays bounded by
// what the handler keeps. Refuses invalid UTF-8, lone surrogates, byte-order marks, comments and trailing
// text. Nesting is not limited here (the parser does not recurse); handlers refuse depth that they do not
// expect. Duplicate keys are the handler's business. Beside one string and one bit for each level of nesting
// the parser holds no memory of its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

// Receives the events of one document in order. The first error it returns ends the parse and comes back from
// parse_json, with the offset of the event's token filled in where the handler left it empty. By default
// every event is an error, so a handler overrides just what its format allows.
class LOBIT_API JsonHandler {
 public:
  virtual ~JsonHandler() = default;
  virtual Status on_null() { return unexpected("null"); }
  virtual Status on_bool(bool) { return unexpected("a boolean"); }
  virtual Status on_unsigned(uint64_t) { return unexpected("a number"); }
  virtual Status on_negative(int64_t) { return unexpected("a negative number"); }
  // A number with a fraction or an exponent, or one that no 64-bit integer holds.
  virtual Status on_float(double) { return unexpected("a number that is not a 64-bit integer"); }
  virtual Status on_string(std::string&&) { return unexpected("a string"); }
  virtual Status on_object_start() { return unexpected("an object"); }
  virtual Status on_key(std::string&&) { return unexpected("a key"); }
  virtual Status on_object_end() { return {}; }
  virtual Status on_array_start() { return unexpected("an array"); }
  virtual Status on_array_end() { return {}; }

 protected:
  static Status unexpected(std::string_view found);
  // Where the token of the current event starts, counted as in errors.
  uint64_t offset() const { return offset_; }

 private:
  friend class JsonParser;
  uint64_t offset_ = 0;
};

// Feeds `text` to `handler`. kCorrupt when the text is not JSON, with the offset of the byte that cannot
// stand there: from the start of `text`, plus `base_offset`. `what` names the document in messages.
LOBIT_API Status parse_json(std::string_view text, JsonHandler& handler, std::string_view what,
                            uint64_t base_offset = 0);

}  // namespace lobit

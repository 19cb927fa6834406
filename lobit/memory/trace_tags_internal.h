// TraceTags: which tags a trace names, as numbers. Behind the reader and the writer of traces, who own one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/result.h"

namespace lobit::detail {

class TraceTags {
 public:
  // The number of a name, which is taken in when it is new. kCorrupt for a name that no tag may have, kLimit
  // beyond kMaxTraceTags; both without saying where.
  Result<uint8_t> number(std::string_view name);

  const std::vector<std::string>& names() const { return names_; }

 private:
  std::vector<std::string> names_ = {"untagged"};
  size_t last_ = 0;  // that was asked for: most events have the tag of the one before
};

}  // namespace lobit::detail

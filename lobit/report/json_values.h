// How reports write JSON. Internal to report; only for .cc files.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace lobit::detail {

using Json = nlohmann::ordered_json;

// Bytes that are not UTF-8 become U+FFFD, for a report must come out whatever a file's names are; numbers
// that are not finite become null.
inline std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

inline void set_if(Json& object, const char* key, const std::optional<double>& value) {
  if (value) object[key] = *value;
}

}  // namespace lobit::detail

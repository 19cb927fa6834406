// What the measuring programs share: options on the command line, and one JSON object on stdout.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace lobit::bench {

// `--name value`; a bool has no value and becomes true. Numbers are 0 or above.
struct Option {
  std::string_view name;
  std::variant<std::string*, size_t*, double*, bool*> target;
};

// Writes what the arguments say to the targets. False for an unknown option or one whose value is missing or
// wrong.
bool read_options(const std::vector<std::string>& arguments, std::span<const Option> options);

// Ends a program that has measured: its exit status.
int print_result(const nlohmann::json& result);

}  // namespace lobit::bench

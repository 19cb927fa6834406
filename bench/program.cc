#include "bench/program.h"

#include <algorithm>
#include <charconv>
#include <iostream>
#include <type_traits>

#include <nlohmann/json.hpp>

namespace lobit::bench {
namespace {

bool read_value(const std::string& text, std::string& value) {
  value = text;
  return true;
}

template <class Number>
bool read_value(const std::string& text, Number& number) {
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && rest == end && number >= 0;
}

}  // namespace

bool read_options(const std::vector<std::string>& arguments, std::span<const Option> options) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const auto option = std::ranges::find(options, arguments[i], &Option::name);
    if (option == options.end()) return false;
    const auto read = [&](auto* target) {
      if constexpr (std::is_same_v<decltype(target), bool*>) {
        *target = true;
        return true;
      } else {
        ++i;
        return i < arguments.size() && read_value(arguments[i], *target);
      }
    };
    if (!std::visit(read, option->target)) return false;
  }
  return true;
}

int print_result(const nlohmann::json& result) {
  std::cout << result.dump() << "\n";
  return 0;
}

}  // namespace lobit::bench

#include "lobit/format/split.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace lobit {
namespace {

constexpr std::string_view kSuffix = ".gguf";
constexpr std::string_view kOf = "-of-";
constexpr size_t kDigits = 5;

// Cuts five digits off the end of `text`.
std::optional<uint32_t> take_number(std::string_view& text) {
  if (text.size() < kDigits) return std::nullopt;
  const std::string_view digits = text.substr(text.size() - kDigits);
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + kDigits, number);
  if (error != std::errc() || end != digits.data() + kDigits) return std::nullopt;
  text.remove_suffix(kDigits);
  return number;
}

bool take_suffix(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

}  // namespace

std::string split_part_name(std::string_view stem, uint32_t number, uint32_t count) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", stem, number, count);
}

std::optional<SplitName> parse_split_part_name(std::string_view file_name) {
  if (!take_suffix(file_name, kSuffix)) return std::nullopt;
  const std::optional<uint32_t> count = take_number(file_name);
  if (!count || !take_suffix(file_name, kOf)) return std::nullopt;
  const std::optional<uint32_t> number = take_number(file_name);
  if (!number || !take_suffix(file_name, "-") || *number == 0 || *number > *count) return std::nullopt;
  return SplitName{std::string(file_name), *number, *count};
}

}  // namespace lobit

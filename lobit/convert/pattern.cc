#include "lobit/convert/pattern.h"

#include <array>

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace lobit {
namespace {

// Far above what an honest pattern needs on a tensor's name, reached in a few milliseconds by one that
// backtracks without end.
constexpr uint32_t kMatchLimit = 200'000;
constexpr uint32_t kDepthLimit = 10'000;

}  // namespace

struct Pattern::Compiled {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_match_data* data = nullptr;

  Compiled() = default;
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
  ~Compiled() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
};

Result<Pattern> Pattern::compile(std::string_view text) {
  auto compiled = std::make_unique<Compiled>();
  int error = 0;
  PCRE2_SIZE position = 0;
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                 PCRE2_NEVER_BACKSLASH_C, &error, &position, nullptr);
  if (compiled->code == nullptr) {
    std::array<PCRE2_UCHAR, 128> message{};
    pcre2_get_error_message(error, message.data(), message.size());
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("pattern '{}': at character {}: {}", text, position,
                            reinterpret_cast<const char*>(message.data())),
                {.offset = position});
  }
  compiled->context = pcre2_match_context_create(nullptr);
  compiled->data = pcre2_match_data_create(1, nullptr);
  if (compiled->context == nullptr || compiled->data == nullptr) {
    return fail(ErrorCode::kOutOfMemory, "pattern: no memory to compile it");
  }
  pcre2_set_match_limit(compiled->context, kMatchLimit);
  pcre2_set_depth_limit(compiled->context, kDepthLimit);
  return Pattern(std::string(text), std::move(compiled));
}

Pattern::Pattern(std::string text, std::unique_ptr<Compiled> compiled)
    : text_(std::move(text)), compiled_(std::move(compiled)) {}
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

Result<bool> Pattern::found_in(std::string_view subject) const {
  const int result = pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(subject.data()),
                                 subject.size(), 0, 0, compiled_->data, compiled_->context);
  if (result >= 0) return true;
  if (result == PCRE2_ERROR_NOMATCH) return false;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("pattern '{}': takes too many steps on '{}'", text_, subject));
}

}  // namespace lobit

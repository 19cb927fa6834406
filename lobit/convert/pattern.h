// Pattern: a compiled regular expression in Perl syntax, matched with bounded time and memory (PCRE2's match
// and depth limits), because patterns and names come from users and files. Immutable; one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lobit/base/result.h"

namespace lobit {

class Pattern {
 public:
  // kInvalidArgument with the position when `text` is not a pattern.
  static Result<Pattern> compile(std::string_view text);

  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  // Whether the pattern is found anywhere in `subject`. kInvalidArgument when that takes too many steps.
  Result<bool> found_in(std::string_view subject) const;

 private:
  struct Compiled;
  Pattern(std::string text, std::unique_ptr<Compiled> compiled);
  std::string text_;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace lobit

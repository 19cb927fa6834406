#include "lobit/convert/policy.h"

#include <algorithm>

#include <fmt/format.h>

#include "lobit/convert/pattern.h"
#include "lobit/format/tensor_role.h"
#include "lobit/quant/quantize_method.h"

namespace lobit {
namespace {

// What takes the place of an encoding whose block does not divide a tensor's rows. Q2_0's direct codes are
// ternary, so nothing is lost on the first step.
Encoding next_fallback(Encoding encoding) {
  switch (encoding) {
    case Encoding::kTQ1_0:
    case Encoding::kTQ2_0:
    case Encoding::kQ1_0:
      return Encoding::kQ2_0;
    case Encoding::kQ2_0:
      return Encoding::kQ4_0;
    default:
      return Encoding::kF16;
  }
}

bool divides(Encoding encoding, const TensorEntry& tensor) {
  return tensor.shape.row_elements() % traits(encoding).block_elements == 0;
}

// Integers, booleans and the like: numbers that no quantizer may touch.
bool is_weights(Encoding encoding) {
  const EncodingTraits& t = traits(encoding);
  return t.can_decode || t.is_block();
}

Status check_writable(Encoding encoding, std::string_view where) {
  if (traits(encoding).can_encode) return {};
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}: lobit cannot encode {}; it can {}", where, encoding_name(encoding),
                          traits(encoding).can_decode ? "only read it" : "only list and copy it"),
              {.to = std::string(encoding_name(encoding))});
}

// A tensor with its place in the model cannot become `encoding`: says why.
Status check_convertible(const TensorEntry& tensor, Encoding encoding) {
  if (tensor.encoding == encoding || traits(tensor.encoding).can_decode) return {};
  return fail(
      ErrorCode::kUnsupported,
      fmt::format("tensor '{}': lobit cannot decode {}, so it cannot become {}; --keep copies it",
                  tensor.name, encoding_name(tensor.encoding), encoding_name(encoding)),
      {.from = std::string(encoding_name(tensor.encoding)), .to = std::string(encoding_name(encoding))});
}

// The policy with its patterns compiled.
class Chooser {
 public:
  static Result<Chooser> create(const EncodingPolicy& policy) {
    if (!policy.to && policy.rules.empty() && policy.keep.empty()) {
      return fail(ErrorCode::kInvalidArgument, "conversion: expected an encoding or a rule, found neither");
    }
    Chooser chooser(policy);
    if (policy.to && !traits(*policy.to).safetensors_name.empty() && !traits(*policy.to).can_encode) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("encoding {}: plain numbers are copied as they are; weights cannot become them",
                              encoding_name(*policy.to)));
    }
    if (policy.to) {
      LOBIT_RETURN_IF_ERROR(check_writable(*policy.to, "encoding"));
    }
    for (const EncodingRule& rule : policy.rules) {
      LOBIT_TRY(Pattern pattern, Pattern::compile(rule.pattern));
      chooser.rules_.push_back(std::move(pattern));
    }
    for (const std::string& text : policy.keep) {
      LOBIT_TRY(Pattern pattern, Pattern::compile(text));
      chooser.keep_.push_back(std::move(pattern));
    }
    chooser.rule_matches_.resize(policy.rules.size());
    chooser.rule_found_.resize(policy.rules.size());
    chooser.keep_found_.resize(policy.keep.size());
    return chooser;
  }

  Result<EncodingChoice> choose(const TensorEntry& tensor) {
    LOBIT_TRY(EncodingChoice choice, choose_encoding(tensor));
    if (has_scale_search(choice.encoding) && choice.encoding != tensor.encoding) {
      choice.method =
          choice.reason == ChoiceReason::kRule ? policy_.rules[choice.rule].method : policy_.method;
    }
    return choice;
  }

  Result<std::vector<size_t>> finish() && {
    for (size_t i = 0; i < rule_found_.size(); ++i) {
      if (!rule_found_[i]) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("rule '{}={}': matches no tensor", policy_.rules[i].pattern,
                                encoding_name(policy_.rules[i].encoding)),
                    {.index = i});
      }
    }
    for (size_t i = 0; i < keep_found_.size(); ++i) {
      if (!keep_found_[i]) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("keep '{}': matches no tensor", policy_.keep[i]),
                    {.index = i});
      }
    }
    return std::move(rule_matches_);
  }

 private:
  explicit Chooser(const EncodingPolicy& policy) : policy_(policy) {}

  Result<EncodingChoice> choose_encoding(const TensorEntry& tensor) {
    LOBIT_TRY(const bool keep, find_keep(tensor));
    LOBIT_TRY(const size_t rule, find_rule(tensor));
    if (keep) return EncodingChoice{tensor.encoding, ChoiceReason::kKept};
    if (rule < rules_.size()) return by_rule(tensor, rule);
    if (!policy_.to) return EncodingChoice{tensor.encoding, ChoiceReason::kKept};
    return by_default(tensor, *policy_.to);
  }

  Result<bool> find_keep(const TensorEntry& tensor) {
    bool any = false;
    for (size_t i = 0; i < keep_.size(); ++i) {
      LOBIT_TRY(const bool found, keep_[i].found_in(tensor.name));
      if (found) keep_found_[i] = any = true;
    }
    return any;
  }

  // The first rule that names the tensor, or rules_.size().
  Result<size_t> find_rule(const TensorEntry& tensor) {
    size_t first = rules_.size();
    for (size_t i = 0; i < rules_.size(); ++i) {
      LOBIT_TRY(const bool found, rules_[i].found_in(tensor.name));
      if (!found) continue;
      rule_found_[i] = true;
      first = std::min(first, i);
    }
    return first;
  }

  Result<EncodingChoice> by_rule(const TensorEntry& tensor, size_t rule) {
    const Encoding encoding = policy_.rules[rule].encoding;
    const std::string where =
        fmt::format("rule '{}={}'", policy_.rules[rule].pattern, encoding_name(encoding));
    if (tensor.encoding != encoding) {
      LOBIT_RETURN_IF_ERROR(check_writable(encoding, where));
    }
    LOBIT_RETURN_IF_ERROR(check_convertible(tensor, encoding));
    if (!divides(encoding, tensor)) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{}: tensor '{}': rows of {} do not divide by {}'s {}", where, tensor.name,
                      tensor.shape.row_elements(), encoding_name(encoding), traits(encoding).block_elements),
          {.index = rule,
           .required = traits(encoding).block_elements,
           .available = tensor.shape.row_elements()});
    }
    ++rule_matches_[rule];
    return EncodingChoice{encoding, ChoiceReason::kRule, rule};
  }

  Result<EncodingChoice> by_default(const TensorEntry& tensor, Encoding to) const {
    if (!is_weights(tensor.encoding)) return EncodingChoice{tensor.encoding, ChoiceReason::kNumbers};
    EncodingChoice choice{to, ChoiceReason::kTo};
    const TensorRole role = tensor_role(tensor.name);
    if (tensor.shape.rank() < 2) {
      choice = {Encoding::kF32, ChoiceReason::kSmall};
    } else if (policy_.defaults == PolicyDefaults::kUsable) {
      const bool vocab = role == TensorRole::kEmbedding || role == TensorRole::kOutput;
      if (role == TensorRole::kNorm) choice = {Encoding::kF32, ChoiceReason::kNorm};
      if (role == TensorRole::kRouter) choice = {Encoding::kF32, ChoiceReason::kRouter};
      if (vocab && traits(to).bits_per_weight() < 8) choice = {Encoding::kQ8_0, ChoiceReason::kVocab};
    }
    if (!divides(choice.encoding, tensor)) {
      choice.wanted = choice.encoding;
      choice.reason = ChoiceReason::kFallback;
      while (!divides(choice.encoding, tensor)) choice.encoding = next_fallback(choice.encoding);
    }
    LOBIT_RETURN_IF_ERROR(check_convertible(tensor, choice.encoding));
    return choice;
  }

  const EncodingPolicy& policy_;
  std::vector<Pattern> rules_;
  std::vector<Pattern> keep_;
  std::vector<size_t> rule_matches_;
  std::vector<bool> rule_found_;
  std::vector<bool> keep_found_;
};

}  // namespace

Result<EncodingRule> EncodingRule::parse(std::string_view text) {
  const size_t at = text.rfind('=');
  if (at == std::string_view::npos || at == 0) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("rule '{}': expected REGEX=ENCODING", text));
  }
  const auto encoding = parse_encoding(text.substr(at + 1));
  if (!encoding) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("rule '{}': unknown encoding '{}'", text, text.substr(at + 1)));
  }
  return EncodingRule{std::string(text.substr(0, at)), *encoding, method_of_name(text.substr(at + 1))};
}

std::string describe(const EncodingChoice& choice, const EncodingPolicy& policy, const TensorEntry& tensor) {
  switch (choice.reason) {
    case ChoiceReason::kTo:
      return "";
    case ChoiceReason::kKept:
      return "kept";
    case ChoiceReason::kRule:
      return fmt::format("rule '{}'", policy.rules[choice.rule].pattern);
    case ChoiceReason::kSmall:
      return "1-D";
    case ChoiceReason::kNorm:
      return "norm";
    case ChoiceReason::kRouter:
      return "router";
    case ChoiceReason::kVocab:
      return "vocabulary";
    case ChoiceReason::kNumbers:
      return "numbers, copied";
    case ChoiceReason::kFallback:
      return fmt::format("rows of {} do not divide by {}'s {}", tensor.shape.row_elements(),
                         encoding_name(*choice.wanted), traits(*choice.wanted).block_elements);
  }
  return "";
}

Result<EncodingChoices> choose_encodings(std::span<const TensorEntry> tensors, const EncodingPolicy& policy) {
  LOBIT_TRY(Chooser chooser, Chooser::create(policy));
  EncodingChoices choices;
  choices.tensors.reserve(tensors.size());
  for (const TensorEntry& tensor : tensors) {
    LOBIT_TRY(const EncodingChoice choice, chooser.choose(tensor));
    choices.tensors.push_back(choice);
  }
  LOBIT_TRY(choices.rule_matches, std::move(chooser).finish());
  return choices;
}

}  // namespace lobit

// Which encoding every tensor of a model gets: the user's rules first, then defaults that keep a model
// usable.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/dtype/encoding.h"
#include "lobit/format/tensor_entry.h"
#include "lobit/quant/quantize_method.h"

namespace lobit {

// Tensors whose name the pattern finds (Perl syntax, searched, not a full match) get `encoding`.
struct EncodingRule {
  std::string pattern;
  Encoding encoding = Encoding::kF32;
  QuantizeMethod method = QuantizeMethod::kDirect;

  // "REGEX=ENCODING", split at the last '='; the method is method_of_name(ENCODING). kInvalidArgument when
  // the form or the encoding is unknown.
  LOBIT_API static Result<EncodingRule> parse(std::string_view text);
};

enum class PolicyDefaults : uint8_t {
  // 1-D tensors, norms and routers become F32; embeddings and the output Q8_0 when `to` has fewer than 8
  // bits.
  kUsable,
  // Every tensor with two or more dimensions gets `to`; the others F32.
  kPure,
};

struct EncodingPolicy {
  std::optional<Encoding> to = {};       // nothing: tensors that no rule names are kept
  std::vector<EncodingRule> rules = {};  // the first that matches wins, before any default
  std::vector<std::string> keep = {};    // patterns of tensors that are copied unchanged; win over rules
  PolicyDefaults defaults = PolicyDefaults::kUsable;
  QuantizeMethod method = QuantizeMethod::kDirect;  // of the tensors that no rule names
};

// Why a tensor gets its encoding.
enum class ChoiceReason : uint8_t {
  kTo,        // it is what `to` says
  kKept,      // named by a keep pattern, or nothing says anything about it
  kRule,      // named by a rule
  kSmall,     // a scalar or 1-D tensor: F32
  kNorm,      // F32
  kRouter,    // F32
  kVocab,     // embedding or output: Q8_0
  kNumbers,   // integers, booleans, F64, ...: copied
  kFallback,  // the encoding it would get does not divide its rows
};

struct EncodingChoice {
  Encoding encoding = Encoding::kF32;
  ChoiceReason reason = ChoiceReason::kTo;
  size_t rule = 0;                      // with kRule
  std::optional<Encoding> wanted = {};  // with kFallback: what did not divide
  // kDirect where there is nothing to search; see has_scale_search().
  QuantizeMethod method = QuantizeMethod::kDirect;
};

// "rule 'ffn=q4_0'", "rows of 100 do not divide by tq2_0's 256", ... for logs and reports.
LOBIT_API std::string describe(const EncodingChoice& choice, const EncodingPolicy& policy,
                               const TensorEntry& tensor);

struct EncodingChoices {
  std::vector<EncodingChoice> tensors;  // one for each tensor, in order
  std::vector<size_t> rule_matches;     // how many tensors each rule names first
};

// kInvalidArgument: nothing is asked for, a pattern does not compile, or a rule or keep pattern matches
// nothing or takes too many steps on a name, or a rule's encoding does not divide the rows. kUnsupported: an
// encoding that lobit cannot write, or not by this method, or a tensor that it cannot decode (keep it
// instead).
LOBIT_API Result<EncodingChoices> choose_encodings(std::span<const TensorEntry> tensors,
                                                   const EncodingPolicy& policy);

}  // namespace lobit

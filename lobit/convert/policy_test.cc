#include "lobit/convert/policy.h"

#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"

namespace lobit {
namespace {

TensorEntry tensor(std::string name, std::vector<int64_t> extents, Encoding encoding = Encoding::kF16) {
  TensorEntry t;
  t.name = std::move(name);
  t.shape = *Shape::create(extents);
  t.encoding = encoding;
  return t;
}

std::vector<TensorEntry> llama() {
  return {
      tensor("token_embd.weight", {512, 256}),      tensor("blk.0.attn_norm.weight", {256}, Encoding::kF32),
      tensor("blk.0.attn_q.weight", {256, 256}),    tensor("blk.0.ffn_gate_inp.weight", {8, 256}),
      tensor("blk.0.ffn_down.weight", {256, 100}),  tensor("blk.0.ffn_up.weight", {100, 256}),
      tensor("rope_ids", {16}, Encoding::kRawI32),  tensor("output.weight", {512, 256}),
      tensor("blk.0.ffn_odd.weight", {256, 64 * 3})};
}

std::vector<Encoding> encodings(const EncodingChoices& choices) {
  std::vector<Encoding> list;
  for (const EncodingChoice& choice : choices.tensors) list.push_back(choice.encoding);
  return list;
}

TEST(ChooseEncodings, DefaultsKeepAModelUsable) {
  using enum Encoding;
  const auto choices = choose_encodings(llama(), {.to = kTQ2_0});
  ASSERT_THAT(choices, is_ok());
  EXPECT_EQ(encodings(*choices),
            (std::vector{kQ8_0, kF32, kTQ2_0, kF32, kF16, kTQ2_0, kRawI32, kQ8_0, kQ2_0}));
  EXPECT_EQ(choices->tensors[4].reason, ChoiceReason::kFallback);
  EXPECT_EQ(choices->tensors[4].wanted, kTQ2_0);
  EXPECT_EQ(choices->tensors[6].reason, ChoiceReason::kNumbers);
}

TEST(ChooseEncodings, PureGivesEveryMatrixTheEncoding) {
  using enum Encoding;
  const auto choices = choose_encodings(llama(), {.to = kTQ2_0, .defaults = PolicyDefaults::kPure});
  ASSERT_THAT(choices, is_ok());
  EXPECT_EQ(encodings(*choices),
            (std::vector{kTQ2_0, kF32, kTQ2_0, kTQ2_0, kF16, kTQ2_0, kRawI32, kTQ2_0, kQ2_0}));
}

TEST(ChooseEncodings, VocabularyFollowsEncodingsOfEightBitsAndMore) {
  const auto choices = choose_encodings(llama(), {.to = Encoding::kBF16});
  ASSERT_THAT(choices, is_ok());
  EXPECT_EQ(choices->tensors[0].encoding, Encoding::kBF16);
}

TEST(ChooseEncodings, TheFirstMatchingRuleWinsAndBeatsDefaults) {
  using enum Encoding;
  const EncodingPolicy policy{
      .to = kTQ2_0, .rules = {{"attn", kQ8_0}, {"attn_q|token", kQ4_0}}, .keep = {"^output"}};
  const auto choices = choose_encodings(llama(), policy);
  ASSERT_THAT(choices, is_ok());
  EXPECT_EQ(choices->tensors[0].encoding, kQ4_0);
  EXPECT_EQ(choices->tensors[1].encoding, kQ8_0);
  EXPECT_EQ(choices->tensors[2].encoding, kQ8_0);
  EXPECT_EQ(choices->tensors[7].encoding, kF16);
  EXPECT_EQ(choices->rule_matches, (std::vector<size_t>{2, 1}));
}

TEST(ChooseEncodings, WithRulesAloneTheRestIsKept) {
  const auto choices = choose_encodings(llama(), {.rules = {{"ffn_up", Encoding::kQ4_0}}});
  ASSERT_THAT(choices, is_ok());
  EXPECT_EQ(choices->tensors[5].encoding, Encoding::kQ4_0);
  EXPECT_EQ(choices->tensors[2].encoding, Encoding::kF16);
  EXPECT_EQ(choices->tensors[2].reason, ChoiceReason::kKept);
}

TEST(ChooseEncodings, RefusesWhatCannotBe) {
  using enum Encoding;
  using enum ErrorCode;
  const auto fails = [](const EncodingPolicy& policy) { return choose_encodings(llama(), policy); };
  EXPECT_THAT(fails({}), fails_with(kInvalidArgument));
  EXPECT_THAT(fails({.to = kQ8_0, .rules = {{"nothing_is_called_so", kF16}}}), fails_with(kInvalidArgument));
  EXPECT_THAT(fails({.to = kQ8_0, .keep = {"nothing_is_called_so"}}), fails_with(kInvalidArgument));
  EXPECT_THAT(fails({.to = kQ8_0, .rules = {{"(", kF16}}}), fails_with(kInvalidArgument));
  EXPECT_THAT(fails({.to = kQ8_0, .rules = {{"ffn_down", kQ8_0}}}), fails_with(kInvalidArgument));
  EXPECT_THAT(fails({.to = kQ4_K}), fails_with(kUnsupported));
  EXPECT_THAT(fails({.to = kRawI8}), fails_with(kUnsupported));
  EXPECT_THAT(fails({.to = kQ8_0, .rules = {{"attn_q", kIQ4_NL}}}), fails_with(kUnsupported));
}

TEST(ChooseEncodings, WhatCannotBeDecodedMustBeKept) {
  const std::vector<TensorEntry> tensors{tensor("a.weight", {2, 256}, Encoding::kIQ4_NL)};
  const auto refused = choose_encodings(tensors, {.to = Encoding::kQ8_0});
  ASSERT_THAT(refused, fails_with(ErrorCode::kUnsupported));
  EXPECT_NE(refused.error().message.find("a.weight"), std::string::npos);
  const auto kept = choose_encodings(tensors, {.to = Encoding::kQ8_0, .keep = {"a"}});
  ASSERT_THAT(kept, is_ok());
  EXPECT_EQ(kept->tensors[0].encoding, Encoding::kIQ4_NL);
}

TEST(ChooseEncodings, APatternThatBacktracksWithoutEndIsStopped) {
  const std::vector<TensorEntry> tensors{tensor(std::string(40, 'a') + "!", {2, 256})};
  EXPECT_THAT(choose_encodings(tensors, {.to = Encoding::kQ8_0, .rules = {{"^(a+)+$", Encoding::kF16}}}),
              fails_with(ErrorCode::kInvalidArgument));
}

TEST(ChooseEncodings, MethodsGoWhereThereIsAScaleToFind) {
  using enum Encoding;
  using enum QuantizeMethod;
  std::vector<TensorEntry> tensors = llama();
  tensors.push_back(tensor("same.weight", {2, 256}, kTQ2_0));
  const EncodingPolicy policy{
      .to = kTQ2_0, .rules = {{"attn_q", kQ4_0, kExact}, {"ffn_up", kQ4_0}}, .method = kScaled};
  const auto choices = choose_encodings(tensors, policy);
  ASSERT_THAT(choices, is_ok());
  std::vector<QuantizeMethod> methods;
  for (const EncodingChoice& choice : choices->tensors) methods.push_back(choice.method);
  // q8_0, f32, rule, f32, f16, rule, numbers, q8_0, a fallback to q2_0, kept.
  EXPECT_EQ(methods, (std::vector{kScaled, kDirect, kExact, kDirect, kDirect, kDirect, kDirect, kScaled,
                                  kScaled, kDirect}));
}

TEST(EncodingRule, TakesTheMethodOfItsName) {
  EXPECT_EQ(EncodingRule::parse("a=i4")->method, QuantizeMethod::kScaled);
  EXPECT_EQ(EncodingRule::parse("a=q4_0")->method, QuantizeMethod::kDirect);
}

TEST(EncodingRule, IsSplitAtItsLastEqualsSign) {
  const auto rule = EncodingRule::parse("a=b=Q4_0");
  ASSERT_THAT(rule, is_ok());
  EXPECT_EQ(rule->pattern, "a=b");
  EXPECT_EQ(rule->encoding, Encoding::kQ4_0);
  for (const char* text : {"ffn", "=q4_0", "ffn=", "ffn=q9_9", ""}) {
    EXPECT_THAT(EncodingRule::parse(text), fails_with(ErrorCode::kInvalidArgument)) << text;
  }
}

TEST(Describe, NamesTheReason) {
  const std::vector<TensorEntry> tensors = llama();
  const EncodingPolicy policy{.to = Encoding::kTQ2_0, .rules = {{"attn_q", Encoding::kQ8_0}}};
  const auto choices = choose_encodings(tensors, policy);
  ASSERT_THAT(choices, is_ok());
  EXPECT_EQ(describe(choices->tensors[2], policy, tensors[2]), "rule 'attn_q'");
  EXPECT_EQ(describe(choices->tensors[4], policy, tensors[4]), "rows of 100 do not divide by tq2_0's 256");
  EXPECT_EQ(describe(choices->tensors[5], policy, tensors[5]), "");
}

}  // namespace
}  // namespace lobit

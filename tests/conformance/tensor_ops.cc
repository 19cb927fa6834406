#include "tests/conformance/tensor_ops.h"

#include <cstdlib>
#include <utility>

#include "lobit/ops/cast.h"
#include "lobit/ops/compare.h"
#include "lobit/ops/elementwise.h"

namespace lobit {
namespace {

using Tensors = std::span<const Tensor>;
using Words = std::vector<std::string>;

float number(const std::string& word) {
  return std::strtof(word.c_str(), nullptr);
}

void add_elementwise(std::map<std::string, TensorOp>& all) {
  using enum ops::BinaryOp;
  using enum ops::UnaryOp;
  const std::pair<const char*, ops::BinaryOp> binary[] = {{"add", kAdd}, {"sub", kSub}, {"mul", kMul},
                                                          {"div", kDiv}, {"min", kMin}, {"max", kMax}};
  for (const auto& [name, op] : binary) {
    all[name] = {2, 0, [function = op](Tensors in, const Words&, const OpContext& context) {
                   return ops::binary(function, in[0], in[1], context);
                 }};
  }
  const std::pair<const char*, ops::UnaryOp> unary[] = {{"neg", kNeg},
                                                        {"abs", kAbs},
                                                        {"exp", kExp},
                                                        {"log", kLog},
                                                        {"sqrt", kSqrt},
                                                        {"rsqrt", kRsqrt},
                                                        {"tanh", kTanh},
                                                        {"sigmoid", kSigmoid},
                                                        {"silu", kSilu},
                                                        {"gelu", kGelu},
                                                        {"gelu_tanh", kGeluTanh},
                                                        {"relu", kRelu},
                                                        {"squared_relu", kSquaredRelu}};
  for (const auto& [name, op] : unary) {
    all[name] = {1, 0, [function = op](Tensors in, const Words&, const OpContext& context) {
                   return ops::unary(function, in[0], context);
                 }};
  }
  all["clamp"] = {1, 2, [](Tensors in, const Words& words, const OpContext& context) {
                    return ops::clamp(in[0], number(words[0]), number(words[1]), context);
                  }};
  all["where"] = {3, 0, [](Tensors in, const Words&, const OpContext& context) {
                    return ops::where(in[0], in[1], in[2], context);
                  }};
}

void add_comparisons(std::map<std::string, TensorOp>& all) {
  using enum ops::CompareOp;
  const std::pair<const char*, ops::CompareOp> compare[] = {
      {"equal", kEqual},          {"not_equal", kNotEqual}, {"less", kLess},
      {"less_equal", kLessEqual}, {"greater", kGreater},    {"greater_equal", kGreaterEqual}};
  for (const auto& [name, op] : compare) {
    all[name] = {2, 0, [function = op](Tensors in, const Words&, const OpContext& context) {
                   return ops::compare(function, in[0], in[1], context);
                 }};
  }
}

Result<Tensor> cast(Tensors in, const Words& words, const OpContext& context) {
  const std::optional<Encoding> to = parse_encoding(words[0]);
  if (!to) return fail(ErrorCode::kInvalidArgument, "tensor_tool: no encoding: " + words[0]);
  return ops::cast(in[0], *to, context);
}

}  // namespace

const std::map<std::string, TensorOp>& tensor_ops() {
  static const std::map<std::string, TensorOp> kAll = [] {
    std::map<std::string, TensorOp> all;
    add_elementwise(all);
    add_comparisons(all);
    all["cast"] = {1, 1, cast};
    return all;
  }();
  return kAll;
}

}  // namespace lobit

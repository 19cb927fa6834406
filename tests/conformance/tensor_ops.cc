#include "tests/conformance/tensor_ops.h"

#include <cstdlib>
#include <sstream>
#include <utility>

#include "lobit/ops/cast.h"
#include "lobit/ops/compare.h"
#include "lobit/ops/elementwise.h"
#include "lobit/ops/join.h"
#include "lobit/ops/matmul.h"
#include "lobit/ops/normalize.h"
#include "lobit/ops/reduce.h"

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

// "0,2", or "-" for none.
std::vector<size_t> axes_of(const std::string& word) {
  std::vector<size_t> axes;
  std::istringstream text(word);
  for (std::string axis; std::getline(text, axis, ',');) {
    if (axis != "-") axes.push_back(static_cast<size_t>(std::strtoul(axis.c_str(), nullptr, 10)));
  }
  return axes;
}

// NAME AXES keep|drop
void add_reductions(std::map<std::string, TensorOp>& all) {
  using ops::Axes;
  using ops::KeepAxes;
  using Reduce = Result<Tensor> (*)(const Tensor&, Axes, KeepAxes, const OpContext&);
  const std::pair<const char*, Reduce> reduce[] = {{"sum", ops::sum},       {"mean", ops::mean},
                                                   {"least", ops::min},     {"largest", ops::max},
                                                   {"argmin", ops::argmin}, {"argmax", ops::argmax}};
  const auto keep = [](const std::string& word) {
    return word == "keep" ? KeepAxes::kKeep : KeepAxes::kDrop;
  };
  for (const auto& [name, function] : reduce) {
    all[name] = {1, 2,
                 [reduce_one = function, keep](Tensors in, const Words& words, const OpContext& context) {
                   return reduce_one(in[0], axes_of(words[0]), keep(words[1]), context);
                 }};
  }
  all["var"] = {1, 3, [keep](Tensors in, const Words& words, const OpContext& context) {
                  const auto ddof = static_cast<uint64_t>(number(words[2]));
                  return ops::var(in[0], axes_of(words[0]), keep(words[1]), ddof, context);
                }};
  all["softmax"] = {1, 1, [](Tensors in, const Words& words, const OpContext& context) {
                      return ops::softmax(in[0], axes_of(words[0]).at(0), context);
                    }};
  all["layer_norm"] = {3, 1, [](Tensors in, const Words& words, const OpContext& context) {
                         return ops::layer_norm(in[0], in[1], in[2], number(words[0]), context);
                       }};
}

void add_joins(std::map<std::string, TensorOp>& all) {
  all["concat"] = {2, 1, [](Tensors in, const Words& words, const OpContext& context) {
                     return ops::concat(in, axes_of(words[0]).at(0), context);
                   }};
  all["gather"] = {2, 1, [](Tensors in, const Words& words, const OpContext& context) {
                     return ops::gather(in[0], axes_of(words[0]).at(0), in[1], context);
                   }};
  // f32|int8 as|transposed
  all["matmul"] = {
      2, 2, [](Tensors in, const Words& words, const OpContext& context) {
        const ops::MatmulOptions options{
            .transpose_b = words[1] == "transposed" ? ops::TransposeB::kYes : ops::TransposeB::kNo,
            .activations = words[0] == "int8" ? ops::ActivationType::kInt8 : ops::ActivationType::kF32};
        return ops::matmul(in[0], in[1], context, options);
      }};
}

}  // namespace

const std::map<std::string, TensorOp>& tensor_ops() {
  static const std::map<std::string, TensorOp> kAll = [] {
    std::map<std::string, TensorOp> all;
    add_elementwise(all);
    add_comparisons(all);
    add_reductions(all);
    add_joins(all);
    all["cast"] = {1, 1, cast};
    return all;
  }();
  return kAll;
}

}  // namespace lobit

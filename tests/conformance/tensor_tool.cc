// Tensors and conversions for the Python conformance tests: a stack of tensors that lines of standard input
// work on. A line is a verb and its words; `make` is followed by the F32 values of the shape, `load` by bytes
// in the format. Each line is answered by a line "ok N" and N bytes, or "error", a code, an index and a
// message with tabs between them.
//   make FORMAT SHAPE            a tensor of those values       load FORMAT SHAPE    of those bytes
//   copy | drop                  the top once more; without it
//   reshape SHAPE | transpose AXES | slice AXIS FIRST LAST | broadcast SHAPE | contiguous | bit_view FORMAT
//   convert FORMAT [QUALITY]     in_place FORMAT                stream FORMAT CHUNK_BYTES
//   name NAME                    of the top
//   save FILE                    the top                        file FILE [NAME]     one that lies in a file
//   map FILE [NAME]              the same without reading it
//   op NAME [ARGUMENTS]          an operation of tensor_ops.h: takes its operands off, and puts its result on
//   values                       all elements of the top in F32
//   bytes | scales | format      of the top                     shape
// FORMAT is what to_string(ValueFormat) gives, or a dtype; SHAPE and AXES are numbers with commas, or "-" for
// a scalar.
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/conformance/tensor_ops.h"

#include "lobit/base/fp_env.h"
#include "lobit/convert/conversion_engine.h"
#include "lobit/dtype/dtype.h"
#include "lobit/format/tensor_file.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/tensor/tensor.h"

namespace lobit {
namespace {

using Words = std::vector<std::string>;
using Bytes = std::vector<std::byte>;

tl::unexpected<Error> misuse(const std::string& what) {
  return fail(ErrorCode::kInvalidArgument, "tensor_tool: " + what);
}

Result<std::vector<int64_t>> parse_numbers(const std::string& text) {
  std::vector<int64_t> numbers;
  if (text == "-") return numbers;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number);
    if (error != std::errc() || end != part.data() + part.size()) return misuse("no number: " + part);
    numbers.push_back(number);
  }
  return numbers;
}

Result<Shape> parse_shape(const std::string& text) {
  LOBIT_TRY(const std::vector<int64_t> numbers, parse_numbers(text));
  return Shape::create(numbers);
}

// Spaces stand as '_': "i8_per_row".
Result<FormatChoice> parse_format(const std::string& text) {
  if (const std::optional<DType> dtype = parse_dtype(text)) return FormatChoice(*dtype);
  for (const Encoding encoding :
       {Encoding::kQ8_0, Encoding::kQ4_0, Encoding::kQ2_0, Encoding::kQ1_0, Encoding::kTQ2_0}) {
    for (const ScaleGroup scales : {ScaleGroup::kRow, ScaleGroup::kTensor, ScaleGroup::k32, ScaleGroup::k64,
                                    ScaleGroup::k128, ScaleGroup::k256}) {
      std::string name = to_string(ValueFormat{encoding, scales});
      for (char& c : name) c = c == ' ' ? '_' : c;
      if (name == text) return FormatChoice(ValueFormat{encoding, scales});
    }
  }
  const std::optional<Encoding> encoding = parse_encoding(text);
  if (!encoding) return misuse("no format: " + text);
  return FormatChoice(*encoding);
}

class Tool {
 public:
  explicit Tool(MemoryResource& pool, ConversionEngine& engine) : pool_(pool), engine_(engine) {}

  // What a line is answered with.
  Result<Bytes> run(const Words& words) {
    const auto verb = verbs_.find(words[0]);
    if (verb == verbs_.end()) return misuse("no verb: " + words[0]);
    if (words.size() < verb->second.least || words.size() > verb->second.most) {
      return misuse("wrong number of words: " + words[0]);
    }
    if (verb->second.wants_top && stack_.empty()) return misuse("the stack is empty");
    return verb->second.run(words);
  }

 private:
  struct Verb {
    size_t least;
    size_t most;
    bool wants_top;
    std::function<Result<Bytes>(const Words&)> run;
  };

  Tensor& top() { return stack_.back(); }

  Result<Bytes> push(Result<Tensor> tensor) {
    if (!tensor) return fail(std::move(tensor).error());
    stack_.push_back(std::move(*tensor));
    return Bytes();
  }
  Result<Bytes> replace(Result<Tensor> tensor) {
    if (!tensor) return fail(std::move(tensor).error());
    top() = std::move(*tensor);
    return Bytes();
  }
  static Bytes text(const std::string& text) {
    const auto* const first = reinterpret_cast<const std::byte*>(text.data());
    return {first, first + text.size()};
  }
  static Bytes copy(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

  static bool read(void* to, size_t bytes) {
    return bytes == 0 || std::cin.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes)).good();
  }

  Result<Bytes> make(const Words& words) {
    LOBIT_TRY(const FormatChoice format, parse_format(words[1]));
    LOBIT_TRY(const Shape shape, parse_shape(words[2]));
    std::vector<float> values(shape.elements());
    if (!read(values.data(), values.size() * sizeof(float))) return misuse("values are missing");
    return push(Tensor::from_values(values, shape, format, pool_));
  }

  Result<Bytes> load(const Words& words) {
    LOBIT_TRY(const FormatChoice format, parse_format(words[1]));
    LOBIT_TRY(const Shape shape, parse_shape(words[2]));
    const auto layout = format_layout(format.for_shape(shape), shape.rows(), shape.row_elements());
    if (!layout) return misuse("rows do not fill the format");
    Bytes bytes(layout->bytes);
    if (!read(bytes.data(), bytes.size())) return misuse("bytes are missing");
    return push(Tensor::from_bytes(bytes, shape, format, pool_));
  }

  Result<Bytes> view(const Words& words) {
    LOBIT_TRY(const std::vector<int64_t> numbers, parse_numbers(words[1]));
    if (words[0] == "transpose") {
      return replace(top().transpose(std::vector<size_t>(numbers.begin(), numbers.end())));
    }
    LOBIT_TRY(const Shape shape, Shape::create(numbers));
    return replace(words[0] == "reshape" ? top().reshape(shape) : top().broadcast_to(shape));
  }

  Result<Bytes> slice(const Words& words) {
    LOBIT_TRY(const std::vector<int64_t> numbers, parse_numbers(words[1] + "," + words[2] + "," + words[3]));
    return replace(top().slice(static_cast<size_t>(numbers[0]), numbers[1], numbers[2]));
  }

  Result<Bytes> convert(const Words& words) {
    LOBIT_TRY(const FormatChoice to, parse_format(words[1]));
    if (words[0] == "bit_view") return replace(top().bit_view(to.for_shape(top().shape())));
    if (words[0] == "in_place") {
      LOBIT_RETURN_IF_ERROR(engine_.in_place_convert(top(), to));
      return Bytes();
    }
    if (words[0] == "stream") {
      LOBIT_TRY(const std::vector<int64_t> bytes, parse_numbers(words[2]));
      return replace(engine_.streaming_convert(top(), to, static_cast<uint64_t>(bytes[0])));
    }
    if (words.size() == 2) return replace(engine_.convert(top(), to));
    const ConversionQuality quality = words[2] == "fast"      ? ConversionQuality::kFast
                                      : words[2] == "precise" ? ConversionQuality::kPrecise
                                                              : ConversionQuality::kBalanced;
    return replace(engine_.convert_with_quality(top(), to, quality));
  }

  Result<Bytes> save(const Words& words) {
    if (words[0] == "name") {
      top().set_name(words[1]);
    } else {
      LOBIT_RETURN_IF_ERROR(save_tensor(words[1], top()));
    }
    return Bytes();
  }

  Result<Bytes> open(const Words& words) {
    const std::string name = words.size() == 3 ? words[2] : "";
    return push(words[0] == "map" ? map_tensor(words[1], name, pool_) : load_tensor(words[1], name, pool_));
  }

  Result<Bytes> operate(const Words& words) {
    const auto op = tensor_ops().find(words[1]);
    if (op == tensor_ops().end()) return misuse("no operation: " + words[1]);
    const TensorOp& found = op->second;
    if (words.size() != 2 + found.arguments || stack_.size() < found.operands) {
      return misuse("wrong number of words or operands: " + words[1]);
    }
    const auto first = stack_.end() - static_cast<std::ptrdiff_t>(found.operands);
    const std::vector<Tensor> operands(first, stack_.end());
    stack_.erase(first, stack_.end());
    return push(
        found.run(operands, {words.begin() + 2, words.end()}, {.memory = &pool_, .threads = &threads_}));
  }

  Result<Bytes> values() {
    LOBIT_TRY(const Tensor whole, top().contiguous(pool_));
    Bytes bytes(whole.elements() * sizeof(float));
    // Row by row: a run lies within one.
    const uint64_t columns = whole.shape().row_elements();
    for (uint64_t row = 0; columns > 0 && row < whole.shape().rows(); ++row) {
      top().decode_run(row * columns, columns, reinterpret_cast<float*>(bytes.data()) + row * columns);
    }
    return bytes;
  }

  Result<Bytes> bytes() {
    LOBIT_TRY(const std::span<const std::byte> found, top().bytes());
    return copy(found);
  }
  Result<Bytes> scales() {
    LOBIT_TRY(const std::span<const float> found, top().scales());
    return copy(std::as_bytes(found));
  }

  MemoryResource& pool_;
  ConversionEngine& engine_;
  ThreadPool threads_ = ThreadPool::create(2).value();
  std::vector<Tensor> stack_;
  const std::map<std::string, Verb> verbs_ = {
      {"make", {3, 3, false, [this](const Words& w) { return make(w); }}},
      {"load", {3, 3, false, [this](const Words& w) { return load(w); }}},
      {"copy", {1, 1, true, [this](const Words&) { return push(Tensor(top())); }}},
      {"drop", {1, 1, true, [this](const Words&) { return stack_.pop_back(), Result<Bytes>(Bytes()); }}},
      {"reshape", {2, 2, true, [this](const Words& w) { return view(w); }}},
      {"transpose", {2, 2, true, [this](const Words& w) { return view(w); }}},
      {"broadcast", {2, 2, true, [this](const Words& w) { return view(w); }}},
      {"slice", {4, 4, true, [this](const Words& w) { return slice(w); }}},
      {"contiguous", {1, 1, true, [this](const Words&) { return replace(top().contiguous(pool_)); }}},
      {"bit_view", {2, 2, true, [this](const Words& w) { return convert(w); }}},
      {"convert", {2, 3, true, [this](const Words& w) { return convert(w); }}},
      {"in_place", {2, 2, true, [this](const Words& w) { return convert(w); }}},
      {"stream", {3, 3, true, [this](const Words& w) { return convert(w); }}},
      {"name", {2, 2, true, [this](const Words& w) { return save(w); }}},
      {"save", {2, 2, true, [this](const Words& w) { return save(w); }}},
      {"file", {2, 3, false, [this](const Words& w) { return open(w); }}},
      {"map", {2, 3, false, [this](const Words& w) { return open(w); }}},
      {"op", {2, 8, true, [this](const Words& w) { return operate(w); }}},
      {"values", {1, 1, true, [this](const Words&) { return values(); }}},
      {"bytes", {1, 1, true, [this](const Words&) { return bytes(); }}},
      {"scales", {1, 1, true, [this](const Words&) { return scales(); }}},
      {"format",
       {1, 1, true, [this](const Words&) { return Result<Bytes>(text(to_string(top().format()))); }}},
      {"shape",
       {1, 1, true, [this](const Words&) { return Result<Bytes>(text(top().shape().to_string())); }}},
  };
};

void answer(const Result<Bytes>& result) {
  if (!result) {
    const Error& error = result.error();
    std::cout << "error\t" << error_code_name(error.code) << '\t' << error.detail.index.value_or(0) << '\t'
              << error.message << std::endl;
    return;
  }
  std::cout << "ok " << result->size() << '\n';
  std::cout.write(reinterpret_cast<const char*>(result->data()),
                  static_cast<std::streamsize>(result->size()));
  std::cout.flush();
}

int run_lines() {
  const auto pool = HybridMemoryPool::create().value();
  const auto engine = ConversionEngine::create({}, *pool).value();
  Tool tool(*pool, *engine);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    Words words;
    for (std::string word; in >> word;) words.push_back(word);
    if (!words.empty()) answer(tool.run(words));
  }
  return 0;
}

}  // namespace
}  // namespace lobit

int main() {
  const lobit::ScopedFpEnv fp_env;
  return lobit::run_lines();
}

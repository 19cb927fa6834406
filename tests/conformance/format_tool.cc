// Gives the conformance scripts lobit's readers and writers without the converter between them:
//
//   format_tool list FILE        prints what the header says, as JSON
//   format_tool rewrite IN OUT   lays the tensors out anew and copies their bytes
//
// A file whose name ends in .npy holds one array, and list prints an object of its own for it.
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lobit/base/json_writer.h"
#include "lobit/format/gguf.h"
#include "lobit/format/model.h"
#include "lobit/format/npy.h"
#include "lobit/format/safetensors.h"
#include "lobit/io/file.h"

namespace lobit {
namespace {

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

// A string as itself, another value as [type, type of its elements, their number, bytes in hexadecimal].
std::string json_value(const MetadataValue& value) {
  if (value.type == MetadataType::kString) return json_string(value.bytes);
  std::string hex;
  for (const char c : value.bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return fmt::format(R"(["{}","{}",{},"{}"])", metadata_type_name(value.type),
                     metadata_type_name(value.element), value.count, hex);
}

// Names that end in .gguf are opened as models, so that the first part of a split one opens all; others are
// given to the reader of safetensors, whose errors the scripts compare.
Result<Model> open(const std::string& path) {
  if (path.ends_with(".gguf")) return open_model(path);
  LOBIT_TRY(File file, File::open(path));
  LOBIT_TRY(SafetensorsHeader header, read_safetensors(file));
  Model model;
  model.format = FileFormat::kSafetensors;
  model.tensors = std::move(header.tensors);
  model.metadata = std::move(header.metadata);
  model.parts.push_back({path, std::move(file), header.data_offset});
  return model;
}

Status list(const std::string& path) {
  LOBIT_TRY(const Model model, open(path));
  std::string metadata;
  for (const auto& [key, value] : model.metadata.entries()) {
    metadata += fmt::format("{}{}:{}", metadata.empty() ? "" : ",", json_string(key), json_value(value));
  }
  std::string tensors;
  for (const TensorEntry& t : model.tensors) {
    tensors += fmt::format(R"({}{{"name":{},"encoding":"{}","shape":{},"part":{},"offset":{},"bytes":{}}})",
                           tensors.empty() ? "" : ",\n", json_string(t.name), encoding_name(t.encoding),
                           t.shape.to_string(), t.part, t.offset, t.bytes);
  }
  fmt::print("{{\"metadata\":{{{}}},\"alignment\":{},\"tensors\":[{}]}}\n", metadata, model.alignment,
             tensors);
  return {};
}

Status rewrite(const std::string& in, const std::string& out) {
  LOBIT_TRY(const Model model, open(in));
  std::vector<TensorSpec> specs;
  specs.reserve(model.tensors.size());
  for (const TensorEntry& t : model.tensors) specs.push_back({t.name, t.shape, t.encoding});
  LOBIT_TRY(const FileLayout layout, model.format == FileFormat::kGguf
                                         ? layout_gguf(model.metadata, specs, model.alignment)
                                         : layout_safetensors(model.metadata, specs));
  LOBIT_TRY(OutputFile target, OutputFile::create(out, layout.file_bytes));
  LOBIT_RETURN_IF_ERROR(target.write_at(0, std::as_bytes(std::span(layout.header))));
  for (size_t i = 0; i < specs.size(); ++i) {
    const TensorEntry& tensor = model.tensors[i];
    std::vector<std::byte> bytes(tensor.bytes);
    LOBIT_RETURN_IF_ERROR(model.parts[tensor.part].file.read_at(tensor.offset, bytes));
    LOBIT_RETURN_IF_ERROR(target.write_at(layout.offsets[i], bytes));
  }
  return target.commit();
}

Status list_npy(const std::string& path) {
  LOBIT_TRY(const File file, File::open(path));
  LOBIT_TRY(const NpyHeader header, read_npy(file));
  fmt::print("{{\"encoding\":\"{}\",\"shape\":{},\"offset\":{},\"bytes\":{}}}\n",
             encoding_name(header.encoding), header.shape.to_string(), header.data_offset, header.data_bytes);
  return {};
}

Status rewrite_npy(const std::string& in, const std::string& out) {
  LOBIT_TRY(const File file, File::open(in));
  LOBIT_TRY(const NpyHeader header, read_npy(file));
  std::vector<std::byte> values(header.data_bytes);
  LOBIT_RETURN_IF_ERROR(file.read_at(header.data_offset, values));
  return write_npy(out, header.shape, header.encoding, values);
}

int run(const std::vector<std::string>& args) {
  Status status = fail(ErrorCode::kInvalidArgument, "usage: format_tool list FILE | rewrite IN OUT");
  const bool npy = args.size() > 1 && args[1].ends_with(".npy");
  if (args.size() == 2 && args[0] == "list") status = npy ? list_npy(args[1]) : list(args[1]);
  if (args.size() == 3 && args[0] == "rewrite") {
    status = npy ? rewrite_npy(args[1], args[2]) : rewrite(args[1], args[2]);
  }
  if (status) return 0;
  fmt::print(stderr, "{}: {}\n", error_code_name(status.error().code), status.error().message);
  return 1;
}

}  // namespace
}  // namespace lobit

int main(int argc, char** argv) {
  return lobit::run({argv + 1, argv + argc});
}

#include "lobit/convert/target_metadata.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "lobit/base/version.h"

namespace lobit {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kGgufPrefix = "gguf.";
constexpr std::string_view kVersionKey = "lobit.version";
constexpr std::string_view kEncodingKey = "lobit.encoding";
constexpr std::string_view kMethodKey = "lobit.method";

// enum llama_ftype of llama.cpp's llama.h.
std::optional<uint32_t> llama_file_type(Encoding encoding) {
  switch (encoding) {
    case Encoding::kF32:
      return 0;
    case Encoding::kF16:
      return 1;
    case Encoding::kQ4_0:
      return 2;
    case Encoding::kQ4_1:
      return 3;
    case Encoding::kQ8_0:
      return 7;
    case Encoding::kQ5_0:
      return 8;
    case Encoding::kQ5_1:
      return 9;
    case Encoding::kQ2_K:
      return 10;
    case Encoding::kQ3_K:
      return 12;
    case Encoding::kQ4_K:
      return 15;
    case Encoding::kQ5_K:
      return 17;
    case Encoding::kQ6_K:
      return 18;
    case Encoding::kBF16:
      return 32;
    case Encoding::kTQ1_0:
      return 36;
    case Encoding::kTQ2_0:
      return 37;
    case Encoding::kQ1_0:
      return 40;
    case Encoding::kQ2_0:
      return 41;
    default:
      return std::nullopt;
  }
}

template <typename T>
T load(const char* bytes) {
  T value{};
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

template <typename T>
std::string store(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// Calls visit(T{}) with the C++ type of a number.
template <typename Visit>
auto visit_number(MetadataType type, Visit visit) {
  switch (type) {
    case MetadataType::kU8:
      return visit(uint8_t{});
    case MetadataType::kI8:
      return visit(int8_t{});
    case MetadataType::kU16:
      return visit(uint16_t{});
    case MetadataType::kI16:
      return visit(int16_t{});
    case MetadataType::kI32:
      return visit(int32_t{});
    case MetadataType::kF32:
      return visit(float{});
    case MetadataType::kU64:
      return visit(uint64_t{});
    case MetadataType::kI64:
      return visit(int64_t{});
    case MetadataType::kF64:
      return visit(double{});
    case MetadataType::kBool:
      return visit(bool{});
    default:
      return visit(uint32_t{});
  }
}

// One number or string at `at`, which moves behind it.
Json element_to_json(MetadataType type, const char*& at) {
  if (type == MetadataType::kString) {
    const auto length = load<uint64_t>(at);
    at += sizeof length;
    std::string text(at, length);
    at += length;
    return text;
  }
  return visit_number(type, [&](auto sample) -> Json {
    const auto value = load<decltype(sample)>(at);
    at += sizeof value;
    return value;
  });
}

// False when JSON cannot hold the value.
bool append_json(const Json& value, std::string& text) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) return false;
  try {
    text += value.dump();
    return true;
  } catch (const nlohmann::json::exception&) {  // invalid UTF-8
    return false;
  }
}

Result<std::string> value_to_json(const std::string& key, const MetadataValue& value) {
  std::string text = fmt::format("{{\"type\":\"{}\",", metadata_type_name(value.type));
  const char* at = value.bytes.data();
  bool written = true;
  if (value.type == MetadataType::kString) {
    text += "\"value\":";
    written = append_json(Json(value.bytes), text);
  } else if (value.type == MetadataType::kArray) {
    // One element at a time: a vocabulary as a tree of JSON values takes many times its size.
    text += fmt::format("\"element\":\"{}\",\"value\":[", metadata_type_name(value.element));
    for (uint64_t i = 0; i < value.count && written; ++i) {
      if (i > 0) text.push_back(',');
      written = append_json(element_to_json(value.element, at), text);
    }
    text.push_back(']');
  } else {
    text += "\"value\":";
    written = append_json(element_to_json(value.type, at), text);
  }
  if (!written) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("metadata '{}': holds a value that safetensors' JSON cannot (not UTF-8, or not finite)",
                    key));
  }
  text.push_back('}');
  return text;
}

std::optional<MetadataType> type_from_name(std::string_view name) {
  for (uint32_t type = 0; type <= static_cast<uint32_t>(MetadataType::kF64); ++type) {
    if (metadata_type_name(static_cast<MetadataType>(type)) == name) return static_cast<MetadataType>(type);
  }
  return std::nullopt;
}

// Appends one element in GGUF's bytes; false when the JSON is of another kind or out of range.
bool element_from_json(MetadataType type, const Json& json, std::string& bytes) {
  if (type == MetadataType::kString) {
    if (!json.is_string()) return false;
    const auto& text = json.get_ref<const std::string&>();
    bytes += store<uint64_t>(text.size());
    bytes += text;
    return true;
  }
  return visit_number(type, [&]<typename T>(T) {
    if constexpr (std::is_same_v<T, bool>) {
      if (!json.is_boolean()) return false;
      bytes.push_back(json.get<bool>() ? '\1' : '\0');
    } else if constexpr (std::is_floating_point_v<T>) {
      if (!json.is_number() || !std::isfinite(json.get<T>())) return false;
      bytes += store(json.get<T>());
    } else {
      if (!json.is_number_integer()) return false;
      const bool fits = json.is_number_unsigned() ? std::in_range<T>(json.get<uint64_t>())
                                                  : std::in_range<T>(json.get<int64_t>());
      if (!fits) return false;
      bytes += store(json.get<T>());
    }
    return true;
  });
}

bool fill_value(const Json& json, MetadataValue& value) {
  const Json& content = json.at("value");
  if (value.type == MetadataType::kString) {
    if (!content.is_string()) return false;
    value.bytes = content.get<std::string>();
    return true;
  }
  if (value.type != MetadataType::kArray) return element_from_json(value.type, content, value.bytes);
  const auto name = json.find("element");
  if (name == json.end() || !name->is_string() || !content.is_array()) return false;
  const auto element = type_from_name(name->get_ref<const std::string&>());
  if (!element || *element == MetadataType::kArray) return false;
  value.element = *element;
  value.count = content.size();
  return std::ranges::all_of(
      content, [&](const Json& item) { return element_from_json(*element, item, value.bytes); });
}

Result<MetadataValue> value_from_json(const std::string& key, const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  MetadataValue value;
  const auto type =
      json.is_object() && json.contains("value") && json.contains("type") && json["type"].is_string()
          ? type_from_name(json["type"].get_ref<const std::string&>())
          : std::nullopt;
  if (type) {
    value.type = *type;
    if (fill_value(json, value)) return value;
  }
  return fail(ErrorCode::kCorrupt,
              fmt::format("metadata '{}': expected JSON with \"type\" and a fitting \"value\"", key));
}

// What describe_origin() writes anew into every output.
bool is_own_key(std::string_view key) {
  return key == kVersionKey || key == kEncodingKey || key == kMethodKey;
}

Result<Metadata> gguf_to_safetensors(const Metadata& source) {
  Metadata target;
  for (const MetadataEntry& entry : source.entries()) {
    if (is_own_key(entry.key)) continue;
    LOBIT_TRY(const std::string text, value_to_json(entry.key, entry.value));
    target.append({std::string(kGgufPrefix) + entry.key, MetadataValue::string(text)});
  }
  return target;
}

Result<Metadata> safetensors_to_gguf(const Metadata& source) {
  Metadata target;
  for (const MetadataEntry& entry : source.entries()) {
    if (is_own_key(entry.key)) continue;
    if (!is_gguf_key(entry.key)) {
      target.append(entry);
      continue;
    }
    LOBIT_TRY(MetadataValue value, value_from_json(entry.key, entry.value.bytes));
    target.append({entry.key.substr(kGgufPrefix.size()), std::move(value)});
  }
  return target;
}

void describe_origin(Metadata& metadata, const Provenance& provenance) {
  metadata.set(kVersionKey, MetadataValue::string(kVersion));
  metadata.set(kEncodingKey, MetadataValue::string(encoding_name(provenance.encoding)));
  const bool absmean = provenance.ternary == TernaryRule::kAbsMean;
  metadata.set(kMethodKey,
               MetadataValue::string(absmean ? "absmean" : quantize_method_name(provenance.method)));
}

}  // namespace

bool is_gguf_key(std::string_view key) {
  return key.starts_with(kGgufPrefix);
}

bool carries_gguf_metadata(const Metadata& metadata) {
  return metadata.find("gguf.general.architecture") != nullptr;
}

Result<Metadata> target_metadata(const Model& model, FileFormat target, const Provenance& provenance,
                                 std::span<const TensorSpec> tensors) {
  Metadata metadata = model.metadata;
  if (model.format == FileFormat::kGguf && target == FileFormat::kSafetensors) {
    LOBIT_TRY(metadata, gguf_to_safetensors(model.metadata));
  } else if (model.format == FileFormat::kSafetensors && target == FileFormat::kGguf) {
    LOBIT_TRY(metadata, safetensors_to_gguf(model.metadata));
  }
  if (target == FileFormat::kGguf) {
    if (const auto type = llama_file_type(provenance.encoding)) {
      metadata.set("general.file_type", MetadataValue::u32(*type));
    }
    const bool quantized =
        std::ranges::any_of(tensors, [](const TensorSpec& t) { return traits(t.encoding).is_block(); });
    if (quantized) metadata.set("general.quantization_version", MetadataValue::u32(2));
  }
  describe_origin(metadata, provenance);
  return metadata;
}

}  // namespace lobit

#include "lobit/convert/budget.h"

#include <algorithm>

#include "lobit/convert/target_metadata.h"

namespace lobit {
namespace {

uint64_t held_bytes(const std::string& text) {
  return text.capacity() < sizeof(std::string) / 2 ? 0 : text.capacity() + 1;
}

// About what JSON takes when it is parsed into a tree: a value and a string for each element, and the text.
uint64_t tree_bytes(std::string_view json) {
  constexpr uint64_t kElementBytes = 96;
  return static_cast<uint64_t>(std::ranges::count(json, ',')) * kElementBytes + json.size();
}

}  // namespace

uint64_t held_bytes(const Model& model) {
  uint64_t bytes = model.tensors.capacity() * sizeof(TensorEntry);
  for (const TensorEntry& tensor : model.tensors) bytes += held_bytes(tensor.name);
  for (const MetadataEntry& entry : model.metadata.entries()) {
    bytes += sizeof entry + held_bytes(entry.key) + held_bytes(entry.value.bytes);
  }
  return bytes;
}

uint64_t held_bytes(const ConversionPlan& plan) {
  uint64_t bytes = plan.tensors.capacity() * sizeof(PlannedTensor);
  for (const PlannedFile& file : plan.files) bytes += sizeof file + held_bytes(file.header);
  for (const PlannedCopy& copy : plan.copies) bytes += sizeof copy + held_bytes(copy.text);
  return bytes;
}

uint64_t planning_bytes(const Model& model, const ConversionPlan& plan) {
  uint64_t header = 0;
  for (const PlannedFile& file : plan.files) header = std::max<uint64_t>(header, file.header.capacity());
  // Beside the headers lay the metadata that went into them, whose size is much the same, a part's own copy
  // of them, and what the text of a header had been before it grew.
  const uint64_t copies = plan.files.size() > 1 ? 3 : 2;
  uint64_t largest_tree = 0;
  if (model.format == FileFormat::kSafetensors && plan.format == FileFormat::kGguf) {
    for (const MetadataEntry& entry : model.metadata.entries()) {
      if (is_gguf_key(entry.key)) largest_tree = std::max(largest_tree, tree_bytes(entry.value.bytes));
    }
  }
  return held_bytes(model) + held_bytes(plan) + copies * header + largest_tree;
}

uint64_t chunk_elements(Encoding from, Encoding to, uint64_t chunk_bytes) {
  const EncodingTraits& f = traits(from);
  const EncodingTraits& t = traits(to);
  // Blocks are powers of two, so the larger is a multiple of the smaller.
  const uint64_t granule = std::max(f.block_elements, t.block_elements);
  uint64_t bytes = granule / f.block_elements * f.block_bytes;
  if (from != to) bytes += granule / t.block_elements * t.block_bytes;
  return std::max<uint64_t>(1, (chunk_bytes - 64) / bytes) *
         granule;  // 64: the target starts on a cache line
}

}  // namespace lobit

// The plan of a file conversion: every output file, its header and where each tensor goes, made from headers
// alone. Pure: nothing is written, no tensor is read. execute() in execute.h carries it out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/convert/policy.h"
#include "lobit/format/model.h"

namespace lobit {

// How ternary codes are found.
enum class TernaryRule : uint8_t {
  kDirect,  // block by block, as the tensor's method says
  // As BitNet b1.58 does: one scale for the tensor, the mean magnitude; reads the tensor twice. It takes the
  // place of the method of tensors that become TQ1_0 or TQ2_0.
  kAbsMean,
};

enum class NamePolicy : uint8_t {
  kMapped,  // refuse a conversion that would need names and conventions translated
  kRaw,     // write the source's names as they are
};

struct OutputOptions {
  // NAME.gguf, NAME.safetensors, or a folder (there already, without a suffix, or with a '/' at the end),
  // which gets safetensors files and, from a folder, its configuration and tokenizer.
  std::filesystem::path path;
  // The most bytes of tensor data in one file; 0 for a single file. GGUF and folders only.
  uint64_t split_max_size = 0;
  NamePolicy names = NamePolicy::kMapped;
  TernaryRule ternary = TernaryRule::kDirect;
};

struct PlannedTensor {
  size_t source = 0;  // index into the model's tensors
  EncodingChoice choice;
  uint32_t file = 0;    // index into the plan's files
  uint64_t offset = 0;  // from the start of that file
  uint64_t bytes = 0;
};

struct PlannedFile {
  std::filesystem::path target;
  std::string header;  // the first bytes of the file
  uint64_t file_bytes = 0;
};

// A file beside the weights that goes along unchanged, or one of text made here (the index).
struct PlannedCopy {
  std::filesystem::path source;  // empty: `text` is the content
  std::filesystem::path target;
  std::string text;
};

struct ConversionPlan {
  FileFormat format = FileFormat::kGguf;
  std::filesystem::path output;  // what the user named
  bool to_folder = false;
  EncodingPolicy policy;
  TernaryRule ternary = TernaryRule::kDirect;
  std::vector<PlannedTensor> tensors;  // in the order they are written
  std::vector<PlannedFile> files;
  std::vector<PlannedCopy> copies;
  std::vector<std::filesystem::path>
      obsolete;                      // removed before the new files appear: older ones that would hide them
  std::vector<size_t> rule_matches;  // for each rule, the tensors it names first
  uint64_t elements = 0;             // of all tensors
  uint64_t source_bytes = 0;         // of tensor data
  uint64_t target_bytes = 0;         // of tensor data
  uint64_t output_bytes = 0;         // of the model files, headers and padding included

  // What would be replaced by carrying out the plan.
  LOBIT_API std::vector<std::filesystem::path> existing_targets() const;
};

// Whether a tensor of the plan, stored as `from` in the source, gets one mean magnitude as the scale of all
// its blocks.
LOBIT_API bool gets_absmean(const ConversionPlan& plan, const PlannedTensor& tensor, Encoding from);

// How the scales of such a tensor are found: "absmean", or the name of its method; "" for tensors that are
// copied or become plain numbers.
LOBIT_API std::string_view scale_rule_name(const ConversionPlan& plan, const PlannedTensor& tensor,
                                           Encoding from);

// kInvalidArgument for an output that is neither of the above, the input's own folder, or a split that the
// format lacks; kUnsupported when Hugging Face names would have to become GGUF's (see NamePolicy::kRaw), or
// the format lacks an encoding; otherwise choose_encodings()'s errors.
LOBIT_API Result<ConversionPlan> plan_conversion(const Model& model, const EncodingPolicy& policy,
                                                 const OutputOptions& output);

}  // namespace lobit

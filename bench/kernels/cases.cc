#include "bench/kernels/cases.h"

#include <algorithm>
#include <cstring>

#include "bench/kernels/inputs.h"
#include "bench/kernels/limits.h"

#include "lobit/base/bytes.h"
#include "lobit/kernels/codec.h"

namespace lobit::bench {
namespace {

constexpr size_t kPatternValues = size_t{4} << 20;  // more than a branch predictor learns
constexpr size_t kRow = 2048;                       // columns of the matrix that ggml sees

float* floats(std::vector<uint8_t>& bytes) {
  return reinterpret_cast<float*>(bytes.data());
}

}  // namespace

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Encoding from : {Encoding::kF32, Encoding::kF16}) {
    for (const EncodingTraits& to : all_encodings()) {
      if (to.can_encode && to.encoding != from && to.encoding != Encoding::kF32) {
        cases.push_back({from, to.encoding});
      }
    }
  }
  cases.push_back({Encoding::kBF16, Encoding::kF16});
  for (const EncodingTraits& from : all_encodings()) {
    if (from.can_decode && from.encoding != Encoding::kF32) cases.push_back({from.encoding, Encoding::kF32});
  }
  return cases;
}

std::string case_name(const Case& c) {
  return std::string(encoding_name(c.from)) + "->" + std::string(encoding_name(c.to));
}

Bench::Bench(size_t f32_bytes, const GgmlPeer* peer, std::string peer_reason, Sampling sampling)
    : count_(f32_bytes / sizeof(float)),
      peer_(peer),
      peer_reason_(std::move(peer_reason)),
      sampling_(sampling),
      values_(heavy_tailed(std::min(count_, kPatternValues))),
      source_(f32_bytes),
      target_(f32_bytes),
      peer_target_(f32_bytes),
      scratch_(f32_bytes) {}

size_t Bench::bytes_of(Encoding encoding) const {
  return static_cast<size_t>(encoded_bytes(encoding, count_).value());
}

Row Bench::run(const Case& c) {
  source_.resize(bytes_of(c.from));
  fill_blocks(c.from, values_, source_);
  Row row;
  row.name = case_name(c) + " " + format_bytes(count_ * sizeof(float));
  std::vector<Contestant> contestants;
  add_ours(c, contestants, row);
  add_ggml(c, contestants, row);
  add_ggml_cpu(c, contestants, row);
  add_limits(c, contestants);
  sample_in_turns(contestants, sampling_);
  for (const Contestant& contestant : contestants) {
    row.values[contestant.name] = static_cast<double>(count_ * sizeof(float)) * 1e-9 / contestant.seconds;
  }
  row.bytes_equal = compare(c, contestants);
  return row;
}

void Bench::add_ours(const Case& c, std::vector<Contestant>& contestants, Row& row) {
  if (c.to == Encoding::kF32) {
    if (const kernels::DecodeFn decode = kernels::decoder(c.from)) {
      contestants.push_back({"ours", [this, decode] { decode(source_.data(), floats(target_), count_); }});
      return;
    }
  } else if (const kernels::EncodeFn encode = kernels::encoder(c.from, c.to)) {
    contestants.push_back({"ours", [this, encode] { encode(source_.data(), target_.data(), count_); }});
    return;
  }
  row.reasons["ours"] = "no kernel at this SIMD level";
}

// From 16-bit floats ggml's quantizer goes through a buffer of F32.
void Bench::add_ggml(const Case& c, std::vector<Contestant>& contestants, Row& row) {
  if (peer_ == nullptr || !peer_->knows(c.from) || !peer_->knows(c.to)) {
    row.reasons["ggml"] = peer_ == nullptr ? peer_reason_ : "this ggml does not know the encoding";
    return;
  }
  const GgmlPeer::ToFloat to_float = peer_->to_float(c.from);
  if (c.from != Encoding::kF32 && to_float == nullptr) {
    row.reasons["ggml"] = "this ggml does not decode the encoding";
    return;
  }
  const auto count = static_cast<int64_t>(count_);
  if (c.to == Encoding::kF32) {
    contestants.push_back({"ggml", [=, this] { to_float(source_.data(), floats(peer_target_), count); }});
  } else if (c.from == Encoding::kF32) {
    contestants.push_back(
        {"ggml", [=, this] { peer_->quantize(c.to, floats(source_), peer_target_.data(), count_, kRow); }});
  } else {
    contestants.push_back({"ggml", [=, this] {
                             to_float(source_.data(), floats(scratch_), count);
                             peer_->quantize(c.to, floats(scratch_), peer_target_.data(), count_, kRow);
                           }});
  }
}

void Bench::add_ggml_cpu(const Case& c, std::vector<Contestant>& contestants, Row& row) {
  const GgmlPeer::FromFloat from_float = peer_ == nullptr ? nullptr : peer_->cpu_from_float(c.to);
  const GgmlPeer::ToFloat to_float = peer_ == nullptr ? nullptr : peer_->cpu_to_float(c.from);
  const bool encodes = c.to != Encoding::kF32;
  const bool reads_f32 = c.from == Encoding::kF32;
  if (peer_ == nullptr || (encodes && from_float == nullptr) || (!reads_f32 && to_float == nullptr)) {
    row.reasons["ggml-cpu"] = peer_ == nullptr ? peer_reason_ : "ggml's CPU backend has no such function";
    return;
  }
  const auto count = static_cast<int64_t>(count_);
  contestants.push_back({"ggml-cpu", [=, this] {
                           const float* values = floats(source_);
                           if (!reads_f32) {
                             float* decoded = floats(encodes ? scratch_ : peer_target_);
                             to_float(source_.data(), decoded, count);
                             values = decoded;
                           }
                           if (encodes) from_float(values, peer_target_.data(), count);
                         }});
}

void Bench::add_limits(const Case& c, std::vector<Contestant>& contestants) {
  const bool reads_more = bytes_of(c.from) >= bytes_of(c.to);
  const uint8_t* wide = reads_more ? source_.data() : target_.data();
  const size_t bytes = std::max(bytes_of(c.from), bytes_of(c.to));
  contestants.push_back({"memcpy", [=, this] { copy_all(wide, scratch_.data(), bytes); }});
  contestants.push_back({"memset", [=, this] { fill_all(scratch_.data(), bytes); }});
  contestants.push_back({"read", [=] { read_all(wide, bytes); }});
}

std::optional<bool> Bench::compare(const Case& c, const std::vector<Contestant>& contestants) const {
  int present = 0;
  for (const Contestant& contestant : contestants) {
    if (contestant.name != "ours" && contestant.name != "ggml") continue;
    contestant.run();
    ++present;
  }
  if (present != 2) return std::nullopt;
  return std::memcmp(target_.data(), peer_target_.data(), bytes_of(c.to)) == 0;
}

}  // namespace lobit::bench

#include "lobit/convert/recode.h"

#include <cmath>

#include "lobit/base/check.h"
#include "lobit/convert/saturate.h"
#include "lobit/quant/quantizer.h"

namespace lobit {
namespace {

// Replaces each value by gamma times its ternary code, so that the encoder finds gamma as the largest
// magnitude.
void ternarize(float* values, size_t count, float gamma) {
  for (size_t i = 0; i < count; ++i) {
    const float scaled = values[i] / gamma;
    // clip(round half to even, -1, 1): one half itself rounds to 0.
    const float code = scaled > 0.5f ? 1.0f : scaled < -0.5f ? -1.0f : 0.0f;
    values[i] = gamma > 0 && !std::isnan(scaled) ? code * gamma : values[i];
  }
}

// The kernel that needs no tile, if there is one. Scales are looked for in F32 alone.
kernels::EncodeFn fused_encoder(const RecodeSpec& spec) {
  const bool direct = spec.method == QuantizeMethod::kDirect || !has_scale_search(spec.to);
  if (direct) return kernels::encoder(spec.from, spec.to);
  return spec.from == Encoding::kF32 ? quantizer(spec.to, spec.method) : nullptr;
}

}  // namespace

Recoder::Recoder(std::span<std::byte> tile) : tile_(reinterpret_cast<float*>(tile.data())) {
  LOBIT_CHECK(tile.size() >= kTileBytes);
}

RecodeCounts Recoder::run(const RecodeSpec& spec, const std::byte* source, std::byte* target, size_t count) {
  if (spec.gamma) return run_tiles(spec, source, target, count);
  if (spec.to == Encoding::kF32) {
    kernels::decoder(spec.from)(source, reinterpret_cast<float*>(target), count);
    return {};
  }
  const kernels::EncodeFn fused = fused_encoder(spec);
  if (fused == nullptr) return run_tiles(spec, source, target, count);
  const EncodeCounts counts = fused(source, target, count);
  // Values that do not fit are rare, so looking at them twice costs nothing in general.
  if (counts.unrepresentable > 0 && spec.saturate) return run_tiles(spec, source, target, count);
  return {counts, 0};
}

RecodeCounts Recoder::run_tiles(const RecodeSpec& spec, const std::byte* source, std::byte* target,
                                size_t count) {
  const EncodingTraits& to = traits(spec.to);
  // Gamma times a code is exact with the direct scale, which is gamma.
  const kernels::EncodeFn encode = quantizer(spec.to, spec.gamma ? QuantizeMethod::kDirect : spec.method);
  RecodeCounts counts;
  for_each_tile(spec.from, source, count, tile_, [&](float* values, size_t first, size_t n) {
    std::byte* const at = target + first / to.block_elements * to.block_bytes;
    if (spec.gamma) ternarize(values, n, *spec.gamma);
    EncodeCounts tile = encode(values, at, n);
    if (tile.unrepresentable > 0 && spec.saturate) {
      counts.saturated += saturate(spec.to, values, n);
      tile = encode(values, at, n);
    }
    counts.encode += tile;
  });
  return counts;
}

std::optional<Recoder::Offender> Recoder::find_unrepresentable(const RecodeSpec& spec,
                                                               const std::byte* source, size_t count) {
  std::optional<Offender> found;
  const size_t group = traits(spec.to).block_elements;
  // The largest block of any encoding that lobit writes.
  std::byte encoded[1024];
  for_each_tile(spec.from, source, count, tile_, [&](const float* values, size_t first, size_t n) {
    for (size_t at = 0; at < n && !found; at += group) {
      if (reference::encode(spec.to, values + at, encoded, group).unrepresentable == 0) continue;
      // In the group: the first value that is not finite, or else the largest.
      size_t worst = at;
      for (size_t i = at; i < at + group; ++i) {
        if (!std::isfinite(values[i])) {
          worst = i;
          break;
        }
        if (std::fabs(values[i]) > std::fabs(values[worst])) worst = i;
      }
      found = Offender{first + worst, values[worst]};
    }
  });
  return found;
}

}  // namespace lobit

// The question of this part: what do better scales cost, and what do they gain? Every encoding with a scale
// to find, by every method, beside ggml's quantizer without importance (its direct rule) and with equal
// importance for all values, with which it searches too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/kernels/cases.h"
#include "bench/kernels/ggml_peer.h"
#include "bench/kernels/sampling.h"

namespace lobit::bench {

// Two rows for each encoding and method whose case name holds `only`: the rate, counted as in cases.h, and
// the squared error of the stored values over their energy. `peer` may be null.
std::vector<Row> run_methods(std::string_view only, const GgmlPeer* peer, const std::string& peer_reason,
                             const Sampling& sampling);

}  // namespace lobit::bench

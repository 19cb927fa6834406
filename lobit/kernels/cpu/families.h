// The kernels of cpu/, one family of encodings per file, as codec.cc asks for them. Each function answers for
// the Highway target in use; nullptr means that the encoding is another family's or that the target has no
// vectors. Not installed.
#pragma once

#include "lobit/kernels/codec.h"

namespace lobit::kernels {

EncodeFn float16_encoder(Encoding from, Encoding to);
DecodeFn float16_decoder(Encoding from);
EncodeFn q8_encoder(Encoding from, Encoding to);
DecodeFn q8_decoder(Encoding from);
EncodeFn q4_q5_encoder(Encoding from, Encoding to);
DecodeFn q4_q5_decoder(Encoding from);
EncodeFn ternary_encoder(Encoding from, Encoding to);
DecodeFn ternary_decoder(Encoding from);
// How many of the first TQ2_0 blocks are seen to be free of code 3; some that follow may be too.
using ValidBlocksFn = size_t (*)(const void* blocks, size_t block_count);
ValidBlocksFn tq2_0_valid_blocks();
EncodeFn q2_encoder(Encoding from, Encoding to);
DecodeFn q2_decoder(Encoding from);
EncodeFn q1_encoder(Encoding from, Encoding to);
DecodeFn q1_decoder(Encoding from);
DecodeFn kquant_decoder(Encoding from);

}  // namespace lobit::kernels

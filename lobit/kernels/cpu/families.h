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
EncodeFn q8_scaled_encoder(Encoding to);
EncodeFn q4_q5_encoder(Encoding from, Encoding to);
DecodeFn q4_q5_decoder(Encoding from);
EncodeFn q4_q5_scaled_encoder(Encoding to);
EncodeFn ternary_encoder(Encoding from, Encoding to);
DecodeFn ternary_decoder(Encoding from);
EncodeFn ternary_scaled_encoder(Encoding to);
// How many of the first TQ2_0 blocks are seen to be free of code 3; some that follow may be too.
using ValidBlocksFn = size_t (*)(const void* blocks, size_t block_count);
ValidBlocksFn tq2_0_valid_blocks();
EncodeFn q2_encoder(Encoding from, Encoding to);
DecodeFn q2_decoder(Encoding from);
EncodeFn q2_scaled_encoder(Encoding to);
EncodeFn q1_encoder(Encoding from, Encoding to);
DecodeFn q1_decoder(Encoding from);
DecodeFn kquant_decoder(Encoding from);

}  // namespace lobit::kernels

// The ends of a family's file, within HWY_ONCE and namespace lobit::kernels: NAME_encoder, NAME_decoder and
// NAME_scaled_encoder ask the find_encoder, find_decoder and find_scaled_encoder of the Highway target in
// use.
#define LOBIT_EXPORT_ENCODER(NAME)                       \
  HWY_EXPORT(find_encoder);                              \
  EncodeFn NAME##_encoder(Encoding from, Encoding to) {  \
    return HWY_DYNAMIC_DISPATCH(find_encoder)(from, to); \
  }
#define LOBIT_EXPORT_DECODER(NAME)                   \
  HWY_EXPORT(find_decoder);                          \
  DecodeFn NAME##_decoder(Encoding from) {           \
    return HWY_DYNAMIC_DISPATCH(find_decoder)(from); \
  }
#define LOBIT_EXPORT_SCALED_ENCODER(NAME)                 \
  HWY_EXPORT(find_scaled_encoder);                        \
  EncodeFn NAME##_scaled_encoder(Encoding to) {           \
    return HWY_DYNAMIC_DISPATCH(find_scaled_encoder)(to); \
  }

// The blocks of the quantized encodings, as they lie in GGUF files. `d` and `m` are F16 bit patterns. Bits
// per weight include the scales. Layouts: ggml-common.h of ggml. All fields are bytes or little-endian words,
// and no block has padding, so an array of blocks is the file's bytes.
#pragma once

#include <cstdint>

namespace lobit {

// 8.5 bits per weight. w[j] = d * qs[j].
struct BlockQ8_0 {
  uint16_t d;
  int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

// 4.5 bits per weight. w[j] = d * (low nibble of qs[j] - 8), w[j+16] the same with the high nibble.
struct BlockQ4_0 {
  uint16_t d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

// 5 bits per weight. w = d * nibble + m, nibbles as in Q4_0.
struct BlockQ4_1 {
  uint16_t d;
  uint16_t m;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

// 5.5 bits per weight. Code = nibble | bit << 4, bit j of the little-endian word qh for w[j]. w = d * (code -
// 16).
struct BlockQ5_0 {
  uint16_t d;
  uint8_t qh[4];
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

// 6 bits per weight. Codes as in Q5_0, w = d * code + m.
struct BlockQ5_1 {
  uint16_t d;
  uint16_t m;
  uint8_t qh[4];
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

// 2.25 bits per weight. w[4j+i] = d * ((qs[j] >> 2i & 3) - 1).
struct BlockQ2_0 {
  uint16_t d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ2_0) == 18);

// 1.125 bits per weight. w[8j+i] = (qs[j] >> i & 1) ? d : -d.
struct BlockQ1_0 {
  uint16_t d;
  uint8_t qs[16];
};
static_assert(sizeof(BlockQ1_0) == 18);

// 2.0625 bits per weight. w[128g + m + 32n] = d * ((qs[32g + m] >> 2n & 3) - 1).
struct BlockTQ2_0 {
  uint8_t qs[64];
  uint16_t d;
};
static_assert(sizeof(BlockTQ2_0) == 66);

// 1.6875 bits per weight. Each byte of qs holds five base-3 digits, of qh four, as ceil(value * 256 / 243);
// the first digit is the most significant. Digit n of qs[m] is w[m + 32n] for m < 32, of qs[32 + m] w[160 + m
// + 16n], of qh[j] w[240 + j + 4n]. w = d * (digit - 1).
struct BlockTQ1_0 {
  uint8_t qs[48];
  uint8_t qh[4];
  uint16_t d;
};
static_assert(sizeof(BlockTQ1_0) == 54);

// 2.625 bits per weight. Sixteen groups of 16: w = d * (scales[g] & 15) * code - dmin * (scales[g] >> 4).
struct BlockQ2_K {
  uint8_t scales[16];
  uint8_t qs[64];
  uint16_t d;
  uint16_t dmin;
};
static_assert(sizeof(BlockQ2_K) == 84);

// 3.4375 bits per weight. Sixteen groups of 16 with 6-bit scales (biased by 32) packed in 12 bytes; the third
// bit of each code in hmask.
struct BlockQ3_K {
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  uint16_t d;
};
static_assert(sizeof(BlockQ3_K) == 110);

// 4.5 bits per weight. Eight groups of 32 with 6-bit scales and 6-bit minima packed in 12 bytes.
struct BlockQ4_K {
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ4_K) == 144);

// 5.5 bits per weight. Q4_K with the fifth bit of each code in qh.
struct BlockQ5_K {
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};
static_assert(sizeof(BlockQ5_K) == 176);

// 6.5625 bits per weight. Sixteen groups of 16 with 8-bit scales; low four bits in ql, upper two in qh.
struct BlockQ6_K {
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  uint16_t d;
};
static_assert(sizeof(BlockQ6_K) == 210);

// 9.125 bits per weight. One F32 scale for 256 values; bsums are sums of 16 codes, redundant.
struct BlockQ8_K {
  float d;
  int8_t qs[256];
  int16_t bsums[16];
};
static_assert(sizeof(BlockQ8_K) == 292);

}  // namespace lobit

// The matrix products at every SIMD level: against sums in F64, against the scalar reference, and against
// themselves when a product is cut into parts.
#include "lobit/kernels/matmul.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/kernels/codec.h"
#include "lobit/kernels/codec_test_support.h"
#include "lobit/kernels/reference_matmul.h"

namespace lobit::kernels {
namespace {

using enum Encoding;

constexpr Encoding kIntegerWeights[] = {kQ8_0, kQ4_0, kQ2_0, kQ1_0, kTQ2_0, kTQ1_0};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kUnit = 0x1p-24;  // half a step of F32 at 1

// What a sum of `depth` F32 products may be off, in any order: (1 + kUnit)^(depth + 2) - 1, of `magnitude`,
// the sum of the products' magnitudes, and half as much again. 1e-30 covers products below the normal
// numbers.
double bound(size_t depth, double magnitude) {
  return 1.5 * static_cast<double>(depth + 2) * kUnit * magnitude + 1e-30;
}

template <typename Body>
void at_every_level(Body body) {
  for (const SimdLevel level : simd_levels()) {
    SCOPED_TRACE(std::string(simd_level_name(level)));
    const AtLevel at(level);
    body();
  }
}

struct Sum {
  double value = 0.0;
  double magnitude = 0.0;
  void add(double a, double b) {
    value += a * b;
    magnitude += std::abs(a * b);
  }
};

void expect_near(float found, const Sum& expected, size_t depth, const std::string& what) {
  // Not EXPECT_NEAR, for which NaN would do.
  EXPECT_TRUE(std::abs(found - expected.value) <= bound(depth, expected.magnitude))
      << what << ": expected " << expected.value << ", found " << found;
}

// One product through the panels, in parts of at most `most_depth`.
struct GemmCase {
  size_t rows;
  size_t columns;
  size_t depth;
  size_t most_depth;
  bool transposed;  // whether both operands lie with k outermost

  Floats a() const { return draw(uniform, rows * depth, 1); }
  Floats b() const { return draw(uniform, columns * depth, 2); }
  size_t index(size_t i, size_t k, size_t count) const { return transposed ? k * count + i : i * depth + k; }

  void pack(const Floats& values, size_t count, size_t first, size_t n, size_t tile, Floats& panels) const {
    panels.assign(panel_floats(tile, count, n), kNan);
    if (transposed) {
      const size_t half = n / 2;  // the panels may be filled in parts
      const float* from = values.data() + first * count;
      pack_panels_transposed(from, count, count, half, tile, n, panels.data());
      pack_panels_transposed(from + half * count, count, count, n - half, tile, n,
                             panels.data() + half * tile);
    } else {
      pack_panels(values.data() + first, depth, count, n, tile, panels.data());
    }
  }

  // The result within a frame of NaN.
  Floats run(size_t out_stride) const {
    Floats out(rows * out_stride, kNan);
    Floats a_panels;
    Floats b_panels;
    for (size_t first = 0; first < depth; first += most_depth) {
      const size_t n = std::min(most_depth, depth - first);
      pack(a(), rows, first, n, gemm_tile().rows, a_panels);
      pack(b(), columns, first, n, gemm_tile().columns, b_panels);
      gemm({a_panels.data(), b_panels.data(), rows, columns, n, out.data(), out_stride, first > 0});
    }
    return out;
  }

  void check() const {
    SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns) + " x " + std::to_string(depth));
    const size_t stride = columns + 3;
    const Floats out = run(stride);
    const Floats left = a();
    const Floats right = b();
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < stride; ++j) {
        if (j >= columns) {
          EXPECT_TRUE(std::isnan(out[i * stride + j])) << "written beyond the row";
          continue;
        }
        Sum sum;
        for (size_t k = 0; k < depth; ++k) sum.add(left[index(i, k, rows)], right[index(j, k, columns)]);
        expect_near(out[i * stride + j], sum, depth,
                    "row " + std::to_string(i) + " column " + std::to_string(j));
      }
    }
  }
};

TEST(Gemm, AnySizeIsWithinTheBound) {
  at_every_level([] {
    for (size_t n = 1; n <= 67; n += 3) {
      GemmCase{n, 68 - n, 1 + n * 7 % 31, 64, n % 2 == 0}.check();
      GemmCase{68 - n, n, 37, 16, n % 2 != 0}.check();
    }
    GemmCase{15, 33, 520, 256, false}.check();
  });
}

TEST(Gemm, APartOfTheResultHasTheBitsOfTheWhole) {
  at_every_level([] {
    const GemmCase whole{30, 70, 41, 41, false};
    const Floats all = whole.run(70);
    Floats a_panels;
    Floats b_panels;
    whole.pack(whole.a(), 30, 0, 41, gemm_tile().rows, a_panels);
    const Floats b = whole.b();
    const Floats some(b.begin() + 5 * 41, b.begin() + 12 * 41);
    whole.pack(some, 7, 0, 41, gemm_tile().columns, b_panels);
    Floats out(30 * 7, kNan);
    gemm({a_panels.data(), b_panels.data(), 30, 7, 41, out.data(), 7, false});
    for (size_t i = 0; i < 30; ++i) {
      for (size_t j = 0; j < 7; ++j) EXPECT_EQ(out[i * 7 + j], all[i * 70 + 5 + j]);
    }
  });
}

TEST(Gemm, WhatIsNotFiniteStaysInItsRowAndColumn) {
  at_every_level([] {
    const size_t tile_rows = gemm_tile().rows;
    const size_t tile_columns = gemm_tile().columns;
    Floats a(5 * 3, 1.0f);
    Floats b(6 * 3, 2.0f);
    a[2 * 3 + 1] = std::numeric_limits<float>::infinity();
    b[4 * 3] = kNan;
    Floats a_panels(panel_floats(tile_rows, 5, 3));
    Floats b_panels(panel_floats(tile_columns, 6, 3));
    pack_panels(a.data(), 3, 5, 3, tile_rows, a_panels.data());
    pack_panels(b.data(), 3, 6, 3, tile_columns, b_panels.data());
    Floats out(5 * 6);
    gemm({a_panels.data(), b_panels.data(), 5, 6, 3, out.data(), 6, false});
    for (size_t i = 0; i < 5; ++i) {
      for (size_t j = 0; j < 6; ++j) {
        const float found = out[i * 6 + j];
        if (j == 4) {
          EXPECT_TRUE(std::isnan(found));
        } else {
          EXPECT_EQ(found, i == 2 ? std::numeric_limits<float>::infinity() : 6.0f);
        }
      }
    }
  });
}

// Weights in an encoding, and what they decode to.
struct Weights {
  Encoding encoding;
  size_t rows;
  size_t depth;
  Floats values;
  size_t row_bytes;
  Guarded blocks;

  Weights(Encoding e, size_t n, size_t k)
      : encoding(e), rows(n), depth(k), values(n * k), row_bytes(bytes_of(e, k)), blocks(n * row_bytes) {
    const Floats source = draw(e == kF32 || e == kF16 ? uniform : normal, n * k, 3);
    if (e == kF32) {
      values = source;
      std::memcpy(blocks.data(), values.data(), n * row_bytes);
    } else if (traits(e).can_encode) {
      encoder(kF32, e)(source.data(), blocks.data(), n * k);
      decoder(e)(blocks.data(), values.data(), n * k);
    } else {
      fill_randomly();
      decoder(e)(blocks.data(), values.data(), n * k);
    }
  }

  // Any bytes, but for scales of the size of a weight's.
  void fill_randomly() {
    Random random(9);
    for (size_t i = 0; i < blocks.size; ++i) blocks.data()[i] = static_cast<uint8_t>(random() % 40);
  }
};

RowProducts call(Weights& weights, const Guarded& activations, size_t activation_stride, size_t m,
                 Guarded& out, size_t out_stride) {
  return {weights.encoding,
          weights.blocks.data(),
          weights.row_bytes,
          weights.rows,
          weights.depth,
          const_cast<Guarded&>(activations).data(),
          activation_stride,
          m,
          reinterpret_cast<float*>(out.data() + 3),
          out_stride};
}

// Aligned as floats are: Guarded's data is odd.
Floats floats_of(Guarded& out, size_t count) {
  Floats floats(count);
  std::memcpy(floats.data(), out.data() + 3, count * sizeof(float));
  return floats;
}

void check_rows(Encoding encoding, size_t rows, size_t depth, size_t m) {
  SCOPED_TRACE(std::string(encoding_name(encoding)) + " " + std::to_string(rows) + " rows of " +
               std::to_string(depth) + ", " + std::to_string(m) + " activations");
  Weights weights(encoding, rows, depth);
  const Floats x = draw(uniform, m * depth, 4);
  Guarded activations(x.size() * sizeof(float));
  std::memcpy(activations.data(), x.data(), activations.size);
  Guarded out(m * rows * sizeof(float) + 4);
  row_products(encoding)(call(weights, activations, depth * sizeof(float), m, out, rows));
  EXPECT_TRUE(out.intact());
  const Floats found = floats_of(out, m * rows);
  for (size_t i = 0; i < m; ++i) {
    for (size_t n = 0; n < rows; ++n) {
      Sum sum;
      for (size_t k = 0; k < depth; ++k) sum.add(x[i * depth + k], weights.values[n * depth + k]);
      expect_near(found[i * rows + n], sum, depth,
                  "activation " + std::to_string(i) + " row " + std::to_string(n));
    }
  }
}

TEST(RowProducts, AnySizeIsWithinTheBound) {
  at_every_level([] {
    for (const Encoding encoding : {kF32, kF16, kBF16}) {
      for (size_t n = 1; n <= 67; n += 6) check_rows(encoding, n, 68 - n, 1 + n % 9);
      check_rows(encoding, 9, 333, 3);
    }
  });
}

TEST(RowProducts, EveryEncodingIsMultipliedAsItDecodes) {
  at_every_level([] {
    for (const EncodingTraits& t : all_encodings()) {
      if (!t.can_decode || !t.is_block()) {
        EXPECT_EQ(row_products(t.encoding) != nullptr, t.can_decode || t.encoding == kF32);
        continue;
      }
      for (const size_t m : {1u, 2u, 3u, 4u, 6u}) check_rows(t.encoding, 4 + m, 3 * t.block_elements, m);
      check_rows(t.encoding, 1, 768, 1);
    }
  });
}

// Rows of activations as 8-bit integers.
struct Int8Rows {
  size_t stride;
  Guarded bytes;
  Int8Rows(Encoding weights, const Floats& x, size_t depth)
      : stride(int8_activation_bytes(weights, depth)), bytes(x.size() / depth * stride) {
    for (size_t m = 0; m < x.size() / depth; ++m) {
      int8_activations(weights)(x.data() + m * depth, depth, bytes.data() + m * stride);
    }
  }
};

Floats int8_products(Weights& weights, const Int8Rows& rows, size_t m) {
  Guarded out(m * weights.rows * sizeof(float) + 4);
  int8_row_products(weights.encoding)(call(weights, rows.bytes, rows.stride, m, out, weights.rows));
  EXPECT_TRUE(out.intact());
  return floats_of(out, m * weights.rows);
}

// Scales of 1 and 2^-7 leave only integers below 2^24 in the sums, which every order of addition gives
// exactly.
TEST(Int8RowProducts, SumsAreExactIntegersAtEveryLevel) {
  for (const Encoding encoding : kIntegerWeights) {
    const EncodingTraits& t = traits(encoding);
    for (const size_t m : {1u, 2u, 3u, 4u, 7u}) {
      const size_t depth = 4 * t.block_elements;
      const size_t rows = 5 + m;
      Weights weights(encoding, rows, depth);
      Random random(static_cast<uint32_t>(m));
      for (size_t i = 0; i < weights.blocks.size; ++i) {
        weights.blocks.data()[i] = static_cast<uint8_t>(random());
      }
      const size_t scale_at = encoding == kTQ2_0 ? 64 : encoding == kTQ1_0 ? 52 : 0;
      for (size_t at = scale_at; at < weights.blocks.size; at += t.block_bytes) {
        const uint16_t one = 0x3C00;
        std::memcpy(weights.blocks.data() + at, &one, sizeof(one));
      }
      decoder(encoding)(weights.blocks.data(), weights.values.data(), rows * depth);
      Floats x(m * depth);
      for (float& v : x) v = static_cast<float>(static_cast<int>(random() % 255) - 127);
      for (size_t k = 0; k < x.size(); k += t.block_elements) x[k] = k % 2 == 0 ? 127.0f : -127.0f;
      at_every_level([&] {
        SCOPED_TRACE(std::string(encoding_name(encoding)) + " " + std::to_string(m));
        const Floats found = int8_products(weights, Int8Rows(encoding, x, depth), m);
        for (size_t i = 0; i < m; ++i) {
          for (size_t n = 0; n < rows; ++n) {
            Sum sum;
            for (size_t k = 0; k < depth; ++k) sum.add(x[i * depth + k], weights.values[n * depth + k]);
            ASSERT_EQ(found[i * rows + n], sum.value) << "activation " << i << " row " << n;
          }
        }
      });
    }
  }
}

// The sums of blocks are exact, so what is left is the error of the activations' rounding, half a scale each.
TEST(Int8RowProducts, ErrorIsThatOfTheActivations) {
  at_every_level([] {
    for (const Encoding encoding : kIntegerWeights) {
      SCOPED_TRACE(std::string(encoding_name(encoding)));
      const size_t depth = 512;
      const size_t block = traits(encoding).block_elements;
      Weights weights(encoding, 9, depth);
      const Floats x = draw(normal, 3 * depth, 6);
      const Floats found = int8_products(weights, Int8Rows(encoding, x, depth), 3);
      for (size_t i = 0; i < 3; ++i) {
        for (size_t n = 0; n < 9; ++n) {
          Sum sum;
          double rounding = 0.0;
          for (size_t first = 0; first < depth; first += block) {
            double peak = 0.0;
            for (size_t k = first; k < first + block; ++k) {
              peak = std::max(peak, std::abs(static_cast<double>(x[i * depth + k])));
            }
            for (size_t k = first; k < first + block; ++k) {
              sum.add(x[i * depth + k], weights.values[n * depth + k]);
              rounding += std::abs(weights.values[n * depth + k]) * peak / 127.0 * 0.5001;
            }
          }
          const double error = std::abs(found[i * 9 + n] - sum.value);
          EXPECT_TRUE(error <= rounding + bound(depth, sum.magnitude)) << error << " of at most " << rounding;
        }
      }
    }
  });
}

TEST(Int8Activations, BlocksWithoutANumberGiveNanAndTinyOnesZero) {
  at_every_level([] {
    for (const Encoding encoding : kIntegerWeights) {
      const size_t depth = 2 * traits(encoding).block_elements;
      Weights weights(encoding, 3, depth);
      Floats x(depth, 1e-37f);
      EXPECT_EQ(int8_products(weights, Int8Rows(encoding, x, depth), 1), Floats(3, 0.0f));
      for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
        x[depth - 1] = bad;
        for (const float v : int8_products(weights, Int8Rows(encoding, x, depth), 1))
          EXPECT_TRUE(std::isnan(v));
      }
    }
  });
}

TEST(Int8Activations, OnlySomeWeightsHaveThem) {
  for (const EncodingTraits& t : all_encodings()) {
    const bool has = std::ranges::find(kIntegerWeights, t.encoding) != std::end(kIntegerWeights);
    EXPECT_EQ(int8_activations(t.encoding) != nullptr, has) << t.name;
    EXPECT_EQ(int8_row_products(t.encoding) != nullptr, has) << t.name;
  }
}

// A row's result has the same bits alone, among others, and with other activations beside it.
TEST(RowProducts, ResultsDoNotDependOnTheirNeighbours) {
  at_every_level([] {
    for (const Encoding encoding : {kF32, kBF16, kQ4_0, kTQ1_0}) {
      const size_t depth = 512;
      Weights weights(encoding, 13, depth);
      const Floats x = draw(uniform, 6 * depth, 8);
      Guarded activations(x.size() * sizeof(float));
      std::memcpy(activations.data(), x.data(), activations.size);
      Guarded all(6 * 13 * sizeof(float) + 4);
      row_products(encoding)(call(weights, activations, depth * sizeof(float), 6, all, 13));
      const Floats expected = floats_of(all, size_t{6} * 13);
      for (const size_t row : {0u, 5u, 12u}) {
        Guarded one(sizeof(float) + 4);
        RowProducts p = call(weights, activations, depth * sizeof(float), 1, one, 1);
        p.weights = weights.blocks.data() + row * weights.row_bytes;
        p.weight_rows = 1;
        p.activations = activations.data() + 4 * depth * sizeof(float);
        row_products(encoding)(p);
        EXPECT_EQ(floats_of(one, 1)[0], expected[4 * 13 + row]) << encoding_name(encoding) << " " << row;
      }
    }
  });
}

}  // namespace
}  // namespace lobit::kernels

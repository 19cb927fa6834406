#include "lobit/ops/join.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_heap.h"
#include "lobit/base/test_support.h"
#include "lobit/dtype/half.h"
#include "lobit/memory/limiting_resource.h"
#include "lobit/ops/view_test_support.h"

namespace lobit::ops {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::byte> bytes_of(const Tensor& tensor, TestMemory& memory) {
  const Tensor whole = *tensor.contiguous(memory.resource);
  const std::span<const std::byte> bytes = *whole.bytes();
  return {bytes.begin(), bytes.end()};
}

Tensor indices_of(const std::vector<int64_t>& places, const Shape& shape, TestMemory& memory) {
  return *Tensor::from_bytes(std::as_bytes(std::span(places)), shape, Encoding::kRawI64, memory.resource);
}

// A few extents that add up to `extent`, each but the last a multiple of `border`.
std::vector<int64_t> cuts_of(std::mt19937& random, int64_t extent, int64_t border) {
  std::vector<int64_t> extents;
  while (extent > 0 && extents.size() < 3) {
    const int64_t part = std::min(extent, static_cast<int64_t>(random()) % (extent / border + 1) * border);
    extents.push_back(part);
    extent -= part;
  }
  extents.push_back(extent);
  return extents;
}

TEST(Concat, GivesBackWhatSplitTookApart) {
  TestMemory memory;
  std::mt19937 random(31);
  int kept = 0;
  for (int round = 0; round < 3000; ++round) {
    const Tensor x = random_view(random, 1500, memory);
    if (x.elements() == 0) continue;
    const size_t axis = random() % x.shape().rank();
    const bool last = axis + 1 == x.shape().rank();
    const std::vector<int64_t> extents =
        cuts_of(random, x.shape()[axis], last ? border_elements(x.format()) : 1);
    const Result<std::vector<Tensor>> parts = split(x, axis, extents);
    ASSERT_THAT(parts, is_ok()) << x;
    const Result<Tensor> whole = concat(*parts, axis, memory.context());
    const ScaleGroup scales = x.format().scales;
    if (last && (scales == ScaleGroup::kRow || scales == ScaleGroup::kTensor)) {
      EXPECT_THAT(whole, fails_with(ErrorCode::kInvalidArgument));
      continue;
    }
    ASSERT_THAT(whole, is_ok()) << x;
    ASSERT_EQ(whole->format(), x.format());
    ASSERT_EQ(whole->shape(), x.shape());
    ASSERT_EQ(bytes_of(*whole, memory), bytes_of(x, memory)) << x << " axis " << axis;
    ++kept;
  }
  EXPECT_GT(kept, 1500);
}

TEST(Concat, KeepsNumbersThatItCannotDecode) {
  TestMemory memory;
  const Tensor a = indices_of({1, 2, 3, 4}, shape_of({2, 2}), memory);
  const Tensor b = indices_of({5, 6}, shape_of({2, 1}), memory);
  const Tensor parts[] = {*a.transpose(), *b.transpose()};
  const Tensor whole = *concat(parts, 0, memory.context());
  EXPECT_THAT(*whole.values<int64_t>(), ElementsAre(1, 3, 2, 4, 5, 6));
  const Tensor mixed[] = {a, *Tensor::ones(shape_of({2, 1}), Encoding::kF32, memory.resource)};
  EXPECT_THAT(concat(mixed, 1, memory.context()), fails_with(ErrorCode::kUnsupported));
}

TEST(Concat, DecodesPartsOfSeveralFormats) {
  TestMemory memory;
  std::mt19937 random(32);
  for (int round = 0; round < 200; ++round) {
    std::vector<Tensor> parts;
    std::vector<float> expected;
    const int64_t columns = 1 + static_cast<int64_t>(random() % 70);
    for (int p = 0; p < 3; ++p) {
      const std::vector<ValueFormat> formats = formats_for(static_cast<uint64_t>(columns));
      parts.push_back(*Tensor::random(shape_of({static_cast<int64_t>(random() % 60), columns}),
                                      formats[random() % formats.size()], memory.resource,
                                      {.seed = random(), .low = 0.5f}));
      const std::vector<float> values = values_of(parts.back());
      expected.insert(expected.end(), values.begin(), values.end());
    }
    const bool same = parts[0].format() == parts[1].format() && parts[0].format() == parts[2].format();
    const Result<Tensor> whole = concat(parts, 0, memory.context());
    if (same) continue;
    ASSERT_THAT(whole, is_ok());
    ASSERT_EQ(whole->format().encoding, Encoding::kF32);
    ASSERT_EQ(values_of(*whole), expected);
    Tensor half = *Tensor::zeros(whole->shape(), Encoding::kF16, memory.resource);
    ASSERT_THAT(concat(parts, 0, half, memory.context()), is_ok());
    const std::vector<float> halves = values_of(half);
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(halves[i], f16_to_f32(f32_to_f16(expected[i])));
    }
  }
}

TEST(Concat, JoinsTensorsOfOneScaleWhereItIsTheSame) {
  TestMemory memory;
  const ValueFormat format{Encoding::kQ8_0, ScaleGroup::kTensor};
  const Tensor a =
      *Tensor::from_values(std::vector<float>{1, 2, -127, 4}, shape_of({2, 2}), format, memory.resource);
  const Tensor b =
      *Tensor::from_values(std::vector<float>{127, 3}, shape_of({1, 2}), format, memory.resource);
  const Tensor c =
      *Tensor::from_values(std::vector<float>{254, 2}, shape_of({1, 2}), format, memory.resource);
  const Tensor fits[] = {a, b};
  EXPECT_THAT(values_of(*concat(fits, 0, memory.context())), ElementsAre(1, 2, -127, 4, 127, 3));
  const Tensor other[] = {a, c};
  const auto refused = concat(other, 0, memory.context());
  EXPECT_THAT(refused, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(refused.error().detail.index, 1);
}

// The parts' own has no room for what puts views in one piece.
TEST(Concat, TakesMemoryFromTheContextAlone) {
  TestMemory memory;
  SystemResource system;
  LimitingResource full(system, 4096);
  const ValueFormat format{Encoding::kQ8_0, ScaleGroup::kTensor};
  const Tensor x = *Tensor::ones(shape_of({8, 10, 50}), format, full);
  const std::array<size_t, 3> axes{1, 0, 2};
  const Tensor parts[] = {*x.transpose(axes), *x.transpose(axes)};
  const auto whole = concat(parts, 0, memory.context());
  ASSERT_THAT(whole, is_ok());
  EXPECT_EQ(values_of(*whole), std::vector<float>(8000, 1.0f));
  EXPECT_EQ(whole->resource(), &memory.resource);
}

TEST(Concat, NamesTheNearestBorder) {
  TestMemory memory;
  const ValueFormat format{Encoding::kQ4_0, ScaleGroup::k32};
  const Tensor odd = *Tensor::ones(shape_of({2, 40}), format, memory.resource);
  const Tensor parts[] = {odd, odd};
  const auto refused = concat(parts, 1, memory.context());
  EXPECT_THAT(refused, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(refused.error().message, HasSubstr("expected 32 or 64 columns"));
  // Decoded it can be had.
  Tensor out = *Tensor::zeros(shape_of({2, 80}), Encoding::kF32, memory.resource);
  ASSERT_THAT(concat(parts, 1, out, memory.context()), is_ok());
  EXPECT_THAT(values_of(out), testing::Each(1.0f));
}

TEST(Concat, RefusesWhatDoesNotFit) {
  TestMemory memory;
  const OpContext context = memory.context();
  const Tensor a = *Tensor::ones(shape_of({2, 3}), Encoding::kF32, memory.resource);
  const Tensor b = *Tensor::ones(shape_of({2, 4}), Encoding::kF32, memory.resource);
  const Tensor c = *Tensor::ones(shape_of({2}), Encoding::kF32, memory.resource);
  const Tensor parts[] = {a, b};
  EXPECT_THAT(concat(parts, 1, context), is_ok());
  EXPECT_THAT(concat(parts, 0, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(concat(parts, 2, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(concat({}, 0, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(concat(parts, 1, {}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(stack(parts, 0, context), fails_with(ErrorCode::kInvalidArgument));
  const Tensor ranks[] = {a, c};
  EXPECT_EQ(concat(ranks, 0, context).error().detail.index, 1);
  Tensor out = *Tensor::zeros(shape_of({2, 6}), Encoding::kF32, memory.resource);
  EXPECT_THAT(concat(parts, 1, out, context), fails_with(ErrorCode::kInvalidArgument));
  const int64_t short_of[] = {1, 1};
  EXPECT_THAT(split(a, 1, short_of), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(split(a, 2, short_of), fails_with(ErrorCode::kInvalidArgument));
}

TEST(Concat, LeavesItsPartsAlone) {
  TestMemory memory;
  Tensor parts[] = {*Tensor::ones(shape_of({2}), Encoding::kF32, memory.resource),
                    *Tensor::ones(shape_of({0}), Encoding::kF32, memory.resource)};
  ASSERT_THAT(concat(parts, 0, parts[0], memory.context()), is_ok());
  EXPECT_THAT(values_of(parts[0]), ElementsAre(1, 1));
}

TEST(Stack, AddsAnAxisAnywhere) {
  TestMemory memory;
  const Tensor a = *Tensor::from_values(std::vector<float>{1, 2, 3, 4}, shape_of({2, 2}), Encoding::kBF16,
                                        memory.resource);
  const Tensor b = *a.transpose();
  const Tensor parts[] = {a, b};
  const Tensor first = *stack(parts, 0, memory.context());
  EXPECT_EQ(first.format().encoding, Encoding::kBF16);
  EXPECT_EQ(first.shape(), shape_of({2, 2, 2}));
  EXPECT_THAT(values_of(first), ElementsAre(1, 2, 3, 4, 1, 3, 2, 4));
  EXPECT_THAT(values_of(*stack(parts, 1, memory.context())), ElementsAre(1, 2, 1, 3, 3, 4, 2, 4));
  EXPECT_THAT(values_of(*stack(parts, 2, memory.context())), ElementsAre(1, 1, 2, 3, 3, 2, 4, 4));
  const Tensor blocks = *Tensor::ones(shape_of({1, 32}), Encoding::kQ8_0, memory.resource);
  const Tensor twice[] = {blocks, blocks};
  EXPECT_EQ(stack(twice, 1, memory.context())->shape(), shape_of({1, 2, 32}));
  EXPECT_THAT(stack(twice, 2, memory.context()), fails_with(ErrorCode::kInvalidArgument));
}

TEST(Stack, PutsDecodedValuesNextToEachOther) {
  TestMemory memory;
  const Tensor numbers = *Tensor::random(shape_of({3, 64}), Encoding::kF32, memory.resource, {.seed = 5});
  const std::vector<float> plain = values_of(numbers);
  for (const ValueFormat format :
       {ValueFormat{Encoding::kQ8_0}, ValueFormat{Encoding::kQ4_0, ScaleGroup::kRow},
        ValueFormat{Encoding::kQ1_0, ScaleGroup::k32}}) {
    const Tensor part = *Tensor::from_values(plain, shape_of({3, 64}), format, memory.resource);
    const std::vector<float> decoded = values_of(part);
    const Tensor mixed[] = {part, numbers};
    const std::vector<float> found = values_of(*stack(mixed, 2, memory.context()));
    const Tensor twice[] = {part, part};
    Tensor halves = *Tensor::zeros(shape_of({3, 64, 2}), Encoding::kF16, memory.resource);
    ASSERT_THAT(stack(twice, 2, halves, memory.context()), is_ok());
    const std::vector<float> rounded = values_of(halves);
    for (size_t i = 0; i < plain.size(); ++i) {
      ASSERT_EQ(found[2 * i], decoded[i]) << to_string(format) << i;
      ASSERT_EQ(found[2 * i + 1], plain[i]);
      ASSERT_EQ(rounded[2 * i], f16_to_f32(f32_to_f16(decoded[i])));
      ASSERT_EQ(rounded[2 * i + 1], rounded[2 * i]);
    }
  }
}

TEST(Concat, LeavesItsResultWhenAPartCannotBeDecoded) {
  TestMemory memory;
  const Tensor parts[] = {*Tensor::ones(shape_of({2}), Encoding::kF32, memory.resource),
                          indices_of({1, 2}, shape_of({2}), memory)};
  Tensor out = *Tensor::full(shape_of({4}), 7, Encoding::kF32, memory.resource);
  EXPECT_THAT(concat(parts, 0, out, memory.context()), fails_with(ErrorCode::kUnsupported));
  EXPECT_THAT(values_of(out), ElementsAre(7, 7, 7, 7));
}

TEST(Join, OfNothingTakesNoTime) {
  TestMemory memory;
  const Shape shape = shape_of({int64_t{1} << 60, 0});
  const Tensor nothing = *Tensor::empty(shape, Encoding::kF32, memory.resource);
  const Tensor parts[] = {nothing, nothing};
  EXPECT_EQ(concat(parts, 1, memory.context())->shape(), shape);
  EXPECT_EQ(stack(parts, 1, memory.context())->shape(), shape_of({int64_t{1} << 60, 2, 0}));
  const Tensor deep = *Tensor::empty(shape_of({int64_t{1} << 60, 3, 0}), Encoding::kF32, memory.resource);
  const Tensor index = indices_of({2}, shape_of({1}), memory);
  EXPECT_EQ(gather(deep, 1, index, memory.context())->elements(), 0u);
}

TEST(Gather, TakesIndicesAtAnyAddress) {
  TestMemory memory;
  std::vector<std::byte> bytes(1 + 2 * sizeof(int64_t));
  const int64_t places[] = {2, 0};
  std::memcpy(bytes.data() + 1, places, sizeof(places));
  const Tensor index =
      *Tensor::borrow(std::span(bytes).subspan(1), shape_of({2}), Encoding::kRawI64, memory.resource);
  const Tensor x =
      *Tensor::from_values(std::vector<float>{1, 2, 3}, shape_of({3}), Encoding::kF32, memory.resource);
  EXPECT_THAT(values_of(*gather(x, 0, index, memory.context())), ElementsAre(3, 1));
}

TEST(Gather, PicksSlicesOfAnyAxisOfAnyView) {
  TestMemory memory;
  std::mt19937 random(33);
  for (int round = 0; round < 2000; ++round) {
    const Tensor x = random_view(random, 1000, memory);
    if (x.elements() == 0 || x.shape().rank() > 3) continue;
    const size_t axis = random() % x.shape().rank();
    const auto extent = static_cast<uint64_t>(x.shape()[axis]);
    std::vector<int64_t> places(4);
    for (int64_t& place : places) place = static_cast<int64_t>(random() % extent);
    const Result<Tensor> picked =
        gather(x, axis, indices_of(places, shape_of({2, 2}), memory), memory.context());
    ASSERT_THAT(picked, is_ok()) << x;
    ASSERT_EQ(picked->shape().rank(), x.shape().rank() + 1);
    uint64_t inner = 1;
    for (size_t a = axis + 1; a < x.shape().rank(); ++a) inner *= static_cast<uint64_t>(x.shape()[a]);
    const std::vector<float> values = values_of(x);
    const std::vector<float> found = values_of(*picked);
    ASSERT_EQ(found.size(), values.size() / extent * places.size());
    for (uint64_t i = 0; i < found.size(); ++i) {
      const auto place = static_cast<uint64_t>(places[i / inner % places.size()]);
      ASSERT_EQ(found[i], values[(i / inner / places.size() * extent + place) * inner + i % inner]) << x;
    }
  }
}

TEST(Gather, RoundsToTheFormatOfItsResult) {
  TestMemory memory;
  const ValueFormat odd{Encoding::kQ2_0, ScaleGroup::kRow};
  const Tensor x = *Tensor::random(shape_of({3, 4101}), odd, memory.resource);
  const Tensor places = indices_of({2, 0}, shape_of({2}), memory);
  Tensor half = *Tensor::zeros(shape_of({2, 4101}), Encoding::kBF16, memory.resource);
  ASSERT_THAT(gather(x, 0, places, half, memory.context()), is_ok());
  const std::vector<float> values = values_of(x);
  const std::vector<float> found = values_of(half);
  for (size_t i = 0; i < found.size(); ++i) {
    const float value = values[i < 4101 ? 2 * 4101 + i : i - 4101];
    ASSERT_EQ(found[i], bf16_to_f32(f32_to_bf16(value)));
  }
}

// Not from the heap, whatever the number of indices.
TEST(Gather, TakesItsListFromTheContext) {
  if (!heap_is_counted()) GTEST_SKIP();
  constexpr int64_t kCount = 20'000;
  SystemResource memory;
  const Tensor x = *Tensor::ones(shape_of({3, 2}), Encoding::kF32, memory);
  const std::vector<int32_t> places(kCount, 1);
  const Tensor indices =
      *Tensor::borrow(std::as_bytes(std::span(places)), shape_of({kCount}), Encoding::kRawI32, memory);
  const HeapPeak peak;
  ASSERT_THAT(gather(x, 1, indices, {.memory = &memory}), is_ok());
  EXPECT_LT(peak.bytes(), 4096u);
  // What lies there with the result: the list, and a row.
  LimitingResource least(memory, 3 * kCount * sizeof(float) + kCount * sizeof(uint64_t) + 64);
  EXPECT_THAT(gather(x, 1, indices, {.memory = &least}), is_ok());
  LimitingResource less(memory, 3 * kCount * sizeof(float) + kCount * sizeof(uint64_t) - 64);
  EXPECT_THAT(gather(x, 1, indices, {.memory = &less}), fails_with(ErrorCode::kLimit));
}

TEST(Gather, NamesAnIndexOutOfRange) {
  TestMemory memory;
  const Tensor x = *Tensor::ones(shape_of({3, 4}), Encoding::kF32, memory.resource);
  for (const int64_t bad : {int64_t{3}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    const Tensor places = indices_of({0, bad}, shape_of({2}), memory);
    const auto refused = gather(x, 0, places, memory.context());
    EXPECT_THAT(refused, fails_with(ErrorCode::kInvalidArgument));
    EXPECT_THAT(refused.error().message,
                HasSubstr("index 1: expected 0 <= index < 3, found " + std::to_string(bad)));
    EXPECT_EQ(refused.error().detail.index, 1);
    EXPECT_THAT(take_rows(x, places, memory.context()), fails_with(ErrorCode::kInvalidArgument));
  }
  EXPECT_THAT(gather(x, 0, x, memory.context()), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(gather(x, 2, indices_of({0}, shape_of({1}), memory), memory.context()),
              fails_with(ErrorCode::kInvalidArgument));
  const int32_t small[] = {2, 1};
  const Tensor places =
      *Tensor::from_bytes(std::as_bytes(std::span(small)), shape_of({2}), Encoding::kRawI32, memory.resource);
  EXPECT_THAT(gather(x, 0, places, memory.context()), is_ok());
  EXPECT_EQ(gather(x, 0, indices_of({}, shape_of({0}), memory), memory.context())->shape(), shape_of({0, 4}));
}

TEST(TakeRows, KeepsEveryBit) {
  TestMemory memory;
  std::mt19937 random(34);
  for (const int64_t columns : {int64_t{1}, int64_t{37}, int64_t{512}}) {
    for (const ValueFormat format : formats_for(static_cast<uint64_t>(columns))) {
      const Tensor x =
          *Tensor::random(shape_of({6, 2, columns}), format, memory.resource, {.seed = random()});
      const Tensor taken = *take_rows(x, indices_of({5, 0, 5}, shape_of({3}), memory), memory.context());
      ASSERT_EQ(taken.format(), format);
      ASSERT_EQ(taken.shape(), shape_of({3, 2, columns}));
      const Tensor rows[] = {*x.slice(0, 5, 6), *x.slice(0, 0, 1), *x.slice(0, 5, 6)};
      ASSERT_EQ(bytes_of(taken, memory), bytes_of(*concat(rows, 0, memory.context()), memory))
          << to_string(format);
    }
  }
  const Tensor row = *Tensor::ones(shape_of({32}), Encoding::kQ8_0, memory.resource);
  EXPECT_THAT(take_rows(row, indices_of({0}, shape_of({1}), memory), memory.context()),
              fails_with(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace lobit::ops

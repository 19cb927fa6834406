#include "lobit/ops/op_internal.h"

#include <array>
#include <mutex>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/tensor/tensor_test_support.h"

namespace lobit::detail {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Tensor numbered_tensor(const Shape& shape, MemoryResource& memory, Encoding encoding = Encoding::kF32) {
  const std::vector<float> values = numbered(shape.elements());
  return *Tensor::from_values(values, shape, ValueFormat{encoding}, memory);
}

TEST(BroadcastShape, MatchesAxesFromTheLastOn) {
  const auto shape = [](const Shape& a, const Shape& b) { return broadcast_shape("add", a, b); };
  EXPECT_EQ(*shape(shape_of({4, 1, 3}), shape_of({5, 1})), shape_of({4, 5, 3}));
  EXPECT_EQ(*shape(shape_of({}), shape_of({2})), shape_of({2}));
  EXPECT_EQ(*shape(shape_of({1}), shape_of({0})), shape_of({0}));
  EXPECT_EQ(*shape(shape_of({7, 0}), shape_of({1, 1})), shape_of({7, 0}));
  EXPECT_THAT(shape(shape_of({4, 3}), shape_of({4})), fails_with(ErrorCode::kInvalidArgument));
  const auto refused = shape(shape_of({4, 3}), shape_of({4}));
  EXPECT_THAT(refused.error().message, HasSubstr("[4, 3] and [4]"));
  EXPECT_EQ(refused.error().detail.index, 1);
  EXPECT_THAT(shape(shape_of({0}), shape_of({2})), fails_with(ErrorCode::kInvalidArgument));
  const int64_t big = int64_t{1} << 40;
  EXPECT_THAT(shape(shape_of({big, 1}), shape_of({1, big})), fails_with(ErrorCode::kInvalidArgument));
}

TEST(ResultFormat, IsThatOfHalvesAloneAndF32OfAllElse) {
  SystemResource memory;
  const Tensor f16 = numbered_tensor(shape_of({64}), memory, Encoding::kF16);
  const Tensor bf16 = numbered_tensor(shape_of({64}), memory, Encoding::kBF16);
  const Tensor q8 = numbered_tensor(shape_of({64}), memory, Encoding::kQ8_0);
  EXPECT_EQ(result_format({&f16, &f16}).encoding, Encoding::kF16);
  EXPECT_EQ(result_format({&bf16}).encoding, Encoding::kBF16);
  EXPECT_EQ(result_format({&f16, &bf16}).encoding, Encoding::kF32);
  EXPECT_EQ(result_format({&q8, &q8}).encoding, Encoding::kF32);
}

TEST(CheckOperand, RefusesWhatCannotBeDecoded) {
  SystemResource memory;
  const std::array<std::byte, 16> bytes{};
  const Tensor numbers = *Tensor::from_bytes(bytes, shape_of({4}), ValueFormat{Encoding::kRawI32}, memory);
  const Status refused = check_operand("exp", numbers);
  EXPECT_THAT(refused, fails_with(ErrorCode::kUnsupported));
  EXPECT_THAT(refused.error().message, HasSubstr("exp"));
  EXPECT_THAT(refused.error().message, HasSubstr("raw_i32"));
  EXPECT_THAT(check_operand("exp", numbered_tensor(shape_of({4}), memory)), is_ok());
}

TEST(CheckContext, NeedsMemory) {
  EXPECT_THAT(check_context("exp", {}), fails_with(ErrorCode::kInvalidArgument));
  SystemResource memory;
  EXPECT_THAT(check_context("exp", {.memory = &memory}), is_ok());
}

TEST(Output, WritesIntoABlockThatTheTensorAloneOwns) {
  SystemResource memory;
  const OpContext context{.memory = &memory};
  Tensor out = numbered_tensor(shape_of({4}), memory);
  const std::byte* const before = out.bytes()->data();
  Result<Output> output = Output::create("neg", out, shape_of({4}), kFloats, context);
  ASSERT_THAT(output, is_ok());
  EXPECT_EQ(output->bytes(), before);
  output->commit();
  EXPECT_EQ(out.bytes()->data(), before);
}

TEST(Output, LeavesThoseWhoShareTheBlockAlone) {
  SystemResource memory;
  const OpContext context{.memory = &memory};
  Tensor out = numbered_tensor(shape_of({2}), memory);
  out.set_name("sum");
  out.set_tags({"layer"});
  const Tensor other = out;
  Result<Output> output = Output::create("neg", out, shape_of({2}), kFloats, context);
  ASSERT_THAT(output, is_ok());
  auto* const values = reinterpret_cast<float*>(output->bytes());
  values[0] = 7;
  values[1] = 8;
  EXPECT_EQ(values_of(out), values_of(other)) << "committed too early";
  output->commit();
  EXPECT_THAT(values_of(out), ElementsAre(7, 8));
  EXPECT_THAT(values_of(other), ElementsAre(0.5f, -1.5f));
  EXPECT_EQ(out.name(), "sum");
  EXPECT_THAT(out.tags(), ElementsAre("layer"));
}

TEST(Output, RefusesOtherShapesAndFormats) {
  SystemResource memory;
  const OpContext context{.memory = &memory};
  Tensor out = numbered_tensor(shape_of({32}), memory);
  const auto shape = Output::create("add", out, shape_of({4, 8}), kFloats, context);
  EXPECT_THAT(shape, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(shape.error().message, HasSubstr("expected shape [4, 8], found [32]"));
  EXPECT_THAT(Output::create("add", out, shape_of({32}), {Encoding::kRawU8}, context),
              fails_with(ErrorCode::kInvalidArgument));
  Tensor blocks = numbered_tensor(shape_of({32}), memory, Encoding::kQ8_0);
  EXPECT_THAT(Output::create("add", blocks, shape_of({32}), kFloats, context),
              fails_with(ErrorCode::kInvalidArgument));
}

TEST(ValueReader, ReadsWhereValuesLieOrDecodesThem) {
  SystemResource memory;
  const Tensor plain = numbered_tensor(shape_of({3, 2}), memory);
  std::array<float, 6> tile{};
  EXPECT_EQ(ValueReader(plain).read(2, 2, tile.data()), plain.values<float>()->data() + 2);
  const Tensor turned = *plain.transpose();
  const ValueReader reader(turned);
  EXPECT_EQ(reader.values(), nullptr);
  EXPECT_EQ(reader.read(0, 6, tile.data()), tile.data());
  EXPECT_THAT(tile, ElementsAre(0.5f, 2.5f, 4.5f, -1.5f, -3.5f, -5.5f));
}

// All pieces that work was called with, in order.
std::vector<std::pair<uint64_t, uint64_t>> pieces(size_t threads, uint64_t items, uint64_t grain) {
  ThreadPool pool = *ThreadPool::create(threads);
  std::mutex mutex;
  std::vector<std::pair<uint64_t, uint64_t>> found;
  for_each_range({.threads = &pool}, items, grain, [&](uint64_t first, uint64_t count) {
    const std::lock_guard lock(mutex);
    found.emplace_back(first, count);
  });
  std::ranges::sort(found);
  return found;
}

TEST(ForEachRange, CutsAlikeForAnyNumberOfThreads) {
  using ::testing::Pair;
  for (const size_t threads : {1U, 2U, 3U}) {
    EXPECT_THAT(pieces(threads, 10, 4), ElementsAre(Pair(0, 4), Pair(4, 4), Pair(8, 2)));
    EXPECT_THAT(pieces(threads, 8, 4), ElementsAre(Pair(0, 4), Pair(4, 4)));
    EXPECT_TRUE(pieces(threads, 0, 4).empty());
  }
}

}  // namespace
}  // namespace lobit::detail

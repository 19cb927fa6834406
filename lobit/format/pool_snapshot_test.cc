#include "lobit/format/pool_snapshot.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include "lobit/format/safetensors.h"
#include "lobit/format/tensor_file.h"
#include "lobit/format/tensor_file_test_support.h"

namespace lobit {
namespace {

using namespace std::chrono_literals;
using enum Encoding;

// As who makes a file by hand would compute it.
std::string pool_checksum(std::string_view text) {
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

class PoolSnapshotTest : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return folder_.path() / "pool.snapshot"; }

  static std::unique_ptr<HybridMemoryPool> make_pool() {
    MemoryPoolOptions options;
    options.small = {.initial = 0, .max = uint64_t{8} << 20};
    options.large = {.initial = 0, .max = uint64_t{16} << 20};
    options.small_block_threshold = 64 << 10;
    options.limit = uint64_t{20} << 20;
    options.huge_pages = HugePages::kNever;
    options.idle_trim = 123ms;
    return HybridMemoryPool::create(options).value();
  }
  static std::vector<Tensor> make_tensors(HybridMemoryPool& pool) {
    std::vector<Tensor> tensors = {any_tensor("f", shape_of({3, 70}), {kF32}, pool),
                                   any_tensor("p", shape_of({5, 33}), {kQ4_0, ScaleGroup::kRow}, pool),
                                   any_tensor("b", shape_of({2, 256}), {kTQ2_0}, pool),
                                   any_tensor("e", shape_of({0}), {kF16}, pool)};
    tensors[1].set_tags({"planar", "weight"});
    tensors.push_back(tensors[0].transpose().value());
    tensors.back().set_name("view");
    return tensors;
  }

  TemporaryFolder folder_;
};

TEST_F(PoolSnapshotTest, GivesTensorsOptionsAndUsageBack) {
  const auto pool = make_pool();
  const std::vector<Tensor> tensors = make_tensors(*pool);
  const MemoryUsage usage = pool->usage();
  ASSERT_THAT(save_pool(path(), *pool, tensors), is_ok());
  const auto restored = restore_pool(path());
  ASSERT_THAT(restored, is_ok());
  const MemoryPoolOptions& before = pool->options();
  const MemoryPoolOptions& after = restored->pool->options();
  EXPECT_EQ(after.small.max, before.small.max);
  EXPECT_EQ(after.large.max, before.large.max);
  EXPECT_EQ(after.small.initial, before.small.initial);
  EXPECT_EQ(after.large.initial, before.large.initial);
  EXPECT_EQ(after.small_block_threshold, before.small_block_threshold);
  EXPECT_EQ(after.limit, before.limit);
  EXPECT_EQ(after.huge_pages, HugePages::kNever);
  EXPECT_EQ(after.idle_trim, 123ms);
  EXPECT_EQ(restored->usage_when_saved.allocated, usage.allocated);
  EXPECT_EQ(restored->usage_when_saved.committed, usage.committed);
  EXPECT_EQ(restored->usage_when_saved.peak_committed, usage.peak_committed);
  EXPECT_EQ(restored->usage_when_saved.allocations, usage.allocations);
  ASSERT_EQ(restored->tensors.size(), tensors.size());
  for (const Tensor& tensor : tensors) {
    const Tensor* found = find_tensor(restored->tensors, tensor.name());
    ASSERT_NE(found, nullptr);
    expect_same(*found, tensor);
    EXPECT_EQ(found->resource(), restored->pool.get());
  }
}

TEST_F(PoolSnapshotTest, OfAnEmptyPoolWithoutLimits) {
  const auto pool = HybridMemoryPool::create().value();
  ASSERT_THAT(save_pool(path(), *pool, {}), is_ok());
  const auto restored = restore_pool(path());
  ASSERT_THAT(restored, is_ok());
  EXPECT_EQ(restored->pool->options().limit, kNoLimit);
  EXPECT_EQ(restored->pool->options().huge_pages, HugePages::kWhereTheyFit);
  EXPECT_TRUE(restored->tensors.empty());
}

TEST_F(PoolSnapshotTest, RefusesTensorsOfOthersAndNamesThatAreTwice) {
  const auto pool = make_pool();
  SystemResource memory;
  const std::vector<Tensor> other = {any_tensor("w", shape_of({3}), {kF32}, memory)};
  const auto refused = save_pool(path(), *pool, other);
  ASSERT_THAT(refused, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(refused.error().detail.index, 0u);
  const std::vector<Tensor> twice(2, any_tensor("w", shape_of({3}), {kF32}, *pool));
  EXPECT_THAT(save_pool(path(), *pool, twice), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(files_in(folder_.path()), 0u);
}

TEST_F(PoolSnapshotTest, IsNoPoolAfterAnyDamage) {
  const auto pool = make_pool();
  const std::vector<Tensor> tensors = make_tensors(*pool);
  ASSERT_THAT(save_pool(path(), *pool, tensors), is_ok());
  const std::string good = content_of(path());
  const auto header = read_safetensors(MemorySource(std::as_bytes(std::span(good))));
  // What pads the header may be another space and says nothing.
  const std::string_view text = std::string_view(good).substr(0, header->data_offset);
  const size_t padding = text.find_last_not_of(' ') + 1;
  // All of the header, and some of the values.
  for (size_t i = 0; i < good.size(); i += i < text.size() ? 1 : 11) {
    if (i >= padding && i < text.size()) continue;
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1 << i % 8);
    overwrite(path(), bad);
    const auto restored = restore_pool(path());
    ASSERT_FALSE(restored.has_value()) << i << " of " << good.size();
    const ErrorCode code = restored.error().code;
    EXPECT_TRUE(code == ErrorCode::kCorrupt || code == ErrorCode::kUnsupported || code == ErrorCode::kLimit)
        << i << ": " << restored.error().message;
  }
  for (size_t size = 0; size < good.size(); size += 37) {
    overwrite(path(), std::string_view(good).substr(0, size));
    EXPECT_THAT(restore_pool(path()), fails_with(ErrorCode::kCorrupt)) << size;
  }
  overwrite(path(), good);
  EXPECT_THAT(restore_pool(path()), is_ok());
}

TEST_F(PoolSnapshotTest, RefusesOtherFiles) {
  EXPECT_THAT(restore_pool(path()), fails_with(ErrorCode::kNotFound));
  SystemResource memory;
  const SaveTensorsOptions options{.format = TensorFileFormat::kSafetensors};
  ASSERT_THAT(save_tensor(path(), any_tensor("w", shape_of({3}), {kF32}, memory), options), is_ok());
  EXPECT_THAT(restore_pool(path()), fails_with(ErrorCode::kCorrupt));
}

// What says that it is whole, and could be made so by hand, is still checked.
TEST_F(PoolSnapshotTest, TakesNoHostileState) {
  const auto pool = make_pool();
  ASSERT_THAT(save_pool(path(), *pool, {}), is_ok());
  const std::string good = content_of(path());
  const auto state_of = [](const std::string& file) {
    const auto directory =
        read_tensor_directory(MemorySource(std::as_bytes(std::span(file))), TensorFileFormat::kSafetensors);
    return directory->metadata.find("lobit.pool")->bytes;
  };
  const std::string state = state_of(good);
  const auto restore = [&](const std::string& from, const std::string& to) {
    std::string changed = state;
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed.replace(at, from.size(), to);
    SaveTensorsOptions options{.format = TensorFileFormat::kSafetensors};
    options.metadata.set("lobit.pool", MetadataValue::string(changed));
    options.metadata.set("lobit.pool.xxh3", MetadataValue::string(pool_checksum(changed)));
    EXPECT_THAT(save_tensors(path(), {}, options), is_ok());
    return restore_pool(path());
  };
  using enum ErrorCode;
  EXPECT_THAT(restore("\"version\":1", "\"version\":1"), is_ok());
  EXPECT_THAT(restore("\"version\":1", "\"version\":2"), fails_with(kUnsupported));
  EXPECT_THAT(restore("\"version\":1", "\"version\":2,\"numa\":1"), fails_with(kUnsupported));
  EXPECT_THAT(restore("\"version\":1", "\"version\":0"), fails_with(kCorrupt));
  EXPECT_THAT(restore("\"large_initial\":0", "\"large_initial\":4611686018427387904"), fails_with(kLimit));
  EXPECT_THAT(restore("\"tensors\":0", "\"tensors\":1"), fails_with(kCorrupt));
  EXPECT_THAT(restore("\"tensors\":0", "\"tensors\":0,\"tensors\":0"), fails_with(kCorrupt));
  EXPECT_THAT(restore("\"tensors\":0,", ""), fails_with(kCorrupt));
  EXPECT_THAT(restore("\"limit\":", "\"limits\":"), fails_with(kCorrupt));
  EXPECT_THAT(restore("\"limit\":20971520", "\"limit\":-1"), fails_with(kCorrupt));
  EXPECT_THAT(restore("\"limit\":20971520", "\"limit\":{}"), fails_with(kCorrupt));
  EXPECT_THAT(restore("\"usage\":{", "\"usage\":{\"options\":{\"limit\":1},"), fails_with(kCorrupt));
  EXPECT_THAT(restore("{\"version\"", "[{\"version\""), fails_with(kCorrupt));
  EXPECT_THAT(restore("\"small_block_threshold\":65536", "\"small_block_threshold\":1"),
              fails_with(kInvalidArgument));
  EXPECT_THAT(restore("\"idle_trim_ms\":123", "\"idle_trim_ms\":18446744073709551615"),
              fails_with(kInvalidArgument));
}

TEST_F(PoolSnapshotTest, HoldsTheOldLimit) {
  const auto pool = make_pool();
  std::vector<Tensor> tensors = {any_tensor("w", shape_of({1 << 20}), {kF32}, *pool)};
  tensors.push_back(tensors[0].transpose().value().broadcast_to(shape_of({8, 1 << 20})).value());
  tensors[1].set_name("wider than the pool");
  ASSERT_THAT(save_pool(path(), *pool, tensors), is_ok());
  EXPECT_THAT(restore_pool(path()), fails_with(ErrorCode::kLimit));
}

}  // namespace
}  // namespace lobit

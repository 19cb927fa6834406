#include "lobit/report/op_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lobit {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

// 4 rows of 64 in Q8_0 times a vector: 12,000 bytes and 24,000 operations in a microsecond.
OpRecord product() {
  OpRecord call;
  call.op = "matmul";
  call.inputs = {OpOperand{*Shape::create({64}), {Encoding::kF32}},
                 OpOperand{*Shape::create({4, 64}), {Encoding::kQ8_0}}, OpOperand{}};
  call.input_count = 2;
  call.output = {*Shape::create({4}), {Encoding::kF32}};
  call.bytes_read = 11'000;
  call.bytes_written = 1'000;
  call.arithmetic = 24'000;
  call.threads = 2;
  call.start_ns = 5'000;
  call.duration_ns = 1'000;
  return call;
}

OpRecord small_sum() {
  OpRecord call;
  call.op = "add";
  call.inputs[0] = call.output = {*Shape::create({2}), {Encoding::kF32}};
  call.input_count = 1;
  call.bytes_read = 500;
  call.start_ns = 7'000;
  call.duration_ns = 250;
  return call;
}

OpReport two_calls(size_t kept = 2) {
  OpProfiler profiler(kept);
  profiler.record(small_sum());
  profiler.record(product());
  return {.profile = profiler.profile(),
          .limit = MemoryBandwidth{.read_one = 10, .read_all = 24, .threads = 2}};
}

TEST(OpReport, TellsTheTimeAndTheShareOfMemorysRate) {
  EXPECT_EQ(to_text(two_calls()),
            "operation  formats           calls    time  of all     bytes  GB/s  of memory's  GFLOP/s\n"
            "────────────────────────────────────────────────────────────────────────────────────────\n"
            "matmul     f32, q8_0 -> f32      1  1.0 us  80.0 %  11.7 KiB  12.0         50 %     24.0\n"
            "add        f32 -> f32            1  250 ns  20.0 %     500 B   2.0         20 %\n");
}

TEST(OpReport, ListsTheLongestCallsWhenAsked) {
  const std::string text = to_text(two_calls(), {.detail = ReportDetail::kTensors});
  EXPECT_THAT(text, HasSubstr("[64] f32, [4, 64] q8_0 -> [4] f32"));
  EXPECT_LT(text.rfind("matmul"), text.rfind("add"));
  EXPECT_THAT(to_text(two_calls()), Not(HasSubstr("[4, 64]")));
}

TEST(OpReport, SaysWhatItLeavesOutAndWhatNobodyMeasured) {
  OpReport report = two_calls(1);
  EXPECT_THAT(to_text(report), HasSubstr("1 call later than those that were kept"));
  report.limit.reset();
  EXPECT_THAT(to_text(report), Not(HasSubstr("50 %")));
  EXPECT_FALSE(json::parse(to_json(report)).contains("memory_read_gb_per_s"));
  EXPECT_EQ(to_text(OpReport{}), "no operation ran\n");
}

TEST(OpReport, GivesProgramsTheSameNumbers) {
  const json out = json::parse(to_json(two_calls()));
  EXPECT_EQ(out["schema"], "lobit.ops.v1");
  EXPECT_EQ(out["memory_read_gb_per_s"]["all_threads"], 24);
  const json& matmul = out["totals"][0];
  EXPECT_EQ(matmul["op"], "matmul");
  EXPECT_EQ(matmul["gb_per_s"], 12);
  EXPECT_EQ(matmul["share_of_memory_rate"], 0.5);
  EXPECT_EQ(matmul["gflop_per_s"], 24);
  EXPECT_FALSE(out["totals"][1].contains("gflop_per_s"));
  EXPECT_EQ(out["calls"][1]["inputs"][1]["shape"], json({4, 64}));
  EXPECT_EQ(out["calls"][1]["inputs"][1]["format"], "q8_0");
  EXPECT_EQ(out["calls"][1]["start_ns"], 5000);
  EXPECT_EQ(json::parse(to_json(two_calls(1)))["calls_left_out"], 1);
}

TEST(OpReport, IsATraceOfSpans) {
  const json events = json::parse(to_perfetto(two_calls()))["traceEvents"];
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0]["ph"], "M");
  EXPECT_EQ(events[2]["name"], "matmul");
  EXPECT_EQ(events[2]["ph"], "X");
  EXPECT_EQ(events[2]["ts"], 5.0);
  EXPECT_EQ(events[2]["dur"], 1.0);
  EXPECT_EQ(events[2]["args"]["output"]["shape"], json::array({4}));
}

}  // namespace
}  // namespace lobit

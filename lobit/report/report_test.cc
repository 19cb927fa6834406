#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "lobit/report/conversion_report.h"
#include "lobit/report/example_reports.h"
#include "lobit/report/model_report.h"
#include "lobit/report/verify_report.h"

namespace lobit {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

// Two tensors: one converted to a quarter with 10 dB, one copied exactly.
ConversionReport small_conversion() {
  ConversionReport report{
      .source = "a.safetensors",
      .target = "b.gguf",
      .source_format = "safetensors",
      .target_format = "gguf",
      .tensors = {example::converted("blk.0.attn_q.weight", "attention", 0, "512x512", 262144, 10),
                  example::norm("norm.weight", -1)},
      .file_bytes_in = 600000,
      .file_bytes_out = 150000,
      .seconds = 0.5,
      .threads = 2,
      .memory_limit = 67108864,
      .peak_rss = 33554432};
  return report;
}

TEST(ConversionReport, AddsUp) {
  const ConversionTotals sum = totals(small_conversion());
  EXPECT_EQ(sum.tensors, 2u);
  EXPECT_EQ(sum.converted, 1u);
  EXPECT_EQ(sum.elements, 263168u);
  EXPECT_EQ(sum.bytes_in, 528384u);
  EXPECT_EQ(sum.bytes_out, 71680u);
  EXPECT_DOUBLE_EQ(sum.bits_per_weight_out(), 8.0 * 71680 / 263168);
  EXPECT_EQ(totals(ConversionReport{}).bits_per_weight_out(), 0);
}

TEST(ConversionReport, SaysWhatHappened) {
  EXPECT_EQ(to_text(small_conversion()),
            "a.safetensors (safetensors) -> b.gguf (gguf)\n"
            "  tensors      2: 1 converted, 1 copied\n"
            "  elements     263,168\n"
            "  file         585.9 KiB -> 146.5 KiB (25.0 %)\n"
            "  bits/weight  16.06 -> 2.18\n"
            "  time         500 ms, reading 1.20 MB/s, 2 threads\n"
            "  memory       32 MiB at the peak, limit 64 MiB\n"
            "\n"
            "from  to     tensors  elements  bytes in  bytes out  bits/weight\n"
            "────────────────────────────────────────────────────────────────\n"
            "f16   tq2_0        1   262,144   512 KiB     66 KiB         2.06\n"
            "f32   f32          1     1,024     4 KiB      4 KiB        32.00\n"
            "────────────────────────────────────────────────────────────────\n"
            "all                2   263,168   516 KiB     70 KiB         2.18\n"
            "\n"
            "Lowest SQNR\n"
            "tensor               to     SQNR dB    cosine  max error\n"
            "────────────────────────────────────────────────────────\n"
            "blk.0.attn_q.weight  tq2_0    10.00  0.948683       0.05\n");
}

TEST(ConversionReport, HasNoTimeWhereNothingRan) {
  ConversionReport report = small_conversion();
  report.threads = 0;
  EXPECT_THAT(to_text(report), Not(HasSubstr("time")));
}

TEST(ConversionReport, ListsEveryTensorWhenAsked) {
  const std::string text = to_text(small_conversion(), {.detail = ReportDetail::kTensors});
  EXPECT_THAT(text, HasSubstr("norm.weight          norm"));
  EXPECT_THAT(text, HasSubstr("norms stay\n"));
  EXPECT_THAT(to_text(small_conversion()), Not(HasSubstr("norms stay")));
}

TEST(ConversionReport, NeverHidesFallbacksAndFlushedGroups) {
  const std::string text = to_text(example::conversion());
  EXPECT_THAT(text, HasSubstr("100 columns do not divide by 256"));
  EXPECT_THAT(text, HasSubstr("3 groups in 1 tensor too small for the scale became zeros"));
}

TEST(ConversionReport, CountsFallbacksOfOneReasonTogether) {
  ConversionReport report = small_conversion();
  for (const char* name : {"blk.0.a", "blk.1.a", "blk.0.b"}) {
    TensorReport fallen = example::converted(name, "other", 0, "8x64", 512, 10);
    fallen.to = "q2_0";
    fallen.fallback = true;
    fallen.note = name[6] == 'a' ? "rows of 64 do not divide" : "rows of 128 do not divide";
    report.tensors.push_back(fallen);
  }
  EXPECT_THAT(to_text(report), HasSubstr("to    why                        tensors  the first of them\n"
                                         "───────────────────────────────────────────────────────────\n"
                                         "q2_0  rows of 64 do not divide         2  blk.0.a\n"
                                         "q2_0  rows of 128 do not divide        1  blk.0.b\n"));
}

TEST(ConversionReport, FindsTheWorstTensors) {
  const ConversionReport report = example::conversion();
  const auto worst = worst_tensors(report, 3);
  ASSERT_EQ(worst.size(), 3u);
  EXPECT_LE(*worst[0]->sqnr_db, *worst[1]->sqnr_db);
  for (const TensorReport& tensor : report.tensors) EXPECT_GE(*tensor.sqnr_db, *worst[0]->sqnr_db);
  EXPECT_EQ(worst_tensors(small_conversion(), 3).size(), 1u);  // the exact one is not bad
}

TEST(ConversionReport, IsReadBackFromJson) {
  const ConversionReport report = small_conversion();
  const json out = json::parse(to_json(report));
  EXPECT_EQ(out["schema"], "lobit.convert.v1");
  EXPECT_EQ(out["source"], report.source);
  EXPECT_EQ(out["seconds"], 0.5);
  EXPECT_EQ(out["memory_limit"], 67108864u);
  EXPECT_FALSE(out.contains("output_hash"));
  EXPECT_EQ(out["totals"]["bytes_out"], 71680u);
  EXPECT_EQ(out["totals"]["file_bytes_in"], 600000u);
  ASSERT_EQ(out["tensors"].size(), 2u);
  const json& first = out["tensors"][0];
  EXPECT_EQ(first["name"], "blk.0.attn_q.weight");
  EXPECT_EQ(first["to"], "tq2_0");
  EXPECT_EQ(first["bytes_out"], 67584u);
  EXPECT_EQ(first["sqnr_db"], 10);
  EXPECT_DOUBLE_EQ(first["nmse"].get<double>(), *report.tensors[0].nmse);
  EXPECT_TRUE(out["tensors"][1]["sqnr_db"].is_null());  // infinite
  EXPECT_FALSE(out["tensors"][1].contains("cosine"));   // not measured
}

TEST(ConversionReport, SaysTheMethods) {
  ConversionReport report = example::conversion();
  EXPECT_EQ(to_text(report).find("method"), std::string::npos);
  for (TensorReport& tensor : report.tensors) tensor.method = "scaled";
  EXPECT_NE(to_text(report).find("  method       scaled\n"), std::string::npos);
  report.tensors[0].method = "direct";
  report.tensors[1].method = "";
  const std::string methods =
      "direct: 1 tensor, scaled: " + std::to_string(report.tensors.size() - 2) + " tensors";
  EXPECT_NE(to_text(report).find(methods), std::string::npos);
  EXPECT_NE(to_html(report).find(methods), std::string::npos);
  EXPECT_EQ(json::parse(to_json(report))["tensors"][0]["method"], "direct");
}

TEST(ConversionReport, WritesJsonWhateverANameIs) {
  ConversionReport report = small_conversion();
  report.tensors[0].name = "\xff\"\n";
  EXPECT_EQ(json::parse(to_json(report))["tensors"][0]["name"], "\ufffd\"\n");
}

json embedded(const std::string& page) {
  const std::string start = "id=\"data\">";
  const size_t begin = page.find(start) + start.size();
  return json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

TEST(ConversionReport, ShowsThePageOfItsJson) {
  const ConversionReport report = example::conversion();
  const std::string page = to_html(report);
  EXPECT_EQ(embedded(page), json::parse(to_json(report)));
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, HasSubstr("SQNR by layer"));
  EXPECT_THAT(page, HasSubstr("layer 0, before: 32 MiB"));
  EXPECT_EQ(page, to_html(report));
}

TEST(ConversionReport, ShowsAPageOfNothing) {
  EXPECT_THAT(to_html(ConversionReport{}), HasSubstr("</html>"));
  EXPECT_THAT(to_text(ConversionReport{}), HasSubstr("0 converted"));
}

TEST(ConversionReport, BoundsTheChartsOfWildLayerNumbers) {
  ConversionReport report = small_conversion();
  report.tensors[1].layer = INT64_MAX;
  EXPECT_LT(to_html(report).size(), 400000u);
}

ModelReport small_model() {
  ModelReport report{.path = "m.gguf",
                     .format = "gguf",
                     .version = "3",
                     .alignment = 32,
                     .parts = {{"m.gguf", 2000}},
                     .metadata = {{"general.architecture", "string", "llama"}}};
  report.tensors.push_back({.name = "blk.0.attn_q.weight",
                            .role = "attention",
                            .layer = 0,
                            .encoding = "f16",
                            .shape = "16x32",
                            .elements = 512,
                            .part = 0,
                            .offset = 512,
                            .bytes = 1024});
  report.tensors.push_back({.name = "norm.weight",
                            .role = "norm",
                            .layer = -1,
                            .encoding = "f32",
                            .shape = "32",
                            .elements = 32,
                            .part = 0,
                            .offset = 1536,
                            .bytes = 128});
  return report;
}

TEST(ModelReport, GroupsTensorsByLayer) {
  EXPECT_EQ(to_text(small_model(), {.detail = ReportDetail::kTensors}),
            "m.gguf: gguf 3, alignment 32\n"
            "2 tensors, 544 elements, 1.1 KiB, 16.94 bits/weight\n"
            "\n"
            "key                   type    value\n"
            "───────────────────────────────────\n"
            "general.architecture  string  llama\n"
            "\n"
            "encoding  tensors  elements    bytes    share  bits/weight\n"
            "──────────────────────────────────────────────────────────\n"
            "f16             1       512    1 KiB   88.9 %        16.00\n"
            "f32             1        32    128 B   11.1 %        32.00\n"
            "──────────────────────────────────────────────────────────\n"
            "all             2       544  1.1 KiB  100.0 %        16.94\n"
            "\n"
            "tensor                 encoding  shape  bytes   share  offset\n"
            "─────────────────────────────────────────────────────────────\n"
            "outside the layers     1 tensor         128 B  11.1 %\n"
            "  norm.weight          f32          32  128 B  11.1 %    1536\n"
            "layer 0                1 tensor         1 KiB  88.9 %\n"
            "  blk.0.attn_q.weight  f16       16x32  1 KiB  88.9 %     512\n");
}

TEST(ModelReport, SumsUpLayersInTheSummary) {
  EXPECT_THAT(to_text(small_model()), HasSubstr("layer               tensors     bytes   share\n"));
  EXPECT_THAT(to_text(small_model()), HasSubstr("layer 0             1 tensor    1 KiB  88.9 %\n"));
}

TEST(ModelReport, NamesTheFileOfATensorWhenThereAreSeveral) {
  ModelReport report = small_model();
  report.parts.push_back({"m-2.gguf", 100});
  report.tensors[1].part = 1;
  const std::string text = to_text(report, {.detail = ReportDetail::kTensors});
  EXPECT_THAT(text, HasSubstr("1536  m-2.gguf\n"));
  report.tensors[1].part = 9;
  EXPECT_THAT(to_html(report), HasSubstr("<td>part 9</td>"));
}

TEST(ModelReport, IsReadBackFromJson) {
  ModelReport report = small_model();
  report.tensors[1].statistics = TensorStatistics{.min = -1, .max = 2, .mean = std::nan(""), .nans = 3};
  const json out = json::parse(to_json(report));
  EXPECT_EQ(out["schema"], "lobit.inspect.v1");
  EXPECT_EQ(out["alignment"], 32);
  EXPECT_EQ(out["parts"][0]["bytes"], 2000);
  EXPECT_EQ(out["metadata"][0]["text"], "llama");
  EXPECT_EQ(out["totals"]["bytes"], 1152);
  EXPECT_EQ(out["tensors"][0]["offset"], 512);
  EXPECT_FALSE(out["tensors"][0].contains("statistics"));
  EXPECT_EQ(out["tensors"][1]["statistics"]["max"], 2);
  EXPECT_EQ(out["tensors"][1]["statistics"]["nans"], 3);
  EXPECT_TRUE(out["tensors"][1]["statistics"]["mean"].is_null());
  EXPECT_EQ(embedded(to_html(report)), out);
}

TEST(VerifyReport, SaysWhatDiffers) {
  VerifyReport report{.first = "a", .second = "b"};
  report.tensors.push_back({.name = "x", .status = VerifyStatus::kSame});
  EXPECT_EQ(to_text(report), "first:  a\nsecond: b\nEqual: every value of 1 tensor\n");
  EXPECT_TRUE(totals(report).equal());
  report.tensors[0].max_abs_error = 0.25;
  EXPECT_EQ(to_text(report), "first:  a\nsecond: b\nEqual within the tolerance: 1 tensor\n");
  report.tensors.push_back({.name = "y", .status = VerifyStatus::kDiffers, .max_abs_error = 0.25});
  report.tensors.push_back({.name = "z", .status = VerifyStatus::kOnlySecond});
  EXPECT_FALSE(totals(report).equal());
  const std::string text = to_text(report);
  EXPECT_THAT(text, HasSubstr("Not equal: 1 tensor the same, 1 different, 1 only in the second\n"));
  EXPECT_THAT(text, HasSubstr("\ny       differs"));
  EXPECT_THAT(text, Not(HasSubstr("\nx ")));
  EXPECT_THAT(to_text(report, {.detail = ReportDetail::kTensors}), HasSubstr("\nx       same"));
}

TEST(VerifyReport, IsReadBackFromJson) {
  const VerifyReport report = example::verification();
  const json out = json::parse(to_json(report));
  EXPECT_EQ(out["schema"], "lobit.verify.v1");
  EXPECT_EQ(out["equal"], false);
  EXPECT_EQ(out["totals"]["only_first"], 1);
  EXPECT_EQ(out["totals"]["same"], example::kLayers);
  EXPECT_EQ(out["tensors"].size(), report.tensors.size());
  EXPECT_EQ(out["tensors"][0]["hash_second"], "ffeeddccbbaa99887766554433221100");
  EXPECT_FALSE(out["tensors"].back().contains("nmse"));
  EXPECT_EQ(embedded(to_html(report)), out);
}

// With LOBIT_REPORT_EXAMPLES=folder the example pages stay there to be looked at.
TEST(Reports, MakeExamplePages) {
  const std::vector<std::pair<std::string, std::string>> pages{
      {"convert.html", to_html(example::conversion())},
      {"inspect.html", to_html(example::model())},
      {"verify.html", to_html(example::verification())}};
  const char* folder = std::getenv("LOBIT_REPORT_EXAMPLES");
  for (const auto& [name, page] : pages) {
    EXPECT_THAT(page, HasSubstr("</html>")) << name;
    if (folder != nullptr) std::ofstream(std::filesystem::path(folder) / name) << page;
  }
}

}  // namespace
}  // namespace lobit

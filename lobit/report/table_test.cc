#include "lobit/report/table.h"

#include <gtest/gtest.h>

namespace lobit {
namespace {

Table small_table() {
  Table table({{"encoding"}, {"tensors", Align::kRight}, {"bytes", Align::kRight}});
  table.add_row({text_cell("tq2_0"), count_cell(1234), bytes_cell(1536)});
  table.add_row({text_cell("f32"), count_cell(7), bytes_cell(64)});
  table.add_footer({text_cell("all"), count_cell(1241), bytes_cell(1600)});
  return table;
}

TEST(Table, AlignsColumnsAndRulesOffTheFooter) {
  EXPECT_EQ(small_table().to_text(),
            "encoding  tensors    bytes\n"
            "──────────────────────────\n"
            "tq2_0       1,234  1.5 KiB\n"
            "f32             7     64 B\n"
            "──────────────────────────\n"
            "all         1,241  1.6 KiB\n");
}

TEST(Table, WritesMarkdown) {
  EXPECT_EQ(small_table().to_markdown(),
            "| encoding | tensors | bytes |\n"
            "| --- | ---: | ---: |\n"
            "| tq2_0 | 1,234 | 1.5 KiB |\n"
            "| f32 | 7 | 64 B |\n"
            "| **all** | **1,241** | **1.6 KiB** |\n");
}

TEST(Table, IndentsTheRowsOfAGroup) {
  Table table({{"tensor"}, {"bytes", Align::kRight}});
  table.add_group({text_cell("layer 0"), bytes_cell(3)});
  table.add_row({text_cell("q"), bytes_cell(1)});
  table.add_row({text_cell("k"), bytes_cell(2)});
  EXPECT_EQ(table.to_text(),
            "tensor   bytes\n"
            "──────────────\n"
            "layer 0    3 B\n"
            "  q        1 B\n"
            "  k        2 B\n");
}

TEST(Table, ShortensLongCellsInTheMiddle) {
  Table table({{"name", Align::kLeft, 9}, {"n", Align::kRight}});
  table.add_row({text_cell("model.layers.0.weight"), count_cell(1)});
  EXPECT_EQ(table.to_text(),
            "name       n\n"
            "────────────\n"
            "mode…ight  1\n");
}

TEST(Table, NarrowsTextColumnsToTheTerminal) {
  Table table({{"name"}, {"n", Align::kRight}});
  table.add_row({text_cell("model.layers.0.self_attn.weight"), count_cell(123456)});
  EXPECT_EQ(table.to_text(24),
            "name                   n\n"
            "────────────────────────\n"
            "model.l….weight  123,456\n");
}

TEST(Table, AlignsWideCharacters) {
  Table table({{"name"}, {"n", Align::kRight}});
  table.add_row({text_cell("重み"), count_cell(1)});
  table.add_row({text_cell("ab"), count_cell(2)});
  EXPECT_EQ(table.to_text(),
            "name  n\n"
            "───────\n"
            "重み  1\n"
            "ab    2\n");
}

TEST(Table, DisarmsHostileNames) {
  Table table({{"name"}, {"n"}});
  table.add_row({text_cell("\x1b[31m|<b>\n"), text_cell("`*`")});
  EXPECT_EQ(table.to_text(),
            "name              n\n"
            "─────────────────────\n"
            "\\x1b[31m|<b>\\x0a  `*`\n");
  EXPECT_EQ(table.to_markdown(),
            "| name | n |\n"
            "| --- | --- |\n"
            "| \\\\x1b\\[31m\\|\\<b\\>\\\\x0a | \\`\\*\\` |\n");
}

TEST(Table, LeavesAMissingNumberEmpty) {
  EXPECT_EQ(fixed_cell(std::nullopt, 2).text, "");
  EXPECT_FALSE(fixed_cell(std::nullopt, 2).value.has_value());
  EXPECT_EQ(fixed_cell(1.005, 1).text, "1.0");
  EXPECT_EQ(*fixed_cell(1.005, 1).value, 1.005);
}

}  // namespace
}  // namespace lobit

#include "lobit/base/json_writer.h"

#include <gtest/gtest.h>

namespace lobit {
namespace {

TEST(AppendJsonString, EscapesWhatJsonDemandsAndNothingElse) {
  std::string out = "x";
  append_json_string(out, std::string_view("a\"\\\0\n\x1F/\x7F\xC3\xBC", 10));
  EXPECT_EQ(out, "x\"a\\\"\\\\\\u0000\\u000a\\u001f/\x7F\xC3\xBC\"");
}

}  // namespace
}  // namespace lobit

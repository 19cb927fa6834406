#include "lobit/base/json_reader.h"

#include <string>

#include <gtest/gtest.h>

namespace lobit {
namespace {

// Accepts objects and arrays of anything and counts the events.
class Recorder : public JsonHandler {
 public:
  std::string events;
  Status on_null() override { return add("null"); }
  Status on_bool(bool value) override { return add(value ? "true" : "false"); }
  Status on_unsigned(uint64_t value) override { return add("u" + std::to_string(value)); }
  Status on_negative(int64_t value) override { return add("n" + std::to_string(value)); }
  Status on_string(std::string&& value) override { return add("'" + value + "'"); }
  Status on_object_start() override { return add("{"); }
  Status on_key(std::string&& value) override { return add(value + ":"); }
  Status on_object_end() override { return add("}"); }
  Status on_array_start() override { return add("["); }
  Status on_array_end() override { return add("]"); }

 private:
  Status add(const std::string& event) {
    events += event + " ";
    return {};
  }
};

TEST(ParseJson, GivesEventsInOrder) {
  Recorder r;
  ASSERT_TRUE(parse_json(R"({"a": [1, -2, "x"], "a": {"b": true, "c": null}})", r, "test"));
  EXPECT_EQ(r.events, "{ a: [ u1 n-2 'x' ] a: { b: true c: null } } ");
}

TEST(ParseJson, RefusesWhatIsNotStrictJson) {
  for (const std::string text : {"", "{", "{}x", "{} //c", "\xEF\xBB\xBF{}", "{\"a\":\"\xff\"}",
                                 "[\"\\ud800\"]", "{'a':1}", "[1,]", "nan", std::string("{}\0", 3).c_str()}) {
    Recorder r;
    const Status s = parse_json(text, r, "test");
    ASSERT_FALSE(s) << text;
    EXPECT_EQ(s.error().code, ErrorCode::kCorrupt) << text;
  }
}

TEST(ParseJson, NumbersThatNo64BitIntegerHoldsAreFloats) {
  for (const char* text : {"[18446744073709551616]", "[1e2]", "[1.5]"}) {
    Recorder r;
    const Status s = parse_json(text, r, "test", 8);
    ASSERT_FALSE(s) << text;
    EXPECT_NE(s.error().message.find("not a 64-bit integer"), std::string::npos);
    EXPECT_GT(*s.error().detail.offset, 8u);
  }
}

TEST(ParseJson, SurvivesAMillionLevels) {
  Recorder r;
  const std::string deep(1000000, '[');
  EXPECT_FALSE(parse_json(deep, r, "test"));
}

}  // namespace
}  // namespace lobit

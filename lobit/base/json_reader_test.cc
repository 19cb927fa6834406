#include "lobit/base/json_reader.h"

#include <string>
#include <string_view>

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

// The offset that the error for `text` names.
uint64_t error_offset(std::string_view text) {
  Recorder r;
  const Status s = parse_json(text, r, "test");
  if (s) {
    ADD_FAILURE() << "accepted: " << text;
    return ~uint64_t{0};
  }
  EXPECT_EQ(s.error().code, ErrorCode::kCorrupt) << text;
  return s.error().detail.offset.value();
}

TEST(ParseJson, NamesTheByteThatIsNotStrictJson) {
  using std::string_view_literals::operator""sv;
  EXPECT_EQ(error_offset(""), 0u);
  EXPECT_EQ(error_offset("{"), 1u);
  EXPECT_EQ(error_offset("{}x"), 2u);
  EXPECT_EQ(error_offset("{} //c"), 3u);
  EXPECT_EQ(error_offset("{}\0"sv), 2u);
  EXPECT_EQ(error_offset("\xEF\xBB\xBF{}"), 0u);
  EXPECT_EQ(error_offset("{\"a\":\"b\xff\"}"), 7u);
  EXPECT_EQ(error_offset("[\"a\nb\"]"), 3u);
  EXPECT_EQ(error_offset(R"(["\q"])"), 2u);
  EXPECT_EQ(error_offset(R"(["\u12g4"])"), 2u);
  EXPECT_EQ(error_offset(R"(["a\)"), 4u);
  EXPECT_EQ(error_offset(R"(["\ud800"])"), 2u);
  EXPECT_EQ(error_offset(R"(["\udc00"])"), 2u);
  EXPECT_EQ(error_offset(R"(["\ud800\u0041"])"), 2u);
  EXPECT_EQ(error_offset("{'a':1}"), 1u);
  EXPECT_EQ(error_offset(R"({"a" 1})"), 5u);
  EXPECT_EQ(error_offset(R"({"a":1,})"), 7u);
  EXPECT_EQ(error_offset("{,}"), 1u);
  EXPECT_EQ(error_offset("[1,]"), 3u);
  EXPECT_EQ(error_offset("[1 2]"), 3u);
  EXPECT_EQ(error_offset("[1}"), 2u);
  EXPECT_EQ(error_offset("nan"), 0u);
  EXPECT_EQ(error_offset("tru"), 0u);
  EXPECT_EQ(error_offset("[01]"), 1u);
  EXPECT_EQ(error_offset("[+1]"), 1u);
  EXPECT_EQ(error_offset("[-]"), 2u);
  EXPECT_EQ(error_offset("[1.]"), 3u);
  EXPECT_EQ(error_offset("[1e]"), 3u);
  EXPECT_EQ(error_offset("[1e999]"), 1u);
}

TEST(ParseJson, NamesTheTokenThatAHandlerRefuses) {
  EXPECT_EQ(error_offset("[ 12.5 ]"), 2u);
  EXPECT_EQ(error_offset("{\"a\" : 1e2}"), 7u);
}

TEST(ParseJson, DecodesEscapes) {
  Recorder r;
  ASSERT_TRUE(parse_json(R"(["a\"\\\/\b\f\n\r\t\u00fc\u20AC\ud83d\ude00z"])", r, "test"));
  EXPECT_EQ(r.events, "[ 'a\"\\/\b\f\n\r\t\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80z' ] ");
}

TEST(ParseJson, KeepsTheLimitsOfIntegers) {
  Recorder r;
  ASSERT_TRUE(parse_json("[18446744073709551615, -9223372036854775808, -0]", r, "test"));
  EXPECT_EQ(r.events, "[ u18446744073709551615 n-9223372036854775808 n0 ] ");
}

TEST(ParseJson, NumbersThatNo64BitIntegerHoldsAreFloats) {
  for (const char* text : {"[18446744073709551616]", "[-9223372036854775809]", "[1e2]", "[1.5]"}) {
    Recorder r;
    const Status s = parse_json(text, r, "test", 8);
    ASSERT_FALSE(s) << text;
    EXPECT_NE(s.error().message.find("not a 64-bit integer"), std::string::npos);
    EXPECT_EQ(*s.error().detail.offset, 9u);
  }
}

TEST(ParseJson, SurvivesAMillionLevels) {
  Recorder r;
  const std::string deep(1000000, '[');
  EXPECT_FALSE(parse_json(deep, r, "test"));
}

}  // namespace
}  // namespace lobit

#include "lobit/report/html.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "lobit/report/html_assets.h"

namespace lobit {
namespace {

using testing::HasSubstr;
using testing::Not;

// FIPS 180-4, so that the page's policy is checked against an independent computation. The constants are the
// first 32 bits of the fractions of roots of primes.
struct Primes {
  std::array<uint32_t, 64> cube{};
  std::array<uint32_t, 8> square{};
  Primes() {
    size_t found = 0;
    for (unsigned n = 2; found < 64; ++n) {
      bool prime = true;
      for (unsigned d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
      if (!prime) continue;
      const auto fraction = [](long double root) {
        return static_cast<uint32_t>((root - std::floor(root)) * 4294967296.0L);
      };
      cube[found] = fraction(std::cbrt(static_cast<long double>(n)));
      if (found < 8) square[found] = fraction(std::sqrt(static_cast<long double>(n)));
      ++found;
    }
  }
};

void sha256_block(const Primes& primes, std::array<uint32_t, 8>& state, const std::string& text, size_t at) {
  std::array<uint32_t, 64> w{};
  for (size_t i = 0; i < 64; ++i) w[i / 4] = w[i / 4] << 8U | static_cast<unsigned char>(text[at + i]);
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15];
    const uint32_t b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3U) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10U);
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t t1 = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) +
                        primes.cube[i] + w[i];
    const uint32_t t2 =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const std::array<uint32_t, 8> sums{a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state[i] += sums[i];
}

std::string sha256_base64(std::string_view message) {
  const Primes primes;
  std::array<uint32_t, 8> state = primes.square;
  std::string text(message);
  text.push_back('\x80');
  while (text.size() % 64 != 56) text.push_back('\0');
  for (int shift = 56; shift >= 0; shift -= 8) text.push_back(static_cast<char>(message.size() * 8 >> shift));
  for (size_t at = 0; at < text.size(); at += 64) sha256_block(primes, state, text, at);
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t bit = 0; bit < 256; bit += 6) {
    size_t digit = 0;
    for (size_t i = bit; i < bit + 6; ++i)
      digit = digit << 1U | (i < 256 ? state[i / 32] >> (31 - i % 32) & 1U : 0U);
    out.push_back(kAlphabet[digit]);
  }
  return out + "=";
}

TEST(HtmlPage, NamesTheHashesOfItsStyleAndScript) {
  ASSERT_EQ(sha256_base64("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
  EXPECT_EQ(detail::kPageStyleHash, sha256_base64(detail::page_style()));
  EXPECT_EQ(detail::kPageScriptHash, sha256_base64(detail::page_script()));
}

Table hostile_table() {
  Table table({{"<b>name"}, {"size", Align::kRight}});
  table.add_row({text_cell("</td><script>alert(1)</script>"), bytes_cell(2048)});
  table.add_row({text_cell("\" onclick=\"alert(1)\x1b[0m"), fixed_cell(1.5, 1)});
  table.add_footer({text_cell("all"), bytes_cell(2048)});
  return table;
}

std::string hostile_page() {
  const std::string evil = "</title><script>alert('x')</script>&amp;";
  HtmlPage page(evil, evil);
  page.add_cards({{evil, evil, evil}});
  page.add_section(evil);
  page.add_paragraph(evil);
  page.add_list({evil});
  page.add_facts({{evil, evil}});
  page.add_code(evil);
  page.add_table(evil, hostile_table());
  page.set_data(nlohmann::json{{"name", "</script><!--<script>"}, {"n", 7}}.dump());
  return page.to_string();
}

// Every element that opens also closes, in the right order. Returns the first fault.
std::string structure_fault(std::string page) {
  page = std::regex_replace(page, std::regex("<(style|script)([^>]*)>[^<]*(<[^/][^<]*)*</\\1>"), "<$1></$1>");
  const std::regex tag("<(/?)([a-zA-Z0-9]+)((?:[^<>\"]|\"[^\"]*\")*?)(/?)>");
  std::vector<std::string> open;
  for (std::sregex_iterator i(page.begin(), page.end(), tag), end; i != end; ++i) {
    const std::string name = (*i)[2];
    if (name == "meta" || (*i)[4] == "/") continue;
    if ((*i)[1] != "/") {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return "</" + name + "> closes " + (open.empty() ? "nothing" : open.back());
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> stays open";
}

TEST(HtmlPage, KeepsHostileTextInert) {
  const std::string page = hostile_page();
  // The page's own two scripts and no other.
  const std::regex script("<script");
  const auto scripts =
      std::distance(std::sregex_iterator(page.begin(), page.end(), script), std::sregex_iterator());
  EXPECT_EQ(scripts, 2);
  EXPECT_THAT(
      page,
      HasSubstr("<title>&lt;/title&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;</title>"));
  EXPECT_THAT(page, HasSubstr("<td>&quot; onclick=&quot;alert(1)\\x1b[0m</td>"));
  EXPECT_THAT(page, Not(HasSubstr("\x1b")));
}

TEST(HtmlPage, IsBalanced) {
  EXPECT_EQ(structure_fault(hostile_page()), "");
  EXPECT_EQ(structure_fault("<p><b></p>"), "</p> closes b");
}

TEST(HtmlPage, ForbidsTheNetwork) {
  const std::string page = hostile_page();
  EXPECT_THAT(page, HasSubstr("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';"));
  EXPECT_THAT(page, Not(HasSubstr("http:")));
  EXPECT_THAT(page, Not(HasSubstr("https:")));
  EXPECT_THAT(page, Not(HasSubstr("url(")));
  EXPECT_THAT(page, Not(HasSubstr(" style=")));  // the policy would ignore it
}

TEST(HtmlPage, EmbedsItsDataUnchanged) {
  const std::string page = hostile_page();
  std::smatch m;
  ASSERT_TRUE(std::regex_search(
      page, m, std::regex("<script type=\"application/json\" id=\"data\">([^<]*)</script>")));
  const nlohmann::json data = nlohmann::json::parse(m[1].str());
  EXPECT_EQ(data["name"], "</script><!--<script>");
  EXPECT_EQ(data["n"], 7);
}

TEST(HtmlPage, MarksWhatTablesSortBy) {
  const std::string page = hostile_page();
  EXPECT_THAT(page, HasSubstr("<table class=\"sortable\">"));
  EXPECT_THAT(page, HasSubstr("<th scope=\"col\" data-type=\"text\">&lt;b&gt;name</th>"));
  EXPECT_THAT(page, HasSubstr("<th scope=\"col\" data-type=\"number\" class=\"number\">size</th>"));
  EXPECT_THAT(page, HasSubstr("<td class=\"number\" data-sort=\"2048\">2 KiB</td>"));
  EXPECT_THAT(page, HasSubstr("<tfoot>\n<tr><td>all</td>"));
}

TEST(HtmlPage, FoldsTheLinesOfACell) {
  Table table({{"function"}});
  table.add_row({{.text = "f<int>", .folded = {"f<int> at a.cc:1", "</li>main"}}});
  HtmlPage page("t", "");
  page.add_table("c", table);
  EXPECT_THAT(page.to_string(),
              HasSubstr("<td><details><summary>f&lt;int&gt;</summary><ol><li>f&lt;int&gt; at a.cc:1</li>"
                        "<li>&lt;/li&gt;main</li></ol></details></td>"));
  EXPECT_EQ(structure_fault(page.to_string()), "");
}

TEST(HtmlPage, DoesNotSortGroups) {
  Table table({{"tensor"}});
  table.add_group({text_cell("layer 0")});
  HtmlPage page("t", "");
  page.add_table("c", table);
  EXPECT_THAT(page.to_string(), HasSubstr("<table>\n<caption>c</caption>"));
  EXPECT_THAT(page.to_string(), HasSubstr("<tr class=\"group\"><td>layer 0</td></tr>"));
}

TEST(HtmlPage, SaysWhenRowsAreLeftOut) {
  Table table({{"n"}});
  for (size_t i = 0; i < HtmlPage::kMostRows + 5; ++i) table.add_row({text_cell("r")});
  HtmlPage page("t", "");
  page.add_table("c", table);
  EXPECT_THAT(page.to_string(), HasSubstr("The first 20,000 of 20,005 rows."));
}

TEST(HtmlPage, IsTheSameEveryTime) {
  EXPECT_EQ(hostile_page(), hostile_page());
}

}  // namespace
}  // namespace lobit

// The style and the script of every page. The page's policy names their SHA-256, so that nothing else runs
// even if it got into the page. Internal to report.
#pragma once

#include <string_view>

namespace lobit::detail {

std::string_view page_style();
std::string_view page_script();

// Base64 of the SHA-256 of exactly the bytes above; html_test compares.
inline constexpr std::string_view kPageStyleHash = "fYmVg60Ek7CQrDuqp8Ca4Gv/UmNyj7Rtd4/A/h5p48U=";
inline constexpr std::string_view kPageScriptHash = "lZL0QV/rXKI12byty2138reAaKwBJI0VDDxS4DBsifA=";

}  // namespace lobit::detail

// What the parts of npy.h share. Not installed.
#pragma once

#include <array>
#include <string_view>

#include "lobit/dtype/encoding.h"

namespace lobit::npy {

inline constexpr std::string_view kMagic = "\x93NUMPY";
// Before the header's size: the magic and two bytes with the version.
inline constexpr size_t kVersionEnd = 8;

// How NumPy names a dtype in a header. Names start with the byte order: '<' little endian, '|' none.
struct DescrName {
  Encoding encoding;
  std::string_view descr;
};
inline constexpr std::array<DescrName, 14> kDescrNames{{
    {Encoding::kF32, "<f4"},
    {Encoding::kF16, "<f2"},
    // NumPy has no name for the types of ml_dtypes and writes two bytes of anything ("void"), with the byte
    // order of a number; bytes that are void to NumPy itself are "|V2".
    {Encoding::kBF16, "<V2"},
    {Encoding::kF64, "<f8"},
    {Encoding::kRawI8, "|i1"},
    {Encoding::kRawI16, "<i2"},
    {Encoding::kRawI32, "<i4"},
    {Encoding::kRawI64, "<i8"},
    {Encoding::kRawU8, "|u1"},
    {Encoding::kRawU16, "<u2"},
    {Encoding::kRawU32, "<u4"},
    {Encoding::kRawU64, "<u8"},
    {Encoding::kBool, "|b1"},
    {Encoding::kC64, "<c8"},
}};

}  // namespace lobit::npy

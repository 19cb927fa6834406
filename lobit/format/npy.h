// .npy, NumPy's file of one array. docs/formats/npy.md describes the layout and what of it lobit takes.
// Reading touches the header alone and treats every byte as hostile; the values lie in the file as they lie
// in memory, so a caller reads or maps them from data_offset on. Functions without state; safe from any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/dtype/encoding.h"
#include "lobit/format/layout.h"
#include "lobit/io/file.h"
#include "lobit/io/source.h"
#include "lobit/tensor/shape.h"

namespace lobit {

// Longer headers are refused; that of an array of 8 dimensions takes under 300 bytes.
inline constexpr uint64_t kNpyMaxHeader = 65'536;
// The data of files that lobit lays out starts at a multiple of this, as with NumPy 1.14 and later.
inline constexpr uint64_t kNpyAlignment = 64;

struct NpyHeader {
  Shape shape;
  Encoding encoding = Encoding::kF32;  // a plain one: floats, raw integers, bool, c64
  uint64_t data_offset = 0;
  uint64_t data_bytes = 0;  // from data_offset to the end of the file
};

// Reads and checks the header of a file of version 1.0, 2.0 or 3.0. kCorrupt with the byte offset for what
// breaks the format; kUnsupported for arrays that lobit has no encoding or shape for (big-endian, structured,
// text, Python objects, Fortran order where it differs from C order, over 8 dimensions), for later versions
// and for bytes behind the array; kLimit for a header over kNpyMaxHeader.
LOBIT_API Result<NpyHeader> read_npy(const ByteSource& source);

// Lays out a file byte for byte as numpy.save does, BF16 as ml_dtypes has it written. kUnsupported for
// encodings without a dtype in NumPy (blocks, floats under 16 bits), kInvalidArgument when the file would not
// stay below 2^63 bytes.
LOBIT_API Result<FileLayout> layout_npy(const Shape& shape, Encoding encoding);

// Writes an array whole; `target` is the old file or absent until it is complete. kInvalidArgument when the
// bytes are not as many as shape and encoding make; the errors of layout_npy and of OutputFile.
LOBIT_API Status write_npy(const std::filesystem::path& target, const Shape& shape, Encoding encoding,
                           std::span<const std::byte> data, Durability durability = Durability::kNone);

}  // namespace lobit

// cast(): the values of a tensor as other plain numbers. From every format that lobit can decode, F64, raw
// integers and bool; to F32, F16, BF16, F64, raw integers and bool. (ConversionEngine makes quantized
// formats.) Values are rounded once, to nearest even; to bool, what is not 0 is 1.
//
// A value that the target cannot hold is an error, as where tensors are made of values: kDataLoss names the
// first, in the order of the elements. That is a number beyond an integer's range and NaN, or a finite number
// that F32, F16 or BF16 would round to inf. Further errors and threads as in lobit/ops/elementwise.h; after
// kDataLoss the values of an `out` that alone owned its block are undefined.
#pragma once

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/ops/op_context.h"
#include "lobit/tensor/tensor.h"

namespace lobit::ops {

LOBIT_API Result<Tensor> cast(const Tensor& x, Encoding to, const OpContext& context);
// To the format of `out`.
LOBIT_API Status cast(const Tensor& x, Tensor& out, const OpContext& context);

}  // namespace lobit::ops

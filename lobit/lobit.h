// Everything of lobit in one include: a table of contents, lowest floor first.
#pragma once

#include "lobit/base/bytes.h"
#include "lobit/base/progress.h"
#include "lobit/base/result.h"
#include "lobit/base/thread_pool.h"
#include "lobit/dtype/dtype.h"
#include "lobit/dtype/encoding.h"
#include "lobit/dtype/half.h"
#include "lobit/dtype/reference.h"
#include "lobit/format/gguf.h"
#include "lobit/format/model.h"
#include "lobit/format/safetensors.h"
#include "lobit/format/tensor_role.h"
#include "lobit/io/file.h"
#include "lobit/kernels/codec.h"
#include "lobit/kernels/simd.h"
#include "lobit/tensor/shape.h"

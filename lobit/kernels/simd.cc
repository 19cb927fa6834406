#include "lobit/kernels/simd.h"

#include "lobit/format/tensor_role.h"

// For tests alone (not installed): random work on a resource, compared with a model of what must come out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lobit/memory/memory_resource.h"

namespace lobit {

struct ModelTest {
  uint64_t operations = 0;
  uint64_t seed = 1;
  size_t max_bytes = size_t{1} << 20;
  uint64_t max_live_bytes = uint64_t{16} << 20;  // more is never asked for
};

// Allocates and frees at random, growing and shrinking by turns. Fails the test when blocks are misaligned,
// overlap, change or are refused, or the resource counts other than the model. The resource holds nothing
// else; it is empty afterwards.
void run_model_test(MemoryResource& resource, const ModelTest& test);

// LOBIT_MODEL_TEST_OPERATIONS from the environment, for long runs.
uint64_t model_test_operations(uint64_t otherwise);

}  // namespace lobit

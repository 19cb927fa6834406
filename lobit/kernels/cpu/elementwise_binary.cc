// Element-wise operations of two and three operands.
#include "lobit/kernels/cpu/elementwise_families.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/elementwise_binary.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/common-inl.h"
#include "lobit/kernels/cpu/elementwise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

template <class Op>
void binary(Run<float> a, Run<float> b, float* out, size_t count, Store store) {
  const RunReader left(a);
  const RunReader right(b);
  map_runs(Op(), out, count, store, left, right);
}

void select(Run<uint8_t> mask, Run<float> a, Run<float> b, float* out, size_t count, Store store) {
  const MaskReader chooser(mask);
  const RunReader left(a);
  const RunReader right(b);
  const auto choose = [](auto chosen, VF x, VF y) HWY_ATTR { return hn::IfThenElse(chosen, x, y); };
  map_runs(choose, out, count, store, chooser, left, right);
}

BinaryFn find_binary(BinaryOp op) {
  constexpr BinaryFn kFunctions[kBinaryOps] = {binary<AddOp>, binary<SubOp>, binary<MulOp>,
                                               binary<DivOp>, binary<MinOp>, binary<MaxOp>};
  return kFunctions[static_cast<size_t>(op)];
}
SelectFn find_select() {
  return select;
}

#else
BinaryFn find_binary(BinaryOp) {
  return nullptr;
}
SelectFn find_select() {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

HWY_EXPORT(find_binary);
HWY_EXPORT(find_select);

BinaryFn vector_binary(BinaryOp op) {
  return HWY_DYNAMIC_DISPATCH(find_binary)(op);
}
SelectFn vector_select() {
  return HWY_DYNAMIC_DISPATCH(find_select)();
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE

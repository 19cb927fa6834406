#include "lobit/device/device.h"

#include "lobit/base/test_support.h"

namespace lobit {
namespace {

TEST(Device, NamesReadBackAsTheDevice) {
  for (const Device device : {Device{}, Device{DeviceKind::kCuda, 0}, Device{DeviceKind::kCuda, 17},
                              Device{DeviceKind::kMlx, 65535}}) {
    const auto parsed = parse_device(device_name(device));
    ASSERT_THAT(parsed, is_ok());
    EXPECT_EQ(*parsed, device) << device_name(device);
  }
  EXPECT_EQ(device_name({}), "cpu");
  EXPECT_EQ(device_name({DeviceKind::kCuda, 1}), "cuda:1");
}

TEST(Device, WithoutANumberIsTheFirstOfItsKind) {
  EXPECT_EQ(parse_device("cuda"), (Device{DeviceKind::kCuda, 0}));
  EXPECT_EQ(parse_device("mlx"), (Device{DeviceKind::kMlx, 0}));
}

TEST(Device, RefusesWhatIsNoDevice) {
  for (const char* text : {"", "gpu", "cpu:0", "cpux", "CPU", "cuda:", "cuda:-1", "cuda:1x", "cuda: 1",
                           "cuda1", "cuda:65536", "mlx:99999999999999999999"}) {
    const auto parsed = parse_device(text);
    EXPECT_THAT(parsed, fails_with(ErrorCode::kInvalidArgument)) << text;
    if (!parsed) {
      EXPECT_THAT(parsed.error().message, testing::HasSubstr(text));
    }
  }
}

TEST(Device, KindsHaveTheNamesThatAreParsed) {
  EXPECT_EQ(all_device_kinds().size(), 3u);
  for (const DeviceKind kind : all_device_kinds()) {
    const auto parsed = parse_device(device_kind_name(kind));
    ASSERT_THAT(parsed, is_ok());
    EXPECT_EQ(parsed->kind, kind);
  }
}

}  // namespace
}  // namespace lobit

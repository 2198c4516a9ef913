#include "ops/device.h"

#include "core/error.h"

#include <gtest/gtest.h>

namespace tessera::ops {

TEST(Device, NamesAreChecked) {
  EXPECT_EQ(open_device("cpu"), at::kCPU);
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1234", "cpu:0"}) {
    EXPECT_THROW(open_device(name), InvalidArgument) << name;
  }
}

}  // namespace tessera::ops

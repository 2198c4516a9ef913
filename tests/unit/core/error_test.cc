#include "core/error.h"

#include <gtest/gtest.h>

namespace tessera {

TEST(Error, ContextIsAddedWhileUnwinding) {
  try {
    with_context("loading model", [] {
      with_context("layer 3", [] { throw InvalidArgument("head_dim must be even, got {}", 63); });
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_STREQ(error.what(), "head_dim must be even, got 63 (layer 3, loading model)");
  }
}

TEST(Error, CheckThrowsTheNamedTypeOnlyWhenItDoesNotHold) {
  EXPECT_NO_THROW([] { TESSERA_CHECK(1 + 1 == 2, NotFound, "never"); }());
  EXPECT_THROW([] { TESSERA_CHECK(1 + 1 == 3, NotFound, "{} is absent", "x"); }(), NotFound);
}

TEST(Error, CodesAreExitCodes) {
  EXPECT_EQ(static_cast<int>(NotFound("x").code()), 3);
  EXPECT_EQ(static_cast<int>(CorruptFile("x").code()), 4);
  EXPECT_EQ(static_cast<int>(Unsupported("x").code()), 5);
  EXPECT_EQ(error_code_name(ErrorCode::kOutOfMemory), "out_of_memory");
}

}  // namespace tessera

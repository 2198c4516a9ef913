// Places for a test's files: apart from those of the tests that run beside it, and gone at its end.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string_view>

namespace tessera {

/// A path under a folder of this process. Nothing is at it yet.
inline std::filesystem::path temporary_path(std::string_view name) {
  struct Root {
    std::filesystem::path path =
        std::filesystem::path(testing::TempDir()) / fmt::format("tessera-test-{}", ::getpid());
    Root() { std::filesystem::create_directories(path); }
    ~Root() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  };
  static const Root kRoot;
  return kRoot.path / name;
}

}  // namespace tessera

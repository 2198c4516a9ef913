// Compares tensors with what tests/parity/checkpoints.py wrote into expected.json.
#pragma once

#include "core/error.h"
#include "io/tensor_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace tessera::io {

inline fs::path checkpoint_golden(const std::string& name) {
  return fs::path(TESSERA_GOLDENS) / "checkpoints" / name;
}

inline const Json& expected_file(const std::string& name) {
  static const Json all = read_json(checkpoint_golden("expected.json"));
  return all.at("files").at(name);
}

/// An empty folder for one test, removed at the end. Tests may run at the same time, each in its
/// own process.
inline fs::path fresh_folder(const std::string& name) {
  struct Root {
    fs::path path = fs::path(testing::TempDir()) / fmt::format("tessera_io_{}", ::getpid());
    ~Root() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  };
  static const Root root;
  const fs::path folder = root.path / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

/// Elements in row-major order.
inline std::string row_major_bytes(const TensorEntry& entry) {
  const size_t size = dtype_size(entry.dtype);
  const auto* data = reinterpret_cast<const char*>(entry.data);
  std::string bytes;
  std::vector<int64_t> index(entry.shape.size(), 0);
  for (int64_t n = 0; n < entry.count(); ++n) {
    int64_t offset = 0;
    for (size_t i = 0; i < index.size(); ++i) {
      offset += index[i] * entry.strides[i];
    }
    bytes.append(data + static_cast<size_t>(offset) * size, size);
    for (size_t i = index.size(); i-- > 0 && ++index[i] == entry.shape[i];) {
      index[i] = 0;
    }
  }
  return bytes;
}

inline std::string to_hex(const std::string& bytes) {
  std::string hex;
  for (const char byte : bytes) {
    hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  }
  return hex;
}

inline void expect_tensors(const std::map<std::string, TensorEntry>& tensors,
                           const std::string& file,
                           bool check_strides = true) {
  const Json& expected = expected_file(file).at("tensors");
  for (const auto& [name, want] : expected.items()) {
    const auto found = tensors.find(name);
    ASSERT_NE(found, tensors.end()) << file << ": " << name;
    const TensorEntry& entry = found->second;
    EXPECT_EQ(dtype_name(entry.dtype), want.at("dtype").get<std::string>()) << file << ": " << name;
    EXPECT_EQ(Json(entry.shape), want.at("shape")) << file << ": " << name;
    if (check_strides) {
      EXPECT_EQ(Json(entry.strides), want.at("strides")) << file << ": " << name;
    }
    EXPECT_EQ(to_hex(row_major_bytes(entry)), want.at("hex").get<std::string>())
        << file << ": " << name;
  }
  EXPECT_EQ(tensors.size(), expected.size()) << file;
}

/// The message of the error that `body` throws; fails if it throws none or another type.
template <class Type, class Body>
std::string message_of(Body&& body) {
  try {
    body();
  } catch (const Type& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another type of error: " << error.what();
    return "";
  }
  ADD_FAILURE() << "no error";
  return "";
}

inline FileBytes source_of(const std::string& bytes) {
  return FileBytes::copy(std::as_bytes(std::span(bytes)), "test.bin");
}

}  // namespace tessera::io

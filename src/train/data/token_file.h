// Token documents on disk (.tok): what a language model trains on, tokenised ahead. A document is a
// list of ids; every id carries a class ("text", "picture", "prompt" …) that the recipe gives a
// loss weight. Classes are stored as runs, since they change a few times a document at most.
//
// Layout, little-endian, every section at a multiple of 8:
//   0   "TESSTOK1"        magic
//   8   u64 token_bytes   2 or 4
//   16  u64 documents, u64 tokens, u64 runs
//   40  u64 offset of: document bounds, run bounds, runs, description; u64 description bytes
//   80  tokens            u16 or u32 [tokens]
//       document bounds   u64 [documents + 1]: first token of each, then `tokens`
//       run bounds        u64 [documents + 1]: first run of each, then `runs`
//       runs              {u32 length, u32 class} [runs]; a document's lengths sum to its own
//       description       JSON: {"classes": [names], "vocab_size": n, …}
#pragma once

#include "io/json.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::train {

/// Ids of one class in a row.
struct TokenRun {
  uint32_t length = 0;
  uint32_t token_class = 0;  // index in the file's class names
};

/// Writes a .tok file of any size; nothing is left behind unless commit() is reached.
class TokenFileWriter {
 public:
  /// Ids must be below `vocab_size`; up to 65,536 they take two bytes.
  TokenFileWriter(const io::fs::path& path,
                  int64_t vocab_size,
                  std::vector<std::string> classes,
                  io::Json description = io::Json::object());

  /// Appends a document; the run lengths must sum to its length. Throws InvalidArgument.
  void add(std::span<const int32_t> tokens, std::span<const TokenRun> runs);
  void commit();

  uint64_t documents() const { return bounds_.size() - 1; }
  uint64_t tokens() const { return bounds_.back(); }

 private:
  template <class T>
  uint64_t section(const std::vector<T>& values);
  void pad();

  io::AtomicFile file_;
  int64_t vocab_size_;
  std::vector<std::string> classes_;
  io::Json description_;
  std::vector<uint64_t> bounds_{0};
  std::vector<uint64_t> run_bounds_{0};
  std::vector<TokenRun> runs_;
  std::string buffer_;
};

/// A mapped .tok file. All checks are made on opening except the values of ids, which document()
/// checks. Thread-safe.
class TokenFile {
 public:
  /// Throws NotFound, CorruptFile.
  static std::shared_ptr<const TokenFile> open(const io::fs::path& path);

  uint64_t documents() const { return bounds_.size() - 1; }
  uint64_t tokens() const { return bounds_.back(); }
  uint64_t length(uint64_t document) const { return bounds_[document + 1] - bounds_[document]; }
  int64_t vocab_size() const { return vocab_size_; }
  const std::vector<std::string>& classes() const { return classes_; }
  const io::Json& description() const { return description_; }

  /// Ids `from` … `from + out.size()` of a document. Throws CorruptFile for an id outside the
  /// vocabulary.
  void read(uint64_t document, uint64_t from, std::span<int64_t> out) const;
  std::span<const TokenRun> runs(uint64_t document) const;

 private:
  TokenFile() = default;
  std::shared_ptr<io::MappedFile> map_;
  uint64_t token_bytes_ = 2;
  const std::byte* tokens_ = nullptr;
  std::span<const uint64_t> bounds_;
  std::span<const uint64_t> run_bounds_;
  std::span<const TokenRun> runs_;
  int64_t vocab_size_ = 0;
  std::vector<std::string> classes_;
  io::Json description_;
};

}  // namespace tessera::train

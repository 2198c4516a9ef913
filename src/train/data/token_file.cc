// Writing streams the tokens and keeps bounds and runs in memory (about 60 bytes a document); the
// header is filled in last. Reading checks every bound before it is used, since files are hostile.
#include "train/data/token_file.h"

#include "core/error.h"

#include <algorithm>
#include <cstring>

namespace tessera::train {
namespace {

constexpr std::string_view kMagic = "TESSTOK1";
constexpr uint64_t kHeaderBytes = 80;
constexpr size_t kBufferBytes = size_t{1} << 20;
constexpr int64_t kSmallVocabulary = 65536;

// Everything after the magic.
struct Header {
  uint64_t token_bytes = 0;
  uint64_t documents = 0;
  uint64_t tokens = 0;
  uint64_t runs = 0;
  uint64_t bounds_at = 0;
  uint64_t run_bounds_at = 0;
  uint64_t runs_at = 0;
  uint64_t description_at = 0;
  uint64_t description_bytes = 0;
};
static_assert(sizeof(Header) + kMagic.size() == kHeaderBytes);

template <class T>
std::string_view bytes_of(const T* data, size_t count) {
  return {reinterpret_cast<const char*>(data), count * sizeof(T)};
}

// The section of `count` values at `offset`, checked against the file's size.
template <class T>
std::span<const T> section_at(const io::MappedFile& map, uint64_t offset, uint64_t count) {
  const uint64_t size = map.bytes().size();
  TESSERA_CHECK(offset % 8 == 0 && offset <= size && count <= (size - offset) / sizeof(T),
                CorruptFile, "{}: a section of {} values at byte {} does not fit in {} bytes",
                map.path().string(), count, offset, size);
  return {reinterpret_cast<const T*>(map.bytes().data() + offset), count};
}

void check_bounds(std::span<const uint64_t> bounds, uint64_t total, const io::fs::path& path) {
  TESSERA_CHECK(
      bounds.front() == 0 && bounds.back() == total && std::is_sorted(bounds.begin(), bounds.end()),
      CorruptFile, "{}: the bounds do not rise from 0 to {}", path.string(), total);
}

}  // namespace

TokenFileWriter::TokenFileWriter(const io::fs::path& path,
                                 int64_t vocab_size,
                                 std::vector<std::string> classes,
                                 io::Json description)
    : file_(path),
      vocab_size_(vocab_size),
      classes_(std::move(classes)),
      description_(std::move(description)) {
  TESSERA_CHECK(vocab_size > 0 && vocab_size <= int64_t{1} << 31 && !classes_.empty(),
                InvalidArgument, "{}: needs a vocabulary and at least one class", path.string());
  file_.write(std::string(kHeaderBytes, '\0'));
}

void TokenFileWriter::add(std::span<const int32_t> tokens, std::span<const TokenRun> runs) {
  uint64_t covered = 0;
  for (const TokenRun& run : runs) {
    TESSERA_CHECK(run.token_class < classes_.size() && run.length > 0, InvalidArgument,
                  "document {}: a run has class {} of {} and length {}", documents(),
                  run.token_class, classes_.size(), run.length);
    covered += run.length;
  }
  TESSERA_CHECK(covered == tokens.size(), InvalidArgument,
                "document {}: its runs cover {} of {} tokens", documents(), covered, tokens.size());
  for (const int32_t token : tokens) {
    TESSERA_CHECK(token >= 0 && token < vocab_size_, InvalidArgument,
                  "document {}: id {} is outside the vocabulary of {}", documents(), token,
                  vocab_size_);
    const auto wide = static_cast<uint32_t>(token);
    buffer_ += bytes_of(&wide, 1).substr(0, vocab_size_ <= kSmallVocabulary ? 2 : 4);
  }
  if (buffer_.size() >= kBufferBytes) {
    file_.write(buffer_);
    buffer_.clear();
  }
  runs_.insert(runs_.end(), runs.begin(), runs.end());
  bounds_.push_back(bounds_.back() + tokens.size());
  run_bounds_.push_back(runs_.size());
}

void TokenFileWriter::pad() {
  file_.write(std::string((8 - file_.size() % 8) % 8, '\0'));
}

template <class T>
uint64_t TokenFileWriter::section(const std::vector<T>& values) {
  pad();
  const uint64_t offset = file_.size();
  file_.write(bytes_of(values.data(), values.size()));
  return offset;
}

void TokenFileWriter::commit() {
  file_.write(buffer_);
  Header header{.token_bytes = vocab_size_ <= kSmallVocabulary ? uint64_t{2} : uint64_t{4},
                .documents = documents(),
                .tokens = tokens(),
                .runs = runs_.size()};
  header.bounds_at = section(bounds_);
  header.run_bounds_at = section(run_bounds_);
  header.runs_at = section(runs_);
  description_["classes"] = classes_;
  description_["vocab_size"] = vocab_size_;
  const std::string text = description_.dump();
  pad();
  header.description_at = file_.size();
  header.description_bytes = text.size();
  file_.write(text);
  file_.rewrite(0, kMagic);
  file_.rewrite(kMagic.size(), bytes_of(&header, 1));
  file_.commit();
}

std::shared_ptr<const TokenFile> TokenFile::open(const io::fs::path& path) {
  std::shared_ptr<TokenFile> file(new TokenFile());
  file->map_ = io::MappedFile::open(path);
  const io::MappedFile& map = *file->map_;
  TESSERA_CHECK(map.bytes().size() >= kHeaderBytes && map.text().starts_with(kMagic), CorruptFile,
                "{}: not a token file (it does not start with {})", path.string(), kMagic);
  Header header;
  std::memcpy(&header, map.bytes().data() + kMagic.size(), sizeof(header));
  constexpr uint64_t kMost = uint64_t{1} << 48;  // keeps the sums below from overflowing
  TESSERA_CHECK(header.token_bytes == 2 || header.token_bytes == 4, CorruptFile,
                "{}: tokens of {} bytes, expected 2 or 4", path.string(), header.token_bytes);
  TESSERA_CHECK(header.documents < kMost && header.tokens < kMost && header.runs < kMost,
                CorruptFile, "{}: impossible counts in the header", path.string());
  file->token_bytes_ = header.token_bytes;
  file->tokens_ =
      section_at<std::byte>(map, kHeaderBytes, header.tokens * header.token_bytes).data();
  file->bounds_ = section_at<uint64_t>(map, header.bounds_at, header.documents + 1);
  file->run_bounds_ = section_at<uint64_t>(map, header.run_bounds_at, header.documents + 1);
  file->runs_ = section_at<TokenRun>(map, header.runs_at, header.runs);
  check_bounds(file->bounds_, header.tokens, path);
  check_bounds(file->run_bounds_, header.runs, path);
  const auto text = section_at<char>(map, header.description_at, header.description_bytes);
  file->description_ = io::parse_json({text.data(), text.size()}, path.string());
  const io::Json& description = file->description_;
  TESSERA_CHECK(description.is_object() && description.contains("classes") &&
                    description["classes"].is_array() && description.contains("vocab_size") &&
                    description["vocab_size"].is_number_unsigned(),
                CorruptFile, "{}: the description needs classes and vocab_size", path.string());
  file->vocab_size_ = description["vocab_size"].get<int64_t>();
  for (const io::Json& name : description["classes"]) {
    TESSERA_CHECK(name.is_string(), CorruptFile, "{}: class names must be text", path.string());
    file->classes_.push_back(name.get<std::string>());
  }
  for (uint64_t document = 0; document < header.documents; ++document) {
    uint64_t covered = 0;
    for (const TokenRun& run : file->runs(document)) {
      TESSERA_CHECK(run.token_class < file->classes_.size(), CorruptFile,
                    "{}: document {} has class {} of {}", path.string(), document, run.token_class,
                    file->classes_.size());
      covered += run.length;
    }
    TESSERA_CHECK(covered == file->length(document), CorruptFile,
                  "{}: the runs of document {} cover {} of {} tokens", path.string(), document,
                  covered, file->length(document));
  }
  return file;
}

std::span<const TokenRun> TokenFile::runs(uint64_t document) const {
  return runs_.subspan(run_bounds_[document], run_bounds_[document + 1] - run_bounds_[document]);
}

void TokenFile::read(uint64_t document, uint64_t from, std::span<int64_t> out) const {
  TESSERA_CHECK(from + out.size() <= length(document), Internal, "read past a document's end");
  const std::byte* source = tokens_ + (bounds_[document] + from) * token_bytes_;
  for (int64_t& id : out) {
    uint32_t value = 0;
    std::memcpy(&value, source, token_bytes_);
    source += token_bytes_;
    id = value;
    TESSERA_CHECK(id < vocab_size_, CorruptFile,
                  "{}: document {} holds id {}, outside the vocabulary of {}",
                  map_->path().string(), document, id, vocab_size_);
  }
}

}  // namespace tessera::train

#include "core/error.h"
#include "train/data/packing.h"
#include "train/data/prefetch.h"
#include "unit/train/helpers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>

namespace tessera::train {
namespace {

// Documents of the given lengths; token j of document i is (i + j) mod 1000.
std::shared_ptr<const TokenFile> documents_of(const io::fs::path& path,
                                              const std::vector<uint32_t>& lengths,
                                              int64_t vocabulary = 1000) {
  TokenFileWriter writer(path, vocabulary, {"text"});
  for (size_t i = 0; i < lengths.size(); ++i) {
    std::vector<int32_t> tokens(lengths[i]);
    for (size_t j = 0; j < tokens.size(); ++j) {
      tokens[j] = static_cast<int32_t>((i + j) % 1000);
    }
    const TokenRun run{lengths[i], 0};
    writer.add(tokens, lengths[i] > 0 ? std::span(&run, 1) : std::span<const TokenRun>());
  }
  writer.commit();
  return TokenFile::open(path);
}

TEST(TokenFile, RoundTripInBothWidths) {
  const TemporaryFolder folder;
  for (const int64_t vocabulary : {int64_t{65536}, int64_t{65537}}) {
    TokenFileWriter writer(folder / "t.tok", vocabulary, {"text", "picture"}, {{"note", "x"}});
    const int32_t last = static_cast<int32_t>(vocabulary) - 1;
    const std::vector<int32_t> first{1, 2, last};
    const TokenRun runs[] = {{1, 1}, {2, 0}};
    writer.add(first, runs);
    writer.add({}, {});
    const std::vector<int32_t> second{7};
    writer.add(second, std::vector<TokenRun>{{1, 1}});
    writer.commit();
    const auto file = TokenFile::open(folder / "t.tok");
    EXPECT_EQ(file->documents(), 3U);
    EXPECT_EQ(file->tokens(), 4U);
    EXPECT_EQ(file->length(1), 0U);
    EXPECT_EQ(file->vocab_size(), vocabulary);
    EXPECT_EQ(file->classes(), (std::vector<std::string>{"text", "picture"}));
    EXPECT_EQ(file->description()["note"], "x");
    std::vector<int64_t> ids(2);
    file->read(0, 1, ids);
    EXPECT_EQ(ids, (std::vector<int64_t>{2, last}));
    ASSERT_EQ(file->runs(0).size(), 2U);
    EXPECT_EQ(file->runs(0)[0].token_class, 1U);
    EXPECT_EQ(file->runs(1).size(), 0U);
    EXPECT_EQ(file->runs(2)[0].length, 1U);
  }
}

TEST(TokenFile, TheWriterChecksAndLeavesNothingHalfWritten) {
  const TemporaryFolder folder;
  {
    TokenFileWriter writer(folder / "t.tok", 10, {"text"});
    const std::vector<int32_t> tokens{1, 2};
    EXPECT_THROW(writer.add(tokens, std::vector<TokenRun>{{1, 0}}), InvalidArgument);
    EXPECT_THROW(writer.add(tokens, std::vector<TokenRun>{{2, 1}}), InvalidArgument);
    EXPECT_THROW(writer.add(std::vector<int32_t>{10}, std::vector<TokenRun>{{1, 0}}),
                 InvalidArgument);
  }
  EXPECT_TRUE(io::fs::is_empty(folder.path()));
}

// Whatever is done to a file, opening and reading it gives tokens or one of our errors.
TEST(TokenFile, HostileFilesGiveErrors) {
  const TemporaryFolder folder;
  documents_of(folder / "good.tok", {5, 1, 0, 9});
  const std::string good = io::read_file(folder / "good.tok");
  const auto attempt = [&](const std::string& bytes) {
    std::ofstream(folder / "bad.tok", std::ios::binary) << bytes;  // unsynced: many
    try {
      const auto file = TokenFile::open(folder / "bad.tok");
      for (uint64_t i = 0; i < file->documents(); ++i) {
        std::vector<int64_t> ids(file->length(i));
        file->read(i, 0, ids);
      }
    } catch (const CorruptFile&) {
      return false;
    }
    return true;
  };
  EXPECT_TRUE(attempt(good));
  for (size_t size = 0; size < good.size(); size += 3) {
    EXPECT_FALSE(attempt(good.substr(0, size))) << size;
  }
  for (size_t at = 0; at < good.size(); ++at) {
    for (const char value : {'\0', '\x01', '\x7f', '\xff'}) {
      std::string bytes = good;
      bytes[at] = value;
      attempt(bytes);
    }
  }
  // A huge id inside the file.
  std::string bytes = good;
  bytes[80] = bytes[81] = '\xff';
  EXPECT_FALSE(attempt(bytes));
}

struct Key {
  uint32_t source;
  uint64_t document;
  uint64_t position;
  auto operator<=>(const Key&) const = default;
};

// Every prediction of an epoch, with how often it is made.
std::map<Key, int> predictions(const PackedDocuments& packed, int64_t epoch) {
  std::map<Key, int> seen;
  int64_t first = 0;
  for (int64_t e = 0; e < epoch; ++e) {
    first += packed.epoch_size(e);
  }
  for (int64_t i = first; i < first + packed.epoch_size(epoch); ++i) {
    int64_t used = 0;
    const std::vector<Piece> pieces = packed.sequence(i);
    EXPECT_FALSE(pieces.empty());
    EXPECT_LE(static_cast<int64_t>(pieces.size()), packed.options().max_documents);
    for (const Piece& piece : pieces) {
      used += piece.length;
      for (int64_t p = 0; p < piece.length; ++p) {
        ++seen[{piece.source, piece.document, piece.from + static_cast<uint64_t>(p)}];
      }
    }
    EXPECT_LE(used, packed.options().sequence);
  }
  return seen;
}

TEST(Packing, EveryPredictionOnceAnEpochInAnotherOrder) {
  const TemporaryFolder folder;
  Rng rng(1);
  std::vector<uint32_t> lengths;
  for (int i = 0; i < 500; ++i) {
    lengths.push_back(static_cast<uint32_t>(rng.below(120)));
  }
  const auto file = documents_of(folder / "t.tok", lengths);
  std::map<Key, int> expected;
  for (size_t i = 0; i < lengths.size(); ++i) {
    for (uint64_t p = 0; p + 1 < lengths[i]; ++p) {
      expected[{0, i, p}] = 1;
    }
  }
  const PackedDocuments packed({{file, 1.0}},
                               {.sequence = 50, .max_documents = 8, .window = 64, .seed = 5});
  EXPECT_EQ(predictions(packed, 0), expected);
  EXPECT_EQ(predictions(packed, 1), expected);
  const auto same = [](const std::vector<Piece>& a, const std::vector<Piece>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Piece& x, const Piece& y) {
      return x.document == y.document && x.from == y.from;
    });
  };
  EXPECT_FALSE(same(packed.sequence(0), packed.sequence(packed.epoch_size(0))));
  // Tight: at most a tenth of the room is padding.
  EXPECT_LE(static_cast<double>(packed.epoch_size(0)) * 50,
            1.1 * static_cast<double>(expected.size()));
}

TEST(Packing, AResumedPackerGoesOnAlike) {
  const TemporaryFolder folder;
  const auto file = documents_of(folder / "t.tok", std::vector<uint32_t>(40, 9));
  const PackingOptions options{.sequence = 20, .seed = 9};
  const PackedDocuments a({{file, 1.5}}, options);
  for (int64_t i = 0; i < 100; ++i) {
    a.sequence(i);
  }
  PackedDocuments b({{file, 1.5}}, options);
  b.load_state(io::Json::parse(a.state().dump()));
  for (const int64_t i : {int64_t{100}, int64_t{131}, int64_t{2}}) {
    const auto left = a.sequence(i);
    const auto right = b.sequence(i);
    ASSERT_EQ(left.size(), right.size());
    for (size_t j = 0; j < left.size(); ++j) {
      EXPECT_EQ(left[j].document, right[j].document);
    }
    EXPECT_EQ(a.position(i), b.position(i));
  }
  EXPECT_THROW(b.load_state(io::Json::parse("[[1, 2]]")), CorruptFile);
  EXPECT_THROW(b.load_state(io::Json::parse("[3]")), CorruptFile);
}

TEST(Packing, LongDocumentsAsToldAndRepeats) {
  const TemporaryFolder folder;
  const auto file = documents_of(folder / "t.tok", {26, 5});
  const auto pieces = [&](LongDocuments rule) {
    const PackedDocuments packed({{file, 1.0}}, {.sequence = 10, .long_documents = rule});
    return predictions(packed, 0).size();
  };
  EXPECT_EQ(pieces(LongDocuments::kSplit), 29U);
  EXPECT_EQ(pieces(LongDocuments::kTruncate), 14U);
  EXPECT_EQ(pieces(LongDocuments::kDrop), 4U);
  const PackedDocuments twice({{file, 2.0}}, {.sequence = 10});
  for (const auto& [key, count] : predictions(twice, 0)) {
    EXPECT_EQ(count, 2);
  }
  const auto single = documents_of(folder / "s.tok", {1, 0, 1});
  EXPECT_THROW(PackedDocuments({{single, 1.0}}, {}), InvalidArgument);
}

TEST(Prefetch, OrderDoesNotDependOnThreads) {
  const auto make = [](int64_t index) {
    if (index % 3 == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
    Batch batch;
    batch.size = static_cast<double>(index);
    return batch;
  };
  for (const int64_t workers : {0, 1, 4}) {
    Prefetch queue(make, 5, workers);
    for (int64_t i = 5; i < 60; ++i) {
      ASSERT_EQ(queue.next().size, static_cast<double>(i));
    }
  }
}

TEST(Prefetch, ErrorsComeOutAtTheirPlace) {
  std::atomic<int> made = 0;
  Prefetch queue(
      [&](int64_t index) -> Batch {
        ++made;
        if (index == 3) {
          throw CorruptFile("item 3");
        }
        return {};
      },
      0, 2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_NO_THROW(queue.next());
  }
  EXPECT_THROW(queue.next(), CorruptFile);
  EXPECT_NO_THROW(queue.next());
  EXPECT_LE(made, 12);  // bounded
}

}  // namespace
}  // namespace tessera::train

#include "io/pickle.h"

#include "golden_tensors.h"
#include "io/torch_file.h"
#include "io/zip_archive.h"

namespace tessera::io {
namespace {

using testing::HasSubstr;

constexpr const char* kReadable[] = {
    "state_dict.pt",    "protocol4.pt", "legacy.pt",       "script.pt",      "dtypes.pt",
    "bare.pt",          "views.pt",     "views_legacy.pt", "nested.pt",      "nested4.pt",
    "nested_legacy.pt", "deflated.pt",  "zip64.pt",        "descriptors.pt",
};

TensorTable read_golden(const std::string& name) {
  return read_torch(FileBytes::map(checkpoint_golden(name)));
}

std::string little_endian(uint64_t value, int width) {
  std::string bytes;
  for (int i = 0; i < width; ++i) {
    bytes += static_cast<char>(value & 0xFF);
    value >>= 8;
  }
  return bytes;
}

struct ZipItem {
  std::string name;
  std::string content;
};

// A stored archive; `claimed` replaces the size of the last entry in the directory.
std::string zip_of(const std::vector<ZipItem>& items, int64_t claimed = -1) {
  std::string body;
  std::string directory;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto& [name, content] = items[i];
    const bool lie = claimed >= 0 && i + 1 == items.size();
    const std::string sizes =
        little_endian(lie ? static_cast<uint64_t>(claimed) : content.size(), 4);
    const std::string common = little_endian(0, 12) + sizes + sizes + little_endian(name.size(), 2);
    const uint64_t offset = body.size();
    body += "PK\3\4" + little_endian(20, 2) + common + little_endian(0, 2) + name + content;
    directory += "PK\1\2" + little_endian(20, 2) + little_endian(20, 2) + common +
                 little_endian(0, 12) + little_endian(offset, 4) + name;
  }
  return body + directory + "PK\5\6" + little_endian(0, 4) + little_endian(items.size(), 2) +
         little_endian(items.size(), 2) + little_endian(directory.size(), 4) +
         little_endian(body.size(), 4) + little_endian(0, 2);
}

std::string text(const std::string& value) {
  return "X" + little_endian(value.size(), 4) + value;
}
std::string integer(int64_t value) {
  return "\x8a\x08" + little_endian(static_cast<uint64_t>(value), 8);
}
std::string tuple(const std::vector<std::string>& items) {
  std::string bytes = "(";
  for (const std::string& item : items) {
    bytes += item;
  }
  return bytes + "t";
}
std::string tuple_of(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (const int64_t value : values) {
    items.push_back(integer(value));
  }
  return tuple(items);
}
std::string storage(int64_t elements,
                    const std::string& key = "0",
                    const std::string& type = "torch\nFloatStorage") {
  return tuple({text("storage"), "c" + type + "\n", text(key), text("cpu"), integer(elements)}) +
         "Q";
}
std::string tensor(const std::string& from,
                   int64_t offset,
                   const std::vector<int64_t>& shape,
                   const std::vector<int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n" +
         tuple({from, integer(offset), tuple_of(shape), tuple_of(strides), "\x89", "}"}) + "R";
}
std::string pickle_of(const std::string& body) {
  return "\x80\x02" + body + ".";
}

std::string torch_of(const std::string& body, size_t storage_size = 24) {
  return zip_of({{"a/data.pkl", pickle_of(body)}, {"a/data/0", std::string(storage_size, 'x')}});
}

TensorTable read_body(const std::string& body, size_t storage_size = 24) {
  return read_torch(source_of(torch_of(body, storage_size)));
}

TEST(TorchFile, ReadsWhatTorchWrites) {
  for (const char* name : kReadable) {
    SCOPED_TRACE(name);
    const auto table = read_golden(name);
    expect_tensors(table.tensors, name);
    EXPECT_EQ(Json(table.values), expected_file(name).at("values"));
  }
}

TEST(TorchFile, SharedStoragesStayShared) {
  const auto table = read_golden("views.pt");
  const auto& tensors = table.tensors;
  const std::byte* base = tensors.at("base").data;
  EXPECT_EQ(tensors.at("alias").data, base);
  EXPECT_EQ(tensors.at("transposed").data, base);
  EXPECT_EQ(tensors.at("sliced").data, base + (6 + 2) * 4);
  EXPECT_FALSE(tensors.at("transposed").is_contiguous());
  EXPECT_TRUE(tensors.at("row").is_contiguous());
  EXPECT_TRUE(tensors.at("element").is_contiguous());
}

TEST(TorchFile, StoredEntriesAreUsedInPlace) {
  const auto source = FileBytes::map(checkpoint_golden("views.pt"));
  for (const auto& [name, entry] : read_torch(source).tensors) {
    EXPECT_GE(entry.data, source.bytes.data()) << name;
    EXPECT_LT(entry.data, source.bytes.data() + source.bytes.size()) << name;
  }
}

TEST(TorchFile, RefusesForeignCodeByName) {
  EXPECT_THAT(message_of<Unsupported>([] { read_golden("shell.pt"); }),
              HasSubstr("'posix.system'"));
  EXPECT_THAT(message_of<Unsupported>([] { read_golden("module.pt"); }),
              HasSubstr("torch.save(model.state_dict()"));
  for (const char* global : {"os\nsystem", "builtins\neval", "builtins\ngetattr", "torch\nload",
                             "torch.storage\n_load_from_bytes", "numpy\nload", "__torch_\n_x"}) {
    EXPECT_THAT(message_of<Unsupported>([&] { read_body("c" + std::string(global) + "\n)R"); }),
                HasSubstr("not on the list"))
        << global;
  }
  EXPECT_THROW(read_body(text("os") + text("system") + "\x93" + tuple({text("ls")}) + "R"),
               Unsupported);
  EXPECT_THROW(read_body("ctorch\nFloatStorage\n)R"), Unsupported);
}

TEST(TorchFile, RefusesOtherByteOrdersAndFormats) {
  EXPECT_THAT(message_of<Unsupported>([] { read_golden("big_endian.pt"); }), HasSubstr("'big'"));
  EXPECT_THROW(read_torch(source_of(zip_of({{"model.npy", "x"}}))), Unsupported);
  EXPECT_THROW(read_torch(source_of(zip_of({{"data.pkl", "x"}}))), Unsupported);
  EXPECT_THROW(read_torch(source_of("\x80\x02}.")), Unsupported);
  EXPECT_THROW(read_torch(source_of("")), Unsupported);
}

TEST(TorchFile, StorageBoundsAreChecked) {
  // 24 bytes: six floats.
  EXPECT_EQ(read_body(tensor(storage(6), 0, {2, 3}, {3, 1})).tensors.at("tensor").count(), 6);
  EXPECT_EQ(read_body(tensor(storage(6), 6, {0}, {1})).tensors.at("tensor").count(), 0);
  const std::string hostile[] = {
      tensor(storage(7), 0, {1}, {1}),
      tensor(storage(2'500'000'000), 0, {2'500'000'000}, {1}),
      tensor(storage(INT64_MAX), 0, {1}, {1}),
      tensor(storage(-1), 0, {1}, {1}),
      tensor(storage(4), 4, {1}, {1}),
      tensor(storage(6), 0, {7}, {1}),
      tensor(storage(6), 1, {2, 3}, {3, 1}),
      tensor(storage(6), -1, {1}, {1}),
      tensor(storage(6), INT64_MAX, {2}, {INT64_MAX}),
      tensor(storage(6), 7, {0}, {1}),
      tensor(storage(6), 0, {2}, {-1}),
      tensor(storage(6), 5, {2}, {-1}),
      tensor(storage(6), 0, {-2}, {1}),
      tensor(storage(6), 0, {2, 2}, {1}),
      tensor(storage(6), 0, {int64_t{1} << 32, int64_t{1} << 32}, {0, 0}),
      tensor(storage(6), 0, {int64_t{1} << 40}, {0}),
      tensor(storage(6), 0, std::vector<int64_t>(65, 1), std::vector<int64_t>(65, 1)),
      tensor(storage(6, "1"), 0, {1}, {1}),
      tensor(storage(6, "../data.pkl"), 0, {1}, {1}),
      tensor("N", 0, {1}, {1}),
      tensor("NQ", 0, {1}, {1}),
      tensor(tuple({text("storage")}) + "Q", 0, {1}, {1}),
      "ctorch._utils\n_rebuild_tensor_v2\n)R",
      "ctorch._utils\n_rebuild_tensor_v2\n" + tuple(std::vector<std::string>(17, "N")) + "R",
  };
  for (size_t i = 0; i < std::size(hostile); ++i) {
    EXPECT_THAT(message_of<CorruptFile>([&] { read_body(hostile[i]); }), HasSubstr("test.bin"))
        << i;
  }
  EXPECT_THROW(read_body(tensor(storage(3, "0", "torch\nQInt8Storage"), 0, {1}, {1})), Unsupported);
  EXPECT_THROW(read_body(tensor(storage(3, "0", "torch\nSize"), 0, {1}, {1})), Unsupported);
}

TEST(TorchFile, RecursionAndRepetitionBombs) {
  // A million nested lists, as objects and as marks.
  EXPECT_THROW(read_body(std::string(1'000'000, ']') + std::string(999'999, 'a')), CorruptFile);
  EXPECT_THROW(read_body(std::string(1'000'000, '(')), CorruptFile);
  // A list inside itself.
  EXPECT_THROW(read_body("]q\x01h\x01"
                         "a"),
               CorruptFile);
  // 40 levels of ten references to the level below.
  std::string laughs = "}";
  for (int level = 0; level < 40; ++level) {
    const std::string slot(1, static_cast<char>(level));
    laughs += "q" + slot + "0](";
    for (int i = 0; i < 10; ++i) {
      laughs += "h" + slot;
    }
    laughs += "e";
  }
  EXPECT_THROW(read_body(laughs), CorruptFile);
  // One long text, named and copied many times.
  std::string copies = text(std::string(100'000, 'x')) +
                       "q\x01"
                       "0](";
  for (int i = 0; i < 100'000; ++i) {
    copies += "h\x01";
  }
  EXPECT_THROW(read_body(copies + "e"), CorruptFile);
  std::string paths = text(std::string(100'000, 'x')) +
                      "q\x01"
                      "0cpathlib\nPath\nq\x02"
                      "0](";
  for (int i = 0; i < 10'000; ++i) {
    paths += "h\x02h\x01\x85R";
  }
  EXPECT_THROW(read_body(paths + "e"), CorruptFile);
}

TEST(Pickle, RefusesDamagedStreams) {
  const std::string hostile[] = {
      "",
      "]",
      ".",
      "0.",
      "t.",
      "e.",
      "(e.",
      "N(a.",
      "Na.",
      "NNa.",
      "}N(Nu.",
      "}(Nu.",
      "](NNu.",
      "NNs.",
      "h\x05.",
      "j\xff\xff\xff\xff.",
      "q\x01.",
      "\x94.",
      "R.",
      "NNR.",
      "Q.",
      "\x93.",
      "NN\x93.",
      "X\xff\xff\xff\xff"
      "abc.",
      std::string("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
                  "abc."),
      "X\x01",
      "G\x01",
      "\x8a\xff\x01.",
      std::string("\x8b\xff\xff\xff\xff."),
      "cmodule",
      "cmodule\nname",
      "c" + std::string(2000, 'x') + "\nname\n.",
      "(.",
      "1.",
      "ccollections\nOrderedDict\nN\x85R.",
      "ccollections\nOrderedDict\n]]a\x85R.",
      "c_codecs\nencode\n" + text("\xe2\x82\xac") + "\x85R.",
  };
  for (const std::string& bytes : hostile) {
    EXPECT_THROW(Pickle(bytes, "test.pkl"), CorruptFile) << testing::PrintToString(bytes);
  }
  EXPECT_THROW(Pickle("\x80\x06.", "test.pkl"), Unsupported);
  EXPECT_THAT(message_of<Unsupported>([] { Pickle("I1\n.", "test.pkl"); }), HasSubstr("0x49"));
  EXPECT_THAT(message_of<Unsupported>([] { Pickle("\x82\x01.", "test.pkl"); }), HasSubstr("0x82"));
}

TEST(Pickle, NumbersAndMarks) {
  const auto value_of = [](const std::string& bytes) {
    const Pickle pickle(bytes + "tail", "test.pkl");
    EXPECT_EQ(pickle.bytes_read(), bytes.size());
    return pickle[pickle.root()];
  };
  EXPECT_EQ(value_of("J\xff\xff\xff\xff.").integer, -1);
  EXPECT_EQ(value_of("M\xff\xff.").integer, 65535);
  EXPECT_EQ(value_of(std::string("\x8a\x00.", 3)).integer, 0);
  EXPECT_EQ(value_of("\x8a\x01\x80.").integer, -128);
  EXPECT_EQ(value_of(std::string("\x8a\x02\x80\x00.", 5)).integer, 128);
  EXPECT_EQ(value_of(std::string("G\x3f\xf8\0\0\0\0\0\0.", 10)).real, 1.5);
  EXPECT_EQ(value_of("NN(NN1.").kind, PickleKind::kNone);
  EXPECT_EQ(value_of("K\x05(0.").integer, 5);
  EXPECT_EQ(value_of("(K\x01K\x02"
                     "d.")
                .items.size(),
            2U);
  // Python 2's way to write an ordered dictionary.
  EXPECT_EQ(value_of("ccollections\nOrderedDict\n](](K\x01K\x02"
                     "ee\x85R.")
                .kind,
            PickleKind::kDict);
  EXPECT_EQ(value_of("c__builtin__\nset\n)R.").kind, PickleKind::kList);
}

TEST(Zip, RefusesDamagedArchives) {
  const std::string good = zip_of({{"a/x", "abc"}, {"a/y", "defg"}});
  EXPECT_EQ(ZipArchive(source_of(good)).entries().size(), 2U);
  EXPECT_THROW(ZipArchive(source_of("PK\3\4")), CorruptFile);
  EXPECT_THROW(ZipArchive(source_of(zip_of({{"a", "b"}, {"a", "c"}}))), CorruptFile);
  for (const int64_t claimed : {5LL, 1000LL, 0xFFFFFFFELL, 0xFFFFFFFFLL}) {
    EXPECT_THAT(message_of<CorruptFile>([&] {
                  ZipArchive(source_of(zip_of({{"a", "b"}, {"c", "defg"}}, claimed)));
                }),
                HasSubstr("entry 'c'"))
        << claimed;
  }
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_THROW(ZipArchive(source_of(good.substr(0, size))), CorruptFile) << size;
  }
}

TEST(Zip, DeflatedEntriesAreLimitedAndChecked) {
  std::string packed = read_file(checkpoint_golden("deflated.pt"));
  ZipArchive archive(source_of(packed));
  const ZipEntry* entry = nullptr;
  for (const auto& [name, candidate] : archive.entries()) {
    if (name.ends_with("data.pkl")) {
      entry = &candidate;
    }
  }
  ASSERT_NE(entry, nullptr);
  EXPECT_TRUE(entry->deflated);
  EXPECT_EQ(archive.read(*entry).bytes.size(), entry->size);
  ZipEntry claims = *entry;
  claims.size = 10'000'000'000;
  EXPECT_THAT(message_of<CorruptFile>([&] { archive.read(claims); }), HasSubstr("too much"));
  claims.size = entry->size + 1;
  EXPECT_THROW(archive.read(claims), CorruptFile);
  claims.size = entry->size - 1;
  EXPECT_THROW(archive.read(claims), CorruptFile);
  claims = *entry;
  claims.crc ^= 1;
  EXPECT_THROW(archive.read(claims), CorruptFile);
}

TEST(TorchFile, CutsAndFlippedBytesGiveErrorsOnly) {
  for (const char* name : {"nested.pt", "views_legacy.pt", "deflated.pt"}) {
    const std::string whole = read_file(checkpoint_golden(name));
    for (size_t size = 0; size < whole.size(); size += 61) {
      EXPECT_THROW(read_torch(source_of(whole.substr(0, size))), Error) << name << " " << size;
    }
    for (size_t i = 0; i < whole.size(); i += 3) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
      try {
        read_torch(source_of(damaged));
      } catch (const Error&) {
        // Flips in tensors and unused fields are not seen.
      }
    }
  }
}

}  // namespace
}  // namespace tessera::io

#include "io/hub.h"

#include "golden_tensors.h"

#include <cstdlib>

namespace tessera::io {
namespace {

using testing::HasSubstr;

constexpr const char* kVariables[] = {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};

// A cache in a fresh folder; restores the environment afterwards.
class Hub : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kVariables) {
      const char* value = std::getenv(name);
      saved_.emplace_back(value == nullptr ? std::nullopt : std::optional<std::string>(value));
      unsetenv(name);
    }
    cache_ = fresh_folder("hub");
    setenv("HF_HUB_CACHE", cache_.c_str(), 1);
  }

  void TearDown() override {
    for (size_t i = 0; i < saved_.size(); ++i) {
      saved_[i] ? setenv(kVariables[i], saved_[i]->c_str(), 1) : unsetenv(kVariables[i]);
    }
  }

  fs::path add(const std::string& model, const std::string& ref, const std::string& commit) const {
    const fs::path folder = cache_ / model;
    if (!ref.empty()) {
      write_file(folder / "refs" / ref, commit);
    }
    fs::create_directories(folder / "snapshots" / commit);
    return folder / "snapshots" / commit;
  }

  fs::path cache_;
  std::vector<std::optional<std::string>> saved_;
};

TEST_F(Hub, WhereTheCacheIs) {
  setenv("HOME", "/home/me", 1);
  EXPECT_EQ(hub_cache(), cache_);
  setenv("HF_HUB_CACHE", "~/models", 1);
  EXPECT_EQ(hub_cache(), "/home/me/models");
  setenv("HF_HUB_CACHE", "", 1);
  EXPECT_EQ(hub_cache(), "/home/me/.cache/huggingface/hub");
  setenv("XDG_CACHE_HOME", "/xdg", 1);
  EXPECT_EQ(hub_cache(), "/xdg/huggingface/hub");
  setenv("HF_HOME", "/hf", 1);
  EXPECT_EQ(hub_cache(), "/hf/hub");
}

TEST_F(Hub, FindsRevisions) {
  const fs::path main = add("models--org--Some.Name-7B", "main", "aaaa1111");
  const fs::path tag = add("models--org--Some.Name-7B", "v1.0", "bbbb2222");
  const fs::path pull = add("models--org--Some.Name-7B", "refs/pr/1", "cccc3333");
  EXPECT_EQ(resolve_model("org/Some.Name-7B"), main);
  EXPECT_EQ(resolve_model("org/Some.Name-7B@main"), main);
  EXPECT_EQ(resolve_model("org/Some.Name-7B@v1.0"), tag);
  EXPECT_EQ(resolve_model("org/Some.Name-7B@refs/pr/1"), pull);
  EXPECT_EQ(resolve_model("org/Some.Name-7B@bbbb2222"), tag);
  EXPECT_THAT(message_of<NotFound>([] { resolve_model("org/Some.Name-7B@v2"); }),
              HasSubstr("aaaa1111, bbbb2222, cccc3333"));
}

TEST_F(Hub, NamesWithoutOrganisationAndWithoutRefs) {
  const fs::path gpt2 = add("models--gpt2", "main", "1234");
  EXPECT_EQ(resolve_model("gpt2"), gpt2);
  const fs::path only = add("models--a--b", "", "5678");
  EXPECT_EQ(resolve_model("a/b"), only);
  add("models--a--b", "", "9abc");
  EXPECT_THROW(resolve_model("a/b"), NotFound);
}

TEST_F(Hub, AnExistingPathWins) {
  const fs::path folder = fresh_folder("hub_path");
  EXPECT_EQ(resolve_model(folder.string()), folder);
}

TEST_F(Hub, ErrorsSayWhatWasSearched) {
  add("models--org--llama-7b", "main", "1234");
  const std::string message = message_of<NotFound>([] { resolve_model("org/lama-7b"); });
  EXPECT_THAT(message, HasSubstr(cache_.string()));
  EXPECT_THAT(message, HasSubstr("did you mean org/llama-7b?"));
  EXPECT_THROW(resolve_model(""), NotFound);
  EXPECT_THROW(resolve_model("a/b/c"), NotFound);
  EXPECT_THROW(resolve_model("./nothing"), NotFound);
  EXPECT_THROW(resolve_model("../models--org--llama-7b"), NotFound);
  EXPECT_THROW(resolve_model("org/llama-7b@../../x"), NotFound);
  EXPECT_THROW(resolve_model("org/llama-7b@"), NotFound);
  EXPECT_THROW(resolve_model(std::string(5000, 'x')), NotFound);
}

TEST_F(Hub, FilesOfASnapshot) {
  const fs::path main = add("models--org--x", "main", "1234");
  const fs::path other = add("models--org--x", "refs/pr/1", "5678");
  const fs::path short_name = add("models--gpt2", "main", "9abc");
  write_file(cache_ / "models--org--x" / "blobs" / "ffff", "x");
  fs::create_symlink("../../blobs/ffff", main / "model.safetensors");  // as huggingface_hub does
  write_file(main / "gguf" / "Q4 K:M.gguf", "x");
  write_file(other / "model.safetensors", "x");
  write_file(short_name / "tokenizer.json", "x");
  EXPECT_EQ(resolve_model("org/x:model.safetensors"), main / "model.safetensors");
  EXPECT_EQ(resolve_model("org/x:gguf/Q4 K:M.gguf"), main / "gguf" / "Q4 K:M.gguf");
  EXPECT_EQ(resolve_model("org/x:gguf"), main / "gguf");
  EXPECT_EQ(resolve_model("org/x@refs/pr/1:model.safetensors"), other / "model.safetensors");
  EXPECT_EQ(resolve_model("org/x@5678:model.safetensors"), other / "model.safetensors");
  EXPECT_EQ(resolve_model("gpt2:tokenizer.json"), short_name / "tokenizer.json");
  const std::string message = message_of<NotFound>([] { resolve_model("org/x:model.safetensor"); });
  EXPECT_THAT(message, HasSubstr("did you mean model.safetensors?"));
  EXPECT_THAT(message, HasSubstr("hf download org/x model.safetensor"));
  EXPECT_THAT(message_of<NotFound>([] { resolve_model("org/x@refs/pr/1:gguf"); }),
              HasSubstr("--revision refs/pr/1"));
  EXPECT_THAT(message_of<NotFound>([] { resolve_model("org/y:model.safetensors"); }),
              HasSubstr("did you mean org/x?"));
}

TEST_F(Hub, FilesStayInTheSnapshot) {
  const fs::path main = add("models--org--x", "main", "1234");
  write_file(main / "config.json", "{}");
  for (const std::string_view file :
       {"", "/", "..", ".", "../../refs/main", "a/../config.json", "./config.json", "/etc/passwd",
        "config.json/", "config.json/x"}) {
    EXPECT_THROW(resolve_model("org/x:" + std::string(file)), NotFound) << file;
  }
  EXPECT_THROW(resolve_model(std::string("org/x:config.json\0", 18)), NotFound);
  EXPECT_THROW(resolve_model("org/x:" + std::string(5000, 'x')), NotFound);
  EXPECT_THROW(resolve_model(":config.json"), NotFound);
  EXPECT_THROW(resolve_model("org/x@:config.json"), NotFound);
}

TEST_F(Hub, DamagedReferences) {
  add("models--org--x", "main", "1234");
  write_file(cache_ / "models--org--x" / "refs" / "main", "../../etc");
  EXPECT_THROW(resolve_model("org/x"), CorruptFile);
  write_file(cache_ / "models--org--x" / "refs" / "main", "ffff\n");
  EXPECT_THROW(resolve_model("org/x"), NotFound);
}

}  // namespace
}  // namespace tessera::io

#include "io/file.h"

#include "core/error.h"
#include "unit/temporary_folder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tessera::io {
namespace {

fs::path scratch(const char* name) {
  const fs::path folder = temporary_path("files");
  fs::create_directories(folder);
  return folder / name;
}

TEST(File, AtomicWriteLeavesNothingWithoutCommit) {
  const fs::path path = scratch("abandoned");
  fs::remove(path);
  {
    AtomicFile file(path);
    file.write(std::string_view("half"));
  }
  EXPECT_FALSE(fs::exists(path));
  EXPECT_TRUE(fs::is_empty(path.parent_path()) ||
              !fs::exists(path.string() + ".part-" + std::to_string(getpid())));
}

TEST(File, CommitReplacesAndRewriteChangesEarlierBytes) {
  const fs::path path = scratch("whole");
  write_file(path, "old content");
  AtomicFile file(path);
  file.write(std::string_view("????payload"));
  file.rewrite(0, "HEAD");
  EXPECT_EQ(read_file(path), "old content");
  file.commit();
  EXPECT_EQ(read_file(path), "HEADpayload");
}

TEST(File, FullDiskIsAnErrorThatNamesTheFile) {
  if (!fs::exists("/dev/full")) {
    GTEST_SKIP() << "no /dev/full here";
  }
  // The temporary name is a link to the device that refuses every write.
  const fs::path path = scratch("full");
  const fs::path part = path.string() + ".part-" + std::to_string(getpid());
  fs::remove(part);
  fs::create_symlink("/dev/full", part);
  AtomicFile file(path);
  EXPECT_THROW(file.write(std::string_view("x")), Io);
}

TEST(File, DevicesAndPipesAreWrittenNotReplaced) {
  write_file("/dev/null", "x");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  if (fs::exists("/dev/full")) {
    EXPECT_THROW(write_file("/dev/full", "x"), Io);
    EXPECT_TRUE(fs::is_character_file("/dev/full"));
  }
  const fs::path pipe = scratch("pipe");
  fs::remove(pipe);
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  write_file(pipe, "through");
  char got[16] = {};
  EXPECT_EQ(::read(reader, got, sizeof(got)), 7);
  EXPECT_STREQ(got, "through");
  ::close(reader);
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST(File, ALinkStaysAndItsTargetIsReplaced) {
  const fs::path target = scratch("target");
  const fs::path link = scratch("link");
  write_file(target, "old");
  fs::remove(link);
  fs::create_symlink("target", link);
  write_file(link, "new");
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(read_file(target), "new");
  fs::remove(target);  // a dangling link is replaced
  write_file(link, "again");
  EXPECT_EQ(read_file(link), "again");
}

TEST(File, MissingFileNamesANeighbour) {
  write_file(scratch("model.safetensors"), "x");
  try {
    read_file(scratch("model.safetensor"));
    FAIL();
  } catch (const NotFound& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean"), std::string::npos) << error.what();
  }
}

TEST(File, LimitIsKept) {
  write_file(scratch("big"), std::string(100, 'x'));
  EXPECT_THROW(read_file(scratch("big"), 99), CorruptFile);
  EXPECT_EQ(read_file(scratch("big"), 100).size(), 100U);
}

TEST(File, MapsAreCopyOnWrite) {
  write_file(scratch("map"), "abc");
  const auto map = MappedFile::open(scratch("map"));
  map->bytes()[0] = std::byte{'z'};
  EXPECT_EQ(map->text(), "zbc");
  EXPECT_EQ(read_file(scratch("map")), "abc");
  write_file(scratch("empty"), "");
  EXPECT_TRUE(MappedFile::open(scratch("empty"))->bytes().empty());
}

}  // namespace
}  // namespace tessera::io

// Runs a fuzz target (libFuzzer's entry point) with any compiler:
//   prog [--seconds N] [--seed S] [--max-len BYTES] corpus...
// Corpus folders and files are replayed first, then random mutations of them are tried until time
// is up; --seconds 0 only replays. Each input lies in a file mapped into memory while it runs, so
// that the one that crashes the process, or hangs for 30 s, is left behind: its path is printed,
// and giving it as corpus with --seconds 0 repeats the failure. No coverage feedback: the corpus
// should hold one file for each feature of the format.
#include "core/random.h"

#include <fcntl.h>
#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// A single huge allocation is a defect of a reader, not bad luck.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "max_allocation_size_mb=1024:hard_rss_limit_mb=3072:allocator_may_return_null=0";
}

// UndefinedBehaviorSanitizer has its own runtime, which does not know the death callback.
extern "C" const char* __ubsan_default_options();
extern "C" const char* __ubsan_default_options() {
  return "abort_on_error=1:print_stacktrace=1";
}

namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;
using tessera::Rng;

constexpr unsigned kHangSeconds = 30;
constexpr size_t kDefaultMaxLength = 1 << 16;
constexpr int kMaxMutations = 6;

// The input that is running. Globals, since signal handlers read them.
char scratch_path[4096];
int scratch_fd = -1;
uint8_t* scratch = nullptr;
size_t scratch_size = 0;  // bytes in use

void say(const char* text) {
  if (write(STDERR_FILENO, text, std::strlen(text)) < 0) {
    return;
  }
}

// Signal-safe: cuts the file to the input and names it.
void report_input() {
  if (ftruncate(scratch_fd, static_cast<off_t>(scratch_size)) != 0) {
    say("(cannot cut the file)\n");
  }
  say("\ninput that failed: ");
  say(scratch_path);
  say("\n");
}

void on_signal(int signal) {
  say(signal == SIGALRM ? "\nhang: one input took too long" : "\naborted");
  report_input();
  _exit(1);
}

void open_scratch(const char* program, size_t max_length) {
  const std::string path = fs::absolute(fs::path(program).filename().string() + "." +
                                        std::to_string(getpid()) + ".input")
                               .string();
  std::snprintf(scratch_path, sizeof(scratch_path), "%s", path.c_str());
  scratch_fd = open(scratch_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (scratch_fd < 0 || ftruncate(scratch_fd, static_cast<off_t>(max_length)) != 0) {
    std::perror(scratch_path);
    std::exit(2);
  }
  void* map = mmap(nullptr, max_length, PROT_READ | PROT_WRITE, MAP_SHARED, scratch_fd, 0);
  if (map == MAP_FAILED) {
    std::perror("mmap");
    std::exit(2);
  }
  scratch = static_cast<uint8_t*>(map);
}

void run_input(const Bytes& input) {
  std::copy(input.begin(), input.end(), scratch);
  scratch_size = input.size();
  alarm(kHangSeconds);
  // An own allocation of the exact size: a read past its end is seen.
  const Bytes exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  alarm(0);
}

std::vector<Bytes> read_corpus(const std::vector<std::string>& paths) {
  std::vector<fs::path> files;
  for (const std::string& path : paths) {
    if (!fs::is_directory(path)) {
      files.emplace_back(path);
      continue;
    }
    for (const auto& item : fs::recursive_directory_iterator(path)) {
      if (item.is_regular_file()) {
        files.push_back(item.path());
      }
    }
  }
  std::sort(files.begin(), files.end());
  std::vector<Bytes> corpus;
  for (const fs::path& file : files) {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) {
      std::fprintf(stderr, "%s: cannot be read\n", file.c_str());
      std::exit(2);
    }
    corpus.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return corpus;
}

// ---- mutations --------------------------------------------------------------------------------

constexpr uint64_t kInteresting[] = {
    0,          1,          2,          4,          8,          16,         0x20,
    0x40,       0x7F,       0x80,       0xFF,       0x100,      0x3FF,      0x400,
    0x1000,     0x7FFF,     0x8000,     0xFFFF,     0x10000,    0x7FFFFFFF, 0x80000000,
    0xFFFFFFFE, 0xFFFFFFFF, 1ULL << 32, 1ULL << 40, ~0ULL >> 1, 1ULL << 63, ~0ULL,
};

class Mutator {
 public:
  Mutator(uint64_t seed, size_t max_length, const std::vector<Bytes>& corpus)
      : rng_(seed), max_length_(max_length), corpus_(corpus) {}

  Bytes next() {
    Bytes bytes = corpus_[rng_.below(corpus_.size())];
    const uint64_t count = 1 + rng_.below(kMaxMutations);
    for (uint64_t i = 0; i < count; ++i) {
      mutate(bytes);
    }
    bytes.resize(std::min(bytes.size(), max_length_));
    return bytes;
  }

 private:
  size_t place(const Bytes& bytes) { return static_cast<size_t>(rng_.below(bytes.size())); }

  // Mostly short, sometimes up to the whole.
  size_t length(size_t limit) {
    const uint64_t bound = rng_.below(4) == 0 ? limit : std::min<uint64_t>(limit, 16);
    return static_cast<size_t>(1 + rng_.below(bound));
  }

  void mutate(Bytes& bytes) {
    if (bytes.empty()) {
      bytes.push_back(static_cast<uint8_t>(rng_.next()));
      return;
    }
    switch (rng_.below(9)) {
      case 0:
        bytes[place(bytes)] ^= static_cast<uint8_t>(1U << rng_.below(8));
        break;
      case 1:
        bytes[place(bytes)] = static_cast<uint8_t>(rng_.next());
        break;
      case 2:
        overwrite_number(bytes);
        break;
      case 3:
        step_number(bytes);
        break;
      case 4:
        bytes.resize(rng_.below(bytes.size() + 1));
        break;
      case 5:
        erase_block(bytes);
        break;
      case 6:
        copy_block(bytes, bytes, rng_.below(2) == 0);
        break;
      case 7:
        copy_block(corpus_[rng_.below(corpus_.size())], bytes, rng_.below(2) == 0);
        break;
      default:
        splice(bytes);
        break;
    }
  }

  void overwrite_number(Bytes& bytes) {
    const size_t width = size_t{1} << rng_.below(4);
    const uint64_t value = kInteresting[rng_.below(std::size(kInteresting))];
    const bool big_endian = rng_.below(4) == 0;
    const size_t at = place(bytes);
    for (size_t i = 0; i < width && at + i < bytes.size(); ++i) {
      bytes[at + i] = static_cast<uint8_t>(value >> (8 * (big_endian ? width - 1 - i : i)));
    }
  }

  void step_number(Bytes& bytes) {
    const size_t at = place(bytes);
    const int step = static_cast<int>(rng_.below(33)) - 16;
    bytes[at] = static_cast<uint8_t>(bytes[at] + step);
  }

  void erase_block(Bytes& bytes) {
    const size_t at = place(bytes);
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    bytes.erase(begin, begin + static_cast<std::ptrdiff_t>(length(bytes.size() - at)));
  }

  void copy_block(const Bytes& from, Bytes& to, bool insert) {
    if (from.empty() || to.empty()) {
      return;
    }
    const size_t source = place(from);
    const auto begin = from.begin() + static_cast<std::ptrdiff_t>(source);
    const Bytes block(begin, begin + static_cast<std::ptrdiff_t>(length(from.size() - source)));
    const size_t at = place(to);
    const auto target = to.begin() + static_cast<std::ptrdiff_t>(at);
    if (insert) {
      to.insert(target, block.begin(), block.end());
    } else {
      std::copy_n(block.begin(), std::min(block.size(), to.size() - at), target);
    }
  }

  // The front of this, the back of another.
  void splice(Bytes& bytes) {
    const Bytes& other = corpus_[rng_.below(corpus_.size())];
    if (other.empty()) {
      return;
    }
    const size_t at = place(other);
    bytes.resize(place(bytes));
    bytes.insert(bytes.end(), other.begin() + static_cast<std::ptrdiff_t>(at), other.end());
  }

  Rng rng_;
  size_t max_length_;
  const std::vector<Bytes>& corpus_;
};

struct Options {
  double seconds = 10;
  uint64_t seed = 1;
  size_t max_length = kDefaultMaxLength;
  std::vector<std::string> corpus;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const bool has_value = i + 1 < argc;
    if (name == "--seconds" && has_value) {
      options.seconds = std::strtod(argv[++i], nullptr);
    } else if (name == "--seed" && has_value) {
      options.seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (name == "--max-len" && has_value) {
      options.max_length = std::max<size_t>(1, std::strtoull(argv[++i], nullptr, 10));
    } else if (name.starts_with("--")) {
      std::fprintf(stderr, "usage: %s [--seconds N] [--seed S] [--max-len BYTES] corpus...\n",
                   argv[0]);
      std::exit(2);
    } else {
      options.corpus.emplace_back(name);
    }
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  Options options = parse(argc, argv);
  std::vector<Bytes> corpus = read_corpus(options.corpus);
  for (const Bytes& file : corpus) {
    options.max_length = std::max(options.max_length, file.size());
  }
  open_scratch(argv[0], options.max_length);
  std::signal(SIGABRT, on_signal);
  std::signal(SIGALRM, on_signal);
  __sanitizer_set_death_callback(report_input);

  for (const Bytes& file : corpus) {
    run_input(file);
  }
  const size_t replayed = corpus.size();
  if (corpus.empty()) {
    corpus.emplace_back();
  }
  Mutator mutator(options.seed, options.max_length, corpus);
  const auto start = std::chrono::steady_clock::now();
  double elapsed = 0;
  uint64_t runs = 0;
  while (elapsed < options.seconds) {
    run_input(mutator.next());
    ++runs;
    elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  std::printf("%zu corpus files, %llu mutations in %.1f s (%.0f runs/s), seed %llu, no failure\n",
              replayed, static_cast<unsigned long long>(runs), elapsed,
              elapsed > 0 ? static_cast<double>(runs) / elapsed : 0.0,
              static_cast<unsigned long long>(options.seed));
  munmap(scratch, options.max_length);
  unlink(scratch_path);
  return 0;
}

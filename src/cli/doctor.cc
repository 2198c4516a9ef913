// `tessera doctor`: what this machine has, what is missing and how to get it. Needs no libtorch:
// its absence is one of the findings.
#include "cli/commands.h"
#include "core/error.h"
#include "core/strings.h"
#include "io/json.h"

#include <dlfcn.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <thread>

namespace tessera::cli {
namespace {

struct Finding {
  std::string name;
  bool ok;
  std::string detail;
  std::string advice;  // when not ok
};

bool can_open(const char* library) {
  void* handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
  return handle != nullptr;  // left open: closing some drivers crashes at exit
}

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) {
      return std::string(trim(line.substr(line.find(':') + 1)));
    }
  }
  return "unknown";
}

Finding cpu_finding() {
  std::string isa;
  for (const auto& [name, present] :
       {std::pair<const char*, bool>{"avx2", __builtin_cpu_supports("avx2")},
        {"avx512", __builtin_cpu_supports("avx512f")},
        {"vnni", __builtin_cpu_supports("avx512vnni")}}) {
    if (present) {
      isa += std::string(isa.empty() ? "" : " ") + name;
    }
  }
  return {"processor", true,
          fmt::format("{}, {} threads, {}", cpu_model(), std::thread::hardware_concurrency(),
                      isa.empty() ? "no vector extension used" : isa),
          ""};
}

Finding memory_finding() {
  const double gib = static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
                     static_cast<double>(sysconf(_SC_PAGE_SIZE)) / (1 << 30);
  return {"memory", gib >= 2, fmt::format("{:.1f} GiB", gib), "at least 2 GiB are needed"};
}

Finding library_finding() {
  try {
    tensor_commands();
    return {"libtorch", true, "opens", ""};
  } catch (const Error& error) {
    return {"libtorch", false, error.what(), "run `make` in the checkout, or reinstall"};
  }
}

}  // namespace

int run_doctor(const CommonOptions& options) {
  std::vector<Finding> findings = {cpu_finding(), memory_finding(), library_finding()};
  const bool ffmpeg = can_open("libavformat.so.59") && can_open("libavcodec.so.59") &&
                      can_open("libswresample.so.4");
  findings.push_back({"FFmpeg 5.1", ffmpeg,
                      ffmpeg ? "opens" : "not found; only WAV can be read and written",
                      "apt-get install libavformat59 libavcodec59 libswresample4"});
  const bool driver = can_open("libcuda.so.1");
  findings.push_back({"NVIDIA driver", driver, driver ? "opens" : "not found; --device cuda is off",
                      "only needed for a GPU"});
  io::Json list = io::Json::array();
  for (const Finding& finding : findings) {
    if (options.json) {
      list.push_back({{"name", finding.name},
                      {"ok", finding.ok},
                      {"detail", finding.detail},
                      {"advice", finding.ok ? "" : finding.advice}});
    } else {
      std::printf("%s %-14s %s%s\n", finding.ok ? "✓" : "–", finding.name.c_str(),
                  finding.detail.c_str(),
                  finding.ok || finding.advice.empty() ? "" : (" → " + finding.advice).c_str());
    }
  }
  if (options.json) {
    std::printf("%s\n", list.dump(2).c_str());
  }
  return 0;
}

}  // namespace tessera::cli

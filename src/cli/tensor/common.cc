#include "cli/tensor/common.h"

#include "core/error.h"
#include "core/log.h"
#include "core/strings.h"
#include "io/file.h"
#include "ops/device.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>

namespace tessera::cli {
namespace {

// Hyper-threads share their core's vector units, so one thread a core is best for arithmetic.
int physical_cores() {
  std::set<std::string> cores;
  std::ifstream info("/proc/cpuinfo");
  std::string package;
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("physical id")) {
      package = line;
    } else if (line.starts_with("core id")) {
      cores.insert(package + line);
    }
  }
  const int logical = std::max(1, at::get_num_threads());
  return cores.empty() ? logical : std::min<int>(logical, static_cast<int>(cores.size()));
}

at::ScalarType dtype_named(const std::string& name) {
  if (name == "fp32" || name == "float32") {
    return at::kFloat;
  }
  if (name == "bf16" || name == "bfloat16") {
    return at::kBFloat16;
  }
  if (name == "fp16" || name == "float16") {
    return at::kHalf;
  }
  if (name == "fp64" || name == "float64") {
    return at::kDouble;
  }
  throw InvalidArgument("--dtype {}: expected fp32, bf16, fp16 or fp64", name);
}

}  // namespace

nn::LoadOptions prepare(const CommonOptions& options) {
  const at::Device device = ops::open_device(options.device);  // before libtorch looks for CUDA
  // Activations of a training step are of the same few sizes every step: kept by malloc, they need
  // no fresh pages (a tenth of a small codec's step on the CPU).
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  // oneDNN makes code for each shape of a convolution and keeps the newest 1,024 pieces, megabytes
  // each. Utterances have any length, so that the cache of a codec that hears them would fill up
  // with code that is never run again: 6 GB. 64 hold every shape of a training step or a picture.
  // libtorch hides the function that sets this, and oneDNN reads the variable at its first use.
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64", 0);
  at::set_num_threads(options.threads > 0 ? options.threads : physical_cores());
  nn::LoadOptions load;
  if (!options.dtype.empty()) {
    load.dtype = dtype_named(options.dtype);
  }
  load.device = device;
  return load;
}

std::vector<std::string> read_prompts(std::vector<std::string> prompts, const std::string& file) {
  if (!file.empty()) {
    for (std::string& line : split(io::read_file(file, uint64_t{1} << 30), '\n')) {
      if (!trim(line).empty()) {
        prompts.push_back(std::move(line));
      }
    }
  }
  return prompts;
}

void translate_torch_errors(const std::function<void()>& body) {
  try {
    body();
  } catch (const c10::OutOfMemoryError& error) {
    log::debug("{}", error.what());
    throw OutOfMemory("out of memory: {}", split(error.what_without_backtrace(), '\n').front());
  } catch (const c10::Error& error) {
    log::debug("{}", error.what());
    throw Internal("{}", split(error.what_without_backtrace(), '\n').front());
  }
}

}  // namespace tessera::cli

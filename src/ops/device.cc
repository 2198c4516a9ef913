// libtorch decides once whether CUDA exists: at the first look at its hooks, and for autograd's
// threads at the first backward. Opening the library registers kernels, hooks and the device guard
// by static initialisers.
#include "ops/device.h"

#include "core/error.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <dlfcn.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace tessera::ops {
namespace {

void open_cuda() {
  static const bool opened = [] {
    TESSERA_CHECK(dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) != nullptr, Unsupported,
                  "--device cuda: no NVIDIA driver here; use --device cpu");
    TESSERA_CHECK(dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr, Unsupported,
                  "--device cuda: libtorch's CUDA side cannot be opened ({}); run `make setup-gpu`",
                  dlerror());
    return true;
  }();
  static_cast<void>(opened);
}

void* open_own_library() {
  Dl_info self;
  TESSERA_CHECK(dladdr(reinterpret_cast<const void*>(&open_cuda), &self) != 0, Internal,
                "the address of libtessera.so is unknown");
  const auto path = std::filesystem::path(self.dli_fname).parent_path() / "libtessera_cuda.so";
  if (!std::filesystem::exists(path)) {
    return nullptr;
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  TESSERA_CHECK(library != nullptr, Io, "{}: cannot be opened: {}", path.string(), dlerror());
  return library;
}

}  // namespace

void* cuda_function(const char* name) {
  static void* const library = open_own_library();
  return library == nullptr ? nullptr : dlsym(library, name);
}

int64_t free_memory(at::Device device) {
  if (!device.is_cpu()) {
    const auto ask =
        reinterpret_cast<int64_t (*)(c10::Device)>(cuda_function("tessera_free_gpu_memory"));
    return ask == nullptr ? INT64_MAX : ask(device);
  }
  std::ifstream file("/proc/meminfo");
  for (std::string name; file >> name;) {
    if (int64_t kilobytes = 0; name == "MemAvailable:" && file >> kilobytes) {
      return kilobytes << 10;
    }
  }
  return INT64_MAX;
}

at::Device open_device(std::string_view name) {
  if (name == "cpu") {
    return at::kCPU;
  }
  const bool known =
      name == "cuda" || (name.starts_with("cuda:") && name.size() > 5 && name.size() < 8 &&
                         name.find_first_not_of("0123456789", 5) == std::string_view::npos);
  TESSERA_CHECK(known, InvalidArgument, "--device {}: expected cpu, cuda or cuda:N", name);
  open_cuda();
  const int index = name == "cuda" ? 0 : std::stoi(std::string(name.substr(5)));
  const auto* guard = c10::impl::getDeviceGuardImpl(at::kCUDA);
  TESSERA_CHECK(index < guard->deviceCount(), Unsupported, "--device {}: {} GPUs are visible here",
                name, static_cast<int>(guard->deviceCount()));
  const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
  guard->setDevice(device);
  return device;
}

}  // namespace tessera::ops

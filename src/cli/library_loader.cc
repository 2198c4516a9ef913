// Opens libtessera.so on demand, so that `tessera --help` does not pay for libtorch.
#include "cli/commands.h"
#include "core/error.h"
#include "io/file.h"

#include <dlfcn.h>
#include <unistd.h>

#include <array>

namespace tessera::cli {
namespace {

io::fs::path program_folder() {
  std::error_code failed;
  const io::fs::path self = io::fs::read_symlink("/proc/self/exe", failed);
  return failed ? io::fs::path(".") : self.parent_path();
}

}  // namespace

const TensorCommands& tensor_commands() {
  static const TensorCommands& table = []() -> const TensorCommands& {
    const io::fs::path folder = program_folder();
    for (const io::fs::path& path :
         {folder / "libtessera.so", folder.parent_path() / "lib" / "tessera" / "libtessera.so"}) {
      if (!io::fs::exists(path)) {
        continue;
      }
      void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      TESSERA_CHECK(library != nullptr, Io, "{}: cannot be opened: {}; run `tessera doctor`",
                    path.string(), dlerror());
      using Get = const TensorCommands* (*)();
      const auto get = reinterpret_cast<Get>(dlsym(library, "tessera_commands"));
      TESSERA_CHECK(get != nullptr, Io, "{}: is no tessera library", path.string());
      const TensorCommands* found = get();
      TESSERA_CHECK(found->abi == kCommandsAbi, Io,
                    "{}: is of another build than this program; build both again", path.string());
      return *found;
    }
    throw NotFound("libtessera.so: not found beside {}; build it with `make`, or reinstall",
                   folder.string());
  }();
  return table;
}

std::string data_folder() {
  const io::fs::path folder = program_folder();
  for (const io::fs::path& candidate :
       {folder.parent_path().parent_path(), folder.parent_path() / "share" / "tessera"}) {
    if (io::fs::is_directory(candidate / "examples" / "media")) {
      return candidate.string();
    }
  }
  throw NotFound(
      "no examples/media found around {}; run from a checkout or an installation, or pass --data "
      "FOLDER",
      folder.string());
}

}  // namespace tessera::cli

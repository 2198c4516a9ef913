// `tessera compress`: a model in another format, smaller.
#include "cli/tensor/common.h"
#include "compress/gguf.h"
#include "core/error.h"
#include "core/progress.h"
#include "core/strings.h"

#include <cstdio>

namespace tessera::cli {

int run_compress(const CompressOptions& options) {
  translate_torch_errors([&] {
    prepare(options);
    constexpr std::string_view kGguf = "gguf:";
    TESSERA_CHECK(options.to.starts_with(kGguf), InvalidArgument,
                  "--to '{}': expected gguf:FORMAT with FORMAT one of {}", options.to,
                  join(compress::gguf_mixes(), ", "));
    TESSERA_CHECK(!options.out.empty(), InvalidArgument, "no output given; pass -o FILE.gguf");
    std::optional<Progress> progress;
    compress::write_gguf(options.model, std::string_view(options.to).substr(kGguf.size()),
                         options.out, [&](std::string_view name, int64_t index, int64_t count) {
                           if (!progress) {
                             progress.emplace("compress", static_cast<uint64_t>(count), "tensors");
                           }
                           progress->note(std::string(name));
                           progress->set(static_cast<uint64_t>(index));
                         });
    if (progress) {
      progress->finish();
    }
    const auto bytes = io::fs::file_size(options.out);
    if (options.json) {
      const io::Json out = {{"file", options.out}, {"bytes", bytes}};
      std::printf("%s\n", out.dump().c_str());
    } else {
      std::printf("%s  %.1f MB\n", options.out.c_str(), static_cast<double>(bytes) / 1e6);
    }
  });
  return 0;
}

}  // namespace tessera::cli

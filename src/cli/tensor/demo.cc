// `tessera demo`: parity and speed of a small model against its reference's recorded outputs, and a
// picture and a recording through io.
#include "cli/tensor/common.h"
#include "core/error.h"
#include "io/audio.h"
#include "io/image.h"
#include "io/resize.h"
#include "io/terminal_image.h"
#include "pipelines/bench.h"
#include "pipelines/parity.h"

#include <chrono>
#include <cstdio>

namespace tessera::cli {
namespace {

namespace fs = io::fs;

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void show_model(const fs::path& folder) {
  const pipelines::ParityResult parity = pipelines::check_parity(folder);
  TESSERA_CHECK(!parity.first_difference.has_value(), Internal,
                "{}: differs from its reference at {}", folder.string(), *parity.first_difference);
  std::printf("\nmodel      %s: %ld recorded tensors of the reference, largest difference %.1e\n",
              folder.filename().c_str(), static_cast<long>(parity.compared), parity.largest);
  const models::ModelFolder opened = models::open_folder(folder.string());
  const auto model = std::dynamic_pointer_cast<nn::SequenceModel>(models::load_model(opened, {}));
  const io::Json speed = pipelines::measure_generation(*model, 64, 64, 1, 0);
  std::printf("           %.0f tokens/s read, %.0f tokens/s written\n",
              speed["prefill_tok_s"].get<double>(), speed["decode_tok_s"].get<double>());
}

void show_picture(const fs::path& file, const fs::path& out) {
  const Stopwatch watch;
  const Image image = io::read_image(file);
  const Image small = io::resize(image, 96, 96, io::Filter::kBicubic);
  const double seconds = watch.seconds();
  io::write_png(out / "picture-96.png", small);
  std::printf("\npicture    %s, %d × %d, read and resized to 96 × 96 in %.1f ms\n",
              file.filename().c_str(), image.width, image.height, seconds * 1e3);
  if (io::terminal_can_show_images()) {
    std::printf("%s\n", io::terminal_image(image, 40).c_str());
  }
}

void show_recording(const fs::path& file, const fs::path& out) {
  const Stopwatch watch;
  const Audio source = io::read_audio(file.string());
  const Audio speech = io::read_audio(file.string(), {.sample_rate = 16000, .mono = true});
  const double seconds = watch.seconds();
  io::write_audio((out / "recording-16k.wav").string(), speech);
  std::printf("\nrecording  %s, %.2f s at %d Hz, read and resampled to %d Hz at %.0f × real time\n",
              file.filename().c_str(), source.seconds(), source.sample_rate, speech.sample_rate,
              source.seconds() / seconds);
}

}  // namespace

int run_demo(const DemoOptions& options) {
  translate_torch_errors([&] {
    prepare(options);
    const fs::path data = options.data;
    const fs::path out = options.out;
    fs::create_directories(out);
    if (const fs::path golden = data / "tests" / "goldens" / "llama" / "gqa_bias_llama3";
        fs::exists(golden)) {
      show_model(golden);
    }
    show_picture(data / "examples" / "media" / "scene.png", out);
    show_recording(data / "examples" / "media" / "speech.wav", out);
    std::printf(
        "\nwritten    %s/picture-96.png, %s/recording-16k.wav\n\n"
        "Try next:\n"
        "  build/release/tessera inspect tests/goldens/llama/plain --entries\n"
        "  build/release/tessera bench machine\n"
        "  build/release/tessera bench generate --random 1.1b --dtype bf16 --prompt 32 --gen 16\n",
        out.c_str(), out.c_str());
  });
  return 0;
}

}  // namespace tessera::cli

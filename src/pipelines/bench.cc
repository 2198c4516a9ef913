#include "pipelines/bench.h"

#include "core/clock.h"
#include "nn/linear.h"
#include "ops/cpu/dispatch.h"

#include <ATen/Parallel.h>
#include <ATen/ops/_int_mm.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace tessera::pipelines {
namespace {

// The best of at least three runs within `seconds`: noise on a shared machine only ever adds time.
double best_time(double seconds, const std::function<void()>& body) {
  body();
  double best = 1e30;
  const auto start = Clock::now();
  for (int runs = 0; runs < 3 || seconds_since(start) < seconds; ++runs) {
    const auto begin = Clock::now();
    body();
    best = std::min(best, seconds_since(begin));
  }
  return best;
}

double read_speed(double seconds) {
  const int64_t count = (int64_t{1} << 30) / 8;
  const at::Tensor buffer = at::full({count}, 1, at::kLong);
  const int64_t* data = buffer.const_data_ptr<int64_t>();
  std::vector<int64_t> sums(static_cast<size_t>(at::get_num_threads()) * 8);
  const double time = best_time(seconds, [&] {
    at::parallel_for(0, count, count / at::get_num_threads(), [&](int64_t begin, int64_t end) {
      int64_t sum = 0;
      for (int64_t i = begin; i < end; ++i) {
        sum += data[i];
      }
      sums[static_cast<size_t>(at::get_thread_num()) * 8] = sum;  // kept, so that the loop is
    });
  });
  return static_cast<double>(count) * 8 / time / 1e9;
}

/// Integer operations a second that the processor can do at most; 0 where there is no kernel.
double int8_peak(double seconds) {
  const auto kernel = ops::cpu::kernels().int8_peak;
  if (kernel == nullptr) {
    return 0;
  }
  constexpr int64_t kRepeats = 20000;
  const int64_t threads = at::get_num_threads();
  const double time = best_time(seconds, [&] {
    at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        kernel(kRepeats);
      }
    });
  });
  return static_cast<double>(kernel(kRepeats) * threads) / time;
}

}  // namespace

io::Json measure_machine(double seconds) {
  const c10::InferenceMode inference;
  constexpr int64_t kSize = 2048;
  const at::Tensor a = at::randn({kSize, kSize});
  const at::Tensor b = at::randn({kSize, kSize});
  const double flops = 2.0 * kSize * kSize * kSize;
  const double fp32 = best_time(seconds, [&] { at::matmul(a, b); });
  const at::Tensor qa = at::randint(-127, 127, {kSize, kSize}, at::kChar);
  const at::Tensor qb = at::randint(-127, 127, {kSize, kSize}, at::kChar);
  const double int8 = best_time(seconds, [&] { at::_int_mm(qa, qb); });
  return {{"read_gb_s", read_speed(seconds)}, {"gflops_fp32", flops / fp32 / 1e9},
          {"gops_int8", flops / int8 / 1e9},  {"gops_int8_peak", int8_peak(seconds) / 1e9},
          {"threads", at::get_num_threads()}, {"isa", ops::cpu::isa_name(ops::cpu::kernels().isa)}};
}

io::Json measure_codec(const nn::Codec& codec, double seconds) {
  const c10::InferenceMode inference;
  constexpr double kTime = 1.0;  // of each measurement, seconds
  const nn::CodecInfo info = codec.info();
  if (info.sample_rate == 0) {
    const at::Tensor picture = at::rand({1, 3, info.image_size, info.image_size});
    const at::Tensor codes = codec.encode(picture);
    return {{"threads", at::get_num_threads()},
            {"tokens", info.frames},
            {"encode_ms", 1e3 * best_time(kTime, [&] { codec.encode(picture); })},
            {"decode_ms", 1e3 * best_time(kTime, [&] { codec.decode(codes); })}};
  }
  const auto samples = static_cast<int64_t>(seconds * static_cast<double>(info.sample_rate));
  const at::Tensor sound = at::rand({1, 1, std::max<int64_t>(1, samples)}) * 2 - 1;
  const at::Tensor codes = codec.encode(sound);
  const auto first = std::min<int64_t>(
      codes.size(2), std::max<int64_t>(1, std::lround(0.1 * info.frames_per_second)));
  const auto first_audio = [&] {
    const auto stream = codec.stream();
    stream->push(codes.narrow(2, 0, first));
  };
  return {{"threads", at::get_num_threads()},
          {"seconds", seconds},
          {"tokens_per_second", info.frames_per_second * static_cast<double>(info.levels)},
          {"encode_x_realtime", seconds / best_time(kTime, [&] { codec.encode(sound); })},
          {"decode_x_realtime", seconds / best_time(kTime, [&] { codec.decode(codes); })},
          {"first_audio_ms", 1e3 * best_time(kTime, first_audio)}};
}

}  // namespace tessera::pipelines

// libtessera.so's own translation unit: the table of commands that the program asks for.
#include "cli/commands.h"

namespace tessera::cli {

int run_generate(const GenerateOptions& options);
int run_converse(const ConverseOptions& options);
int run_forward(const ForwardOptions& options);
int run_compress(const CompressOptions& options);
int run_train(const TrainOptions& options);
int run_bench_machine(const BenchOptions& options);
int run_bench_generate(const BenchGenerateOptions& options);
int run_bench_codec(const BenchCodecOptions& options);
int run_bench_linear(const BenchLinearOptions& options);
int run_bench_any2any(const BenchAny2AnyOptions& options);
int run_serve(const ServeOptions& options);
int run_demo(const DemoOptions& options);

}  // namespace tessera::cli

extern "C" __attribute__((visibility("default"))) const tessera::cli::TensorCommands*
tessera_commands() {
  using namespace tessera::cli;  // NOLINT(google-build-using-namespace): one function
  static const TensorCommands table{.abi = kCommandsAbi,
                                    .generate = run_generate,
                                    .converse = run_converse,
                                    .forward = run_forward,
                                    .compress = run_compress,
                                    .train = run_train,
                                    .bench_machine = run_bench_machine,
                                    .bench_generate = run_bench_generate,
                                    .bench_codec = run_bench_codec,
                                    .bench_linear = run_bench_linear,
                                    .bench_any2any = run_bench_any2any,
                                    .serve = run_serve,
                                    .demo = run_demo};
  return &table;
}

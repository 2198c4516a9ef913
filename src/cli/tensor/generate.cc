// `tessera generate`: continue prompts, streaming to stdout.
#include "cli/tensor/common.h"
#include "core/error.h"
#include "core/log.h"
#include "core/strings.h"
#include "pipelines/complete.h"

#include <cstdio>
#include <iostream>
#include <iterator>

namespace tessera::cli {
namespace {

std::vector<std::string> prompts_of(const GenerateOptions& options) {
  std::vector<std::string> prompts = read_prompts(options.prompts, options.prompts_file);
  if (prompts.empty() || (prompts.size() == 1 && prompts.front() == "-")) {
    prompts = {std::string(std::istreambuf_iterator<char>(std::cin), {})};
  }
  return prompts;
}

nn::GenerationOptions generation_options(const GenerateOptions& options,
                                         nn::GenerationOptions defaults) {
  nn::SamplingParams& sampling = defaults.sampling;
  const bool chosen = options.temperature || options.top_k || options.top_p || options.min_p;
  if (chosen) {
    sampling.greedy = false;
  }
  sampling.temperature = options.temperature.value_or(sampling.temperature);
  sampling.top_k = options.top_k.value_or(sampling.top_k);
  sampling.top_p = options.top_p.value_or(sampling.top_p);
  sampling.min_p = options.min_p.value_or(sampling.min_p);
  sampling.repetition_penalty = options.repetition_penalty.value_or(sampling.repetition_penalty);
  if (options.greedy || sampling.temperature == 0) {
    sampling.greedy = true;
  }
  defaults.max_new_tokens = options.max_new_tokens;
  defaults.seed = options.seed;
  return defaults;
}

void put(std::string_view text) {
  TESSERA_CHECK(
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0,
      Io, "stdout: cannot be written");
}

}  // namespace

int run_generate(const GenerateOptions& options) {
  translate_torch_errors([&] {
    const nn::LoadOptions load = prepare(options);
    const std::vector<std::string> prompts = prompts_of(options);
    pipelines::TextCompleter completer(options.model, load);
    for (const std::string& prompt : prompts) {
      nn::GenerationOptions generation = generation_options(options, completer.defaults());
      if (options.echo && !options.json) {
        put(prompt);
      }
      const pipelines::Completion result =
          completer.complete(prompt, generation, [&](std::string_view piece) {
            if (!options.json) {
              put(piece);
            }
            return true;
          });
      const auto produced = static_cast<double>(result.ids.size());
      const double decode_rate =
          result.decode_seconds > 0 && produced > 1 ? (produced - 1) / result.decode_seconds : 0;
      if (options.json) {
        const io::Json out = {{"prompt", prompt},
                              {"text", result.text},
                              {"ids", result.ids},
                              {"finish_reason", result.reason},
                              {"prompt_tokens", result.prompt_tokens},
                              {"prefill_s", result.prefill_seconds},
                              {"decode_tok_s", decode_rate}};
        put(out.dump(-1, ' ', false, io::Json::error_handler_t::replace) + "\n");
      } else {
        put("\n");
        log::debug("{} prompt tokens in {:.3f} s, {} tokens at {:.1f}/s, finished by {}",
                   result.prompt_tokens, result.prefill_seconds, result.ids.size(), decode_rate,
                   result.reason);
      }
    }
  });
  return 0;
}

}  // namespace tessera::cli

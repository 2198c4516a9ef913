// `tessera generate`: continue prompts, streaming to stdout.
#include "cli/tensor/common.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/strings.h"
#include "io/file.h"
#include "pipelines/complete.h"
#include "pipelines/sampling_choice.h"

#include <cstdio>
#include <iostream>
#include <iterator>
#include <sstream>

namespace tessera::cli {
namespace {

std::vector<std::string> prompts_of(const GenerateOptions& options) {
  std::vector<std::string> prompts = read_prompts(options.prompts, options.prompts_file);
  if (prompts.empty() || (prompts.size() == 1 && prompts.front() == "-")) {
    prompts = {std::string(std::istreambuf_iterator<char>(std::cin), {})};
  }
  return prompts;
}

std::vector<std::pair<int64_t, double>> parse_bias(const std::vector<std::string>& items) {
  std::vector<std::pair<int64_t, double>> result;
  for (const std::string& item : items) {
    std::istringstream in(item);
    int64_t id = 0;
    char sign = 0;
    double bias = 0;
    TESSERA_CHECK(in >> id >> sign >> bias && sign == '=' && in.eof() && id >= 0, InvalidArgument,
                  "--logit-bias {}: expected ID=BIAS, for example 15043=-100", item);
    result.emplace_back(id, bias);
  }
  return result;
}

nn::GenerationOptions generation_options(const GenerateOptions& options,
                                         nn::GenerationOptions defaults) {
  nn::SamplingParams& sampling = defaults.sampling;
  const pipelines::SamplingChoice choice{
      .greedy = options.greedy ? std::optional(true) : std::nullopt,
      .temperature = options.temperature,
      .top_k = options.top_k,
      .top_p = options.top_p,
      .min_p = options.min_p,
      .typical_p = options.typical_p,
      .repetition_penalty = options.repetition_penalty};
  choice.lay_over(sampling);
  sampling.no_repeat_ngram = options.no_repeat_ngram.value_or(sampling.no_repeat_ngram);
  sampling.min_new_tokens = options.min_new_tokens.value_or(sampling.min_new_tokens);
  sampling.presence_penalty = options.presence_penalty;
  sampling.frequency_penalty = options.frequency_penalty;
  sampling.logit_bias = parse_bias(options.logit_bias);
  defaults.max_new_tokens = options.max_new_tokens;
  defaults.seed = options.seed;
  return defaults;
}

pipelines::ConstraintSpec constraint_of(const GenerateOptions& options) {
  using Kind = pipelines::ConstraintSpec::Kind;
  if (!options.json_schema.empty()) {
    const size_t first = options.json_schema.find_first_not_of(" \t\r\n");
    const bool itself = first != std::string::npos && options.json_schema[first] == '{';
    return {Kind::kJsonSchema, itself ? options.json_schema : io::read_file(options.json_schema)};
  }
  if (!options.grammar.empty()) {
    return {Kind::kGrammar, io::read_file(options.grammar)};
  }
  return options.regex.empty() ? pipelines::ConstraintSpec{}
                               : pipelines::ConstraintSpec{Kind::kRegex, options.regex};
}

void put(std::string_view text) {
  TESSERA_CHECK(
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0,
      Io, "stdout: cannot be written");
}

nn::BeamOptions beam_options(const GenerateOptions& options) {
  using Early = nn::BeamOptions::EarlyStopping;
  return {.beams = options.beams,
          .returned = options.returned,
          .length_penalty = options.length_penalty,
          .early_stopping = options.early_stopping == "true"    ? Early::kFull
                            : options.early_stopping == "never" ? Early::kNever
                                                                : Early::kHeuristic};
}

io::Json logprobs_json(const std::vector<nn::TokenLogprobs>& tokens) {
  io::Json list = io::Json::array();
  for (const nn::TokenLogprobs& token : tokens) {
    io::Json top = io::Json::array();
    for (const auto& [id, logprob] : token.top) {
      top.push_back({{"id", id}, {"logprob", logprob}});
    }
    list.push_back({{"id", token.id}, {"logprob", token.logprob}, {"top", top}});
  }
  return list;
}

double accepted_share(const nn::SpeculativeStats& stats) {
  return stats.drafted > 0
             ? static_cast<double>(stats.accepted) / static_cast<double>(stats.drafted)
             : 0;
}

void put_json(const std::string& prompt, const pipelines::Completion& result) {
  const auto produced = static_cast<double>(result.ids.size());
  io::Json out = {{"prompt", prompt},
                  {"text", result.text},
                  {"ids", result.ids},
                  {"finish_reason", result.reason},
                  {"prompt_tokens", result.prompt_tokens}};
  if (result.score.has_value()) {
    out["score"] = *result.score;
  } else {
    out["prefill_s"] = result.prefill_seconds;
    out["decode_tok_s"] =
        result.decode_seconds > 0 && produced > 1 ? (produced - 1) / result.decode_seconds : 0;
  }
  if (result.speculation.has_value()) {
    out["speculation"] = {{"steps", result.speculation->steps},
                          {"drafted", result.speculation->drafted},
                          {"accepted", result.speculation->accepted},
                          {"accepted_share", accepted_share(*result.speculation)}};
  }
  if (!result.logprobs.empty()) {
    out["logprobs"] = logprobs_json(result.logprobs);
  }
  put(out.dump(-1, ' ', false, io::Json::error_handler_t::replace) + "\n");
}

void search(pipelines::TextCompleter& completer,
            const GenerateOptions& options,
            const nn::GenerationOptions& generation,
            const std::string& prompt) {
  for (const pipelines::Completion& result :
       completer.search(prompt, generation, beam_options(options), {.stop = options.stop})) {
    if (options.json) {
      put_json(prompt, result);
    } else {
      put((options.echo ? prompt : "") + result.text + "\n");
    }
  }
}

// Replies come in the order of the prompts, each as soon as those before it are through.
void complete_all(pipelines::TextCompleter& completer,
                  const GenerateOptions& options,
                  const nn::GenerationOptions& generation,
                  const std::vector<std::string>& prompts) {
  std::vector<std::optional<pipelines::Completion>> results(prompts.size());
  size_t shown = 0;
  Progress progress("generating", static_cast<int64_t>(prompts.size()), "prompts");
  completer.complete_all(
      prompts, generation, {.stop = options.stop, .top_logprobs = options.logprobs}, options.batch,
      [&](size_t place, pipelines::Completion result) {
        results[place] = std::move(result);
        progress.advance(1);
        for (; shown < results.size() && results[shown]; ++shown) {
          if (options.json) {
            put_json(prompts[shown], *results[shown]);
          } else {
            put((options.echo ? prompts[shown] : "") + results[shown]->text + "\n");
          }
          results[shown]->text.clear();
        }
      });
}

void complete(pipelines::TextCompleter& completer,
              const GenerateOptions& options,
              const nn::GenerationOptions& generation,
              const pipelines::CompletionOptions& extra,
              const std::string& prompt) {
  if (options.echo && !options.json) {
    put(prompt);
  }
  const auto on_text = [&](std::string_view piece) {
    if (!options.json) {
      put(piece);
    }
    return true;
  };
  const pipelines::Completion result = completer.complete(prompt, generation, on_text, extra);
  if (options.json) {
    put_json(prompt, result);
    return;
  }
  put("\n");
  log::debug("{} prompt tokens in {:.3f} s, {} tokens in {:.3f} s, finished by {}",
             result.prompt_tokens, result.prefill_seconds, result.ids.size(), result.decode_seconds,
             result.reason);
  if (result.speculation.has_value()) {
    log::info("{} of {} drafted tokens accepted ({:.0f} %), {} tokens in {} steps",
              result.speculation->accepted, result.speculation->drafted,
              100 * accepted_share(*result.speculation), result.ids.size(),
              result.speculation->steps);
  }
}

void check(const GenerateOptions& options) {
  TESSERA_CHECK(options.beams == 1 || !options.logprobs, InvalidArgument,
                "--logprobs does not go with --beams");
  const bool constrained =
      !options.json_schema.empty() || !options.grammar.empty() || !options.regex.empty();
  TESSERA_CHECK(options.beams == 1 || !constrained, InvalidArgument,
                "--json-schema, --grammar and --regex do not go with --beams");
  TESSERA_CHECK(options.speculate.empty() || (options.beams == 1 && options.batch == 1),
                InvalidArgument, "--speculate does not go with --beams or --batch");
}

}  // namespace

int run_generate(const GenerateOptions& options) {
  translate_torch_errors([&] {
    check(options);
    const pipelines::ConstraintSpec constraint = constraint_of(options);
    const nn::LoadOptions load = prepare(options);
    const std::vector<std::string> prompts = prompts_of(options);
    pipelines::TextCompleter completer(options.model, load);
    nn::GenerationOptions generation = generation_options(options, completer.defaults());
    generation.constraint = completer.constraint(constraint);
    if (options.batch > 1 && options.beams == 1) {
      complete_all(completer, options, generation, prompts);
      return;
    }
    pipelines::CompletionOptions extra{.stop = options.stop, .top_logprobs = options.logprobs};
    std::shared_ptr<nn::SequenceModel> draft;
    if (!options.speculate.empty()) {
      if (options.speculate != "ngram") {
        draft = completer.load_draft(options.speculate, load);
      }
      extra.speculation = {.draft = draft.get(), .draft_tokens = options.draft_tokens};
    }
    for (const std::string& prompt : prompts) {
      if (options.beams > 1) {
        search(completer, options, generation, prompt);
      } else {
        complete(completer, options, generation, extra, prompt);
      }
    }
  });
  return 0;
}

}  // namespace tessera::cli

// The public class over pipelines::TextCompleter (include/tessera/generate.h). libtorch's errors
// leave as our own, without their backtrace.
#include "tessera/generate.h"

#include "core/error.h"
#include "ops/device.h"
#include "pipelines/complete.h"
#include "pipelines/sampling_choice.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

namespace tessera {
namespace {

template <class Body>
decltype(auto) guarded(Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (const c10::OutOfMemoryError& error) {
    throw OutOfMemory("{}", error.what_without_backtrace());
  } catch (const c10::Error& error) {
    throw Internal("{}", error.what_without_backtrace());
  }
}

nn::LoadOptions load_options(const OpenSettings& open) {
  nn::LoadOptions load{.dtype = {}, .device = ops::open_device(open.device)};
  if (open.dtype == "fp32") {
    load.dtype = at::kFloat;
  } else if (open.dtype == "bf16") {
    load.dtype = at::kBFloat16;
  } else if (open.dtype == "fp16") {
    load.dtype = at::kHalf;
  } else {
    TESSERA_CHECK(open.dtype.empty(), InvalidArgument, "dtype '{}': expected fp32, bf16 or fp16",
                  open.dtype);
  }
  TESSERA_CHECK(open.threads >= 0, InvalidArgument, "threads must be 0 or more, got {}",
                open.threads);
  if (open.threads > 0) {
    at::set_num_threads(open.threads);
  }
  return load;
}

pipelines::ConstraintSpec constraint_of(const GenerateSettings& settings) {
  using Kind = pipelines::ConstraintSpec::Kind;
  std::vector<pipelines::ConstraintSpec> given;
  for (const auto& [kind, text] :
       {std::pair{Kind::kJsonSchema, settings.json_schema},
        std::pair{Kind::kGrammar, settings.grammar}, std::pair{Kind::kRegex, settings.regex}}) {
    if (!text.empty()) {
      given.push_back({kind, text});
    }
  }
  TESSERA_CHECK(given.size() <= 1, InvalidArgument,
                "give one of json_schema, grammar and regex, not {}", given.size());
  return given.empty() ? pipelines::ConstraintSpec{} : given.front();
}

nn::GenerationOptions generation_options(const pipelines::TextCompleter& model,
                                         const GenerateSettings& settings) {
  TESSERA_CHECK(settings.max_new_tokens >= 0, InvalidArgument,
                "max_new_tokens must be 0 or more, got {}", settings.max_new_tokens);
  nn::GenerationOptions options = model.defaults();
  const pipelines::SamplingChoice choice{.greedy = settings.greedy,
                                         .temperature = settings.temperature,
                                         .top_k = settings.top_k,
                                         .top_p = settings.top_p,
                                         .repetition_penalty = settings.repetition_penalty};
  choice.lay_over(options.sampling);
  options.max_new_tokens = settings.max_new_tokens;
  options.seed = settings.seed;
  options.constraint = model.constraint(constraint_of(settings));
  options.sampling.check();
  return options;
}

Generated reply_of(pipelines::Completion completion) {
  return {.text = std::move(completion.text),
          .ids = std::move(completion.ids),
          .prompt_tokens = completion.prompt_tokens,
          .reason = std::move(completion.reason)};
}

}  // namespace

struct Generator::State {
  pipelines::TextCompleter model;
};

Generator::Generator(const std::string& model, const OpenSettings& open)
    : state_(guarded([&] {
        return std::make_unique<State>(State{pipelines::TextCompleter(model, load_options(open))});
      })) {}
Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;
Generator& Generator::operator=(Generator&&) noexcept = default;

Generated Generator::generate(std::string_view prompt,
                              const GenerateSettings& settings,
                              const TextCallback& on_text) {
  return guarded([&] {
    return reply_of(state_->model.complete(prompt, generation_options(state_->model, settings),
                                           on_text, {.stop = settings.stop}));
  });
}

std::vector<Generated> Generator::generate_all(const std::vector<std::string>& prompts,
                                               const GenerateSettings& settings,
                                               int64_t batch,
                                               const ReplyCallback& on_reply) {
  TESSERA_CHECK(batch > 0, InvalidArgument, "batch must be 1 or more, got {}", batch);
  return guarded([&] {
    std::vector<Generated> replies(prompts.size());
    state_->model.complete_all(prompts, generation_options(state_->model, settings),
                               {.stop = settings.stop}, batch,
                               [&](size_t place, pipelines::Completion completion) {
                                 replies[place] = reply_of(std::move(completion));
                                 if (on_reply) {
                                   on_reply(place, replies[place]);
                                 }
                               });
    return replies;
  });
}

std::vector<int32_t> Generator::encode(std::string_view text) const {
  return state_->model.tokenizer().encode(text);
}

std::string Generator::decode(const std::vector<int32_t>& ids) const {
  return state_->model.tokenizer().decode(ids);
}

}  // namespace tessera

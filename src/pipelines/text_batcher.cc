// A task turns the engine's ids into text and its end into a result. Callbacks never throw into the
// engine, which would end all requests: what they throw is kept for the task's result.
#include "pipelines/text_batcher.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"

#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

namespace tessera::pipelines {
namespace {

// A template that cannot be used takes nothing else from a model.
std::unique_ptr<ChatFormat> open_chat(const io::fs::path& model, const text::Tokenizer& tokenizer) {
  try {
    return ChatFormat::open(model, tokenizer);
  } catch (const Unsupported& error) {
    log::warning("no conversations: {}", error.what());
  } catch (const CorruptFile& error) {
    log::warning("no conversations: {}", error.what());
  }
  return nullptr;
}

}  // namespace

struct TextBatcher::Task {
  Task(TextRequest asked, const text::Tokenizer& known)
      : request(std::move(asked)),
        tokenizer(known),
        decoder(known, request.prompt, /*skip_special=*/true) {
    result.prompt_tokens = static_cast<int64_t>(request.prompt.size());
    if (request.on_logprobs) {
      request.options.on_logprobs = [this](int64_t, const nn::TokenLogprobs& token) {
        logprobs = token;
      };
    }
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  /// False when it is to end.
  bool push(int64_t id) {
    last = Clock::now();
    if (result.new_tokens++ == 0) {
      first = last;
    }
    return show([&] {
      const std::vector<int64_t>& ends = request.options.end_ids;
      if (request.on_logprobs && std::find(ends.begin(), ends.end(), id) == ends.end()) {
        request.on_logprobs(logprobs);
      }
      return decode(static_cast<int32_t>(id));
    });
  }

  std::string decode(int32_t id) {
    if (std::find(request.shown.begin(), request.shown.end(), id) == request.shown.end()) {
      return decoder.push(id);
    }
    std::string text = decoder.finish();
    decoder.push(id);  // skipped, but known to what follows
    return text + tokenizer.id_to_token(id);
  }

  template <class Text>
  bool show(const Text& text) {
    try {
      const std::string piece = text();
      return !request.on_text || request.on_text(piece);
    } catch (...) {
      result.error = std::current_exception();
      return false;
    }
  }

  TextRequest request;
  const text::Tokenizer& tokenizer;
  TextResult result;
  text::StreamDecoder decoder;
  nn::TokenLogprobs logprobs;  // of the last token
  uint64_t number = 0;         // in the engine
  bool cut = false;            // there is less room than was asked for
  bool cancelled = false;
  Clock::time_point begun = Clock::now(), first = begun, last = begun;
};

TextBatcher::TextBatcher(std::string_view model,
                         const nn::LoadOptions& load,
                         const BatchOptions& options)
    : folder_(models::open_folder(model)),
      options_(options),
      tokenizer_(text::load_tokenizer(folder_.path)),
      chat_(open_chat(folder_.path, *tokenizer_)) {
  model_ = std::dynamic_pointer_cast<nn::SequenceModel>(models::load_model(folder_, load));
  TESSERA_CHECK(model_ != nullptr, Unsupported, "{}: this model does not generate text",
                folder_.path.string());
  engine_options_ = plan_engine(*model_, options_, model_->max_positions());
  // On a GPU without kernels for it requests run one by one, as `generate` does: that is quicker.
  if (together() && !model_->device().is_cpu() &&
      !model_->steps_without_host(*model_->make_paged_cache(1, model_->state_dtype()))) {
    engine_options_.reset();
  }
  if (together()) {
    engine_ = std::make_unique<nn::Engine>(model_, *engine_options_);
  }
}

TextBatcher::~TextBatcher() = default;

size_t TextBatcher::width() const {
  return together() ? static_cast<size_t>(options_.sequences) : 1;
}

int64_t TextBatcher::room() const {
  const int64_t context = model_->max_positions();
  if (!together()) {
    return context;
  }
  const int64_t cache = engine_options_->pages * nn::PagedCache::kTokens;
  return context > 0 ? std::min(context, cache) : cache;
}

nn::EngineStats TextBatcher::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

nn::GenerationOptions TextBatcher::defaults(bool chat) const {
  auto options =
      nn::GenerationOptions::from_configs(folder_.config, folder_.generation_config, true);
  if (chat && chat_ != nullptr) {
    for (const int64_t id : chat_->end_ids()) {
      if (std::find(options.end_ids.begin(), options.end_ids.end(), id) == options.end_ids.end()) {
        options.end_ids.push_back(id);
      }
    }
  }
  return options;
}

void TextBatcher::check(std::span<const int32_t> prompt,
                        const nn::GenerationOptions& options) const {
  TESSERA_CHECK(!prompt.empty(), InvalidArgument, "the prompt is empty; give some text");
  for (const int32_t id : prompt) {
    TESSERA_CHECK(id >= 0 && id < model_->vocab_size(), InvalidArgument,
                  "the prompt has the id {}, the model {} ids", id, model_->vocab_size());
  }
  for (const auto& [id, bias] : options.sampling.logit_bias) {
    TESSERA_CHECK(id >= 0 && id < model_->vocab_size(), InvalidArgument,
                  "logit_bias has the id {}, the model {} ids", id, model_->vocab_size());
  }
  options.sampling.check();
  const int64_t room = this->room();
  const auto length = static_cast<int64_t>(prompt.size());
  const int64_t context = model_->max_positions();
  TESSERA_CHECK(context == 0 || length < context, InvalidArgument,
                "the prompt has {} tokens, the model's context is {}; shorten the prompt", length,
                context);
  TESSERA_CHECK(room == 0 || length < room, InvalidArgument,
                "the prompt has {} tokens, the cache holds {}; shorten the prompt or ask for a "
                "larger cache (--cache-tokens)",
                length, room);
}

uint64_t TextBatcher::submit(TextRequest request) {
  check(request.prompt, request.options);
  const int64_t room = this->room();
  const auto length = static_cast<int64_t>(request.prompt.size());
  int64_t& limit = request.options.max_new_tokens;
  const int64_t left = room > 0 ? room - length : INT32_MAX;
  const bool cut = limit <= 0 || limit > left;
  limit = cut ? left : limit;
  auto task = std::make_shared<Task>(std::move(request), *tokenizer_);
  task->cut = cut;
  const uint64_t number = next_++;
  if (!together()) {
    queue_.push_back(number);
  } else {
    if (engine_ == nullptr) {  // the last one failed
      engine_ = std::make_unique<nn::Engine>(model_, *engine_options_);
    }
    task->number = engine_->submit(
        {.prompt = {task->request.prompt.begin(), task->request.prompt.end()},
         .options = task->request.options,
         .on_token = [task](int64_t id) { return task->push(id); },
         .on_start = [task](int64_t cached) { task->result.cached_tokens = cached; },
         .on_finish =
             [this, task, number](nn::Finish how) {
               tasks_.erase(number);
               finish(*task, how);
             },
         .on_error =
             [this, task, number](const std::exception_ptr& error) {
               task->result.error = error;
               tasks_.erase(number);
               finish(*task, nn::Finish::kStopped);
             }});
  }
  tasks_.emplace(number, std::move(task));
  return number;
}

void TextBatcher::cancel(uint64_t number) {
  const auto found = tasks_.find(number);
  if (found == tasks_.end()) {
    return;
  }
  found->second->cancelled = true;
  if (engine_ != nullptr) {
    engine_->cancel(found->second->number);
  }
}

void TextBatcher::finish(Task& task, nn::Finish finish) {
  const bool ended = finish == nn::Finish::kEnd || finish == nn::Finish::kLength;
  if (ended) {
    task.show([&] { return task.decoder.finish(); });
  }
  TextResult& result = task.result;
  result.reason = !ended                       ? "interrupted"
                  : finish == nn::Finish::kEnd ? "stop"
                  : task.cut                   ? "context"
                                               : "length";
  const bool any = result.new_tokens > 0;
  result.prefill_seconds = seconds_between(task.begun, any ? task.first : Clock::now());
  result.decode_seconds = seconds_between(task.first, task.last);
  if (task.request.on_done) {
    task.request.on_done(result);
  }
}

bool TextBatcher::step() {
  try {
    if (engine_ != nullptr) {
      engine_->step();
    } else if (!queue_.empty()) {
      const auto found = tasks_.extract(queue_.front());
      queue_.pop_front();
      run_alone(*found.mapped());
    }
  } catch (...) {
    tasks_.clear();
    queue_.clear();
    engine_.reset();
    throw;
  }
  update_stats();
  return !tasks_.empty();
}

void TextBatcher::update_stats() {
  nn::EngineStats stats;
  if (engine_ != nullptr) {
    stats = engine_->stats();
  }
  const std::lock_guard lock(mutex_);
  stats_ = stats;
}

std::vector<float> TextBatcher::embed(std::span<const int32_t> prompt) {
  const c10::InferenceMode inference;
  const std::vector<int64_t> ids(prompt.begin(), prompt.end());
  const at::Tensor input = at::tensor(ids, at::kLong).unsqueeze(0).to(model_->device());
  const at::Tensor states =
      model_->hidden({.ids = input, .positions = {}, .key_mask = {}}, nullptr);
  const at::Tensor mean = states[0].mean(0, false, at::kDouble);
  const at::Tensor unit =
      (mean / mean.norm().clamp_min(1e-12)).to(at::kCPU, at::kFloat).contiguous();
  const auto* values = unit.const_data_ptr<float>();
  return {values, values + unit.numel()};
}

void TextBatcher::run_alone(Task& task) {
  if (task.cancelled) {
    return finish(task, nn::Finish::kCancelled);
  }
  task.begun = Clock::now();
  const c10::InferenceMode inference;
  const std::vector<int64_t> ids(task.request.prompt.begin(), task.request.prompt.end());
  std::vector<nn::Finish> finishes;
  // No state is kept from one request to the next: it depends on how long each step's sequence was.
  const at::Tensor input = at::tensor(ids, at::kLong).unsqueeze(0).to(model_->device());
  nn::generate(
      *model_, input, at::ones_like(input), task.request.options,
      [&](int64_t, int64_t id) { return task.push(id); }, &finishes);
  finish(task, finishes.front());
}

}  // namespace tessera::pipelines

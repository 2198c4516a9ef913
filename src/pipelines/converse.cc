// Conversations over AnyGPT's format. What a reply made of tokens is remembered by content, so that
// media of earlier turns keep the tokens that they were made of, and the engine finds their keys
// and values again. Callbacks never throw into the engine, which would end all replies.
#include "pipelines/converse.h"

#include "core/error.h"
#include "core/random.h"
#include "pipelines/media_codes.h"
#include "pipelines/reply_parts.h"

#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>

namespace tessera::pipelines {
namespace {

using Clock = std::chrono::steady_clock;
using ContentKey = std::array<uint64_t, 3>;
using at::Tensor;

constexpr size_t kRemembered = 1024;       // media whose tokens are kept
constexpr int64_t kUnlimitedReply = 4096;  // tokens of a reply without any limit

double seconds_since(Clock::time_point start, Clock::time_point end = Clock::now()) {
  return std::chrono::duration<double>(end - start).count();
}

// Two hashes and the size; eight bytes at a time.
ContentKey content_key(const Part& part) {
  ContentKey key{hash_name(modality_name(part.modality)), 0, 0};
  const auto add = [&](const void* data, size_t size) {
    const auto* bytes = static_cast<const char*>(data);
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, bytes + i, std::min(sizeof(word), size - i));
      key[0] = mix64(key[0] ^ word);
      key[1] = (key[1] + word) * 0x9E3779B97F4A7C15ULL;
      key[1] ^= key[1] >> 29;
    }
    key[2] += size;
  };
  if (const auto* image = std::get_if<Image>(&part.content)) {
    const std::array<int, 3> shape = {image->width, image->height, image->channels};
    add(shape.data(), sizeof(shape));
    add(image->pixels.data(), image->pixels.size());
  } else if (const auto* audio = std::get_if<Audio>(&part.content)) {
    const std::array<int, 2> shape = {audio->sample_rate, audio->channels};
    add(shape.data(), sizeof(shape));
    add(audio->samples.data(), audio->samples.size() * sizeof(float));
  }
  return key;
}

// One conversation, ready to be answered.
struct Prompt {
  std::vector<int64_t> ids;
  size_t forgotten = 0;     // messages that no longer fitted
  int64_t limit = 0;        // most new tokens
  bool by_context = false;  // the limit is the context's
};

}  // namespace

struct AnyToAny::Impl {
  struct Task;

  models::ModelFolder folder;
  io::Json config;
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::shared_ptr<nn::SequenceModel> model;
  std::map<Modality, std::shared_ptr<nn::Codec>> codecs;
  std::unique_ptr<AnyFormat> format;
  int64_t context = 0;  // 0: no limit
  std::map<ContentKey, CodedPart> known;
  nn::EngineOptions plan;
  std::unique_ptr<nn::Engine> engine;               // null after a failure
  std::map<uint64_t, std::shared_ptr<Task>> tasks;  // by number
  uint64_t next = 1;
  mutable std::mutex mutex;
  nn::EngineStats stats;  // under the mutex
  void open_codecs(const nn::LoadOptions& load);
  CodedPart encode(const Part& part) const;
  CodedMessage encode(const Message& message);
  void remember(const ContentKey& key, CodedPart coded);
  Prompt prepare(const std::vector<Message>& conversation, const ConverseOptions& options);
  void forget(std::vector<CodedMessage>& messages, int64_t room, Prompt& prompt) const;
  nn::SpanGrammar grammar(const ConverseOptions& options) const;
  int64_t least_reply(const ConverseOptions& options) const;
  nn::GenerationOptions generation(const ConverseOptions& options) const;
  void open_engine(const BatchOptions& batch);
  void finish(Task& task, nn::Finish how);
};

struct AnyToAny::Impl::Task {
  Task(ConverseRequest asked, Prompt ready, Impl& impl)
      : request(std::move(asked)),
        prompt(std::move(ready)),
        spans(impl.grammar(request.options)),
        parts({*impl.format, *impl.tokenizer, impl.codecs, request.events, begun},
              request.row,
              prompt.ids) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  /// False when the reply is to end.
  bool push(int64_t id) {
    first = first.value_or(Clock::now());
    return guarded([&] {
      parts.accept(id);
      return !request.events.go_on || request.events.go_on();
    });
  }

  template <class Body>
  bool guarded(const Body& body) {
    try {
      return body();
    } catch (...) {
      error = std::current_exception();
      return false;
    }
  }

  const Clock::time_point begun = Clock::now();
  ConverseRequest request;
  Prompt prompt;
  nn::SpanGrammar spans;
  ReplyParts parts;
  std::exception_ptr error;
  std::optional<Clock::time_point> first;  // token
  uint64_t number = 0;                     // in the engine
};

void AnyToAny::Impl::open_codecs(const nn::LoadOptions& load) {
  const auto section = config.find("codecs");
  TESSERA_CHECK(section != config.end() && section->is_object(), CorruptFile,
                "any_to_any.json: 'codecs' must be a map of modalities to folders");
  for (const auto& [name, subfolder] : section->items()) {
    Modality modality = Modality::kText;
    for (const Modality known_one : {Modality::kImage, Modality::kSpeech, Modality::kMusic}) {
      modality = name == modality_name(known_one) ? known_one : modality;
    }
    TESSERA_CHECK(modality != Modality::kText && subfolder.is_string(), CorruptFile,
                  "any_to_any.json: codecs: '{}' is no modality with a folder; expected image, "
                  "speech or music",
                  name);
    const io::fs::path path = folder.path / subfolder.get<std::string>();
    // Codecs are small, and their numbers decide about every token: fp32.
    const auto codec = std::dynamic_pointer_cast<nn::Codec>(models::load_model(
        models::open_folder(path.string()), {.dtype = at::kFloat, .device = load.device}));
    TESSERA_CHECK(codec != nullptr, CorruptFile, "{}: this model is no codec", path.string());
    const bool pictures = codec->info().image_size > 0;
    TESSERA_CHECK(pictures == (modality == Modality::kImage), CorruptFile,
                  "{}: this codec does not fit {}", path.string(), name);
    codecs.emplace(modality, codec);
  }
}

CodedPart AnyToAny::Impl::encode(const Part& part) const {
  if (part.modality == Modality::kText) {
    const auto* text = std::get_if<std::string>(&part.content);
    TESSERA_CHECK(text != nullptr, InvalidArgument, "a part named text holds no text");
    return {.modality = Modality::kText, .text = *text, .codes = {}};
  }
  if (const auto made = known.find(content_key(part)); made != known.end()) {
    return made->second;
  }
  const auto codec = codecs.find(part.modality);
  TESSERA_CHECK(codec != codecs.end(), Unsupported, "{}: this model has no codec for {}",
                folder.path.string(), modality_name(part.modality));
  return encode_media(part, *codec->second, context);
}

void AnyToAny::Impl::remember(const ContentKey& key, CodedPart coded) {
  if (known.size() >= kRemembered) {
    known.clear();
  }
  known.insert_or_assign(key, std::move(coded));
}

// Media come before a lone text, where training has them; several texts keep their order. Empty
// text says nothing and goes.
CodedMessage AnyToAny::Impl::encode(const Message& message) {
  CodedMessage result{.role = message.role, .parts = {}};
  size_t texts = 0;
  for (const Part& part : message.parts) {
    if (part.modality == Modality::kText) {
      CodedPart coded = encode(part);
      if (!coded.text.empty()) {
        result.parts.push_back(std::move(coded));
        ++texts;
      }
      continue;
    }
    result.parts.push_back(
        with_context(part.source.empty() ? modality_name(part.modality) : part.source,
                     [&] { return encode(part); }));
    remember(content_key(part), result.parts.back());
  }
  if (message.role == Role::kUser && texts == 1) {
    std::stable_partition(result.parts.begin(), result.parts.end(),
                          [](const CodedPart& part) { return part.modality != Modality::kText; });
  }
  return result;
}

// The oldest messages leave until the rest leaves `room` tokens free, as far as that goes.
void AnyToAny::Impl::forget(std::vector<CodedMessage>& messages,
                            int64_t room,
                            Prompt& prompt) const {
  const auto length = [&](size_t first) {
    const TokenSequence sequence =
        format->encode(std::span<const CodedMessage>(messages).subspan(first));
    prompt.ids.assign(sequence.ids.begin(), sequence.ids.end());
    return static_cast<int64_t>(prompt.ids.size());
  };
  int64_t tokens = length(0);
  if (context == 0 || tokens + room <= context) {
    return;
  }
  // Turns are encoded apart from each other, so their sizes add up.
  const auto separator = static_cast<int64_t>(tokenizer->encode("\n", false).size());
  size_t first = 0;
  while (first + 1 < messages.size() && tokens + room > context) {
    do {
      tokens -= static_cast<int64_t>(format->encode_turn(messages[first]).ids.size()) + separator;
      ++first;
    } while (first + 1 < messages.size() && messages[first].role != Role::kUser);
  }
  length(first);
  prompt.forgotten = first;
}

int64_t AnyToAny::Impl::least_reply(const ConverseOptions& options) const {
  if (!options.to.has_value() || *options.to == Modality::kText) {
    return 1;
  }
  const std::optional<size_t> rule = format->rule_of(*options.to);
  TESSERA_CHECK(rule.has_value(), InvalidArgument, "{}: this model makes no {}",
                folder.path.string(), modality_name(*options.to));
  return format->grammar().rules[*rule].least_tokens();
}

Prompt AnyToAny::Impl::prepare(const std::vector<Message>& conversation,
                               const ConverseOptions& options) {
  TESSERA_CHECK(!conversation.empty(), InvalidArgument,
                "the conversation is empty; it must end with a user's message");
  TESSERA_CHECK(conversation.back().role == Role::kUser, InvalidArgument,
                "the conversation must end with a user's message");
  std::vector<CodedMessage> messages;
  for (const Message& message : conversation) {
    messages.push_back(encode(message));
  }
  TESSERA_CHECK(!messages.back().parts.empty(), InvalidArgument,
                "the message is empty; give text, a picture or sound");
  const int64_t least = least_reply(options);
  TESSERA_CHECK(options.max_new_tokens == 0 || options.max_new_tokens >= least, InvalidArgument,
                "a reply of {} tokens at most cannot hold {}, which takes {}",
                options.max_new_tokens, options.to ? modality_name(*options.to) : "text", least);
  // History is given up for room to answer in, but not for more than half of the context.
  const int64_t wanted = options.max_new_tokens > 0 ? options.max_new_tokens : context / 4;
  Prompt prompt;
  forget(messages, std::max(least, std::min(wanted, context / 2)), prompt);
  const auto length = static_cast<int64_t>(prompt.ids.size());
  TESSERA_CHECK(context == 0 || length + least <= context, InvalidArgument,
                "the message takes {} tokens and the reply at least {}, the model's context is {}; "
                "shorten it",
                length, least, context);
  const int64_t room = context == 0 ? kUnlimitedReply : context - length;
  prompt.by_context = options.max_new_tokens == 0 || room < options.max_new_tokens;
  prompt.limit = prompt.by_context ? room : options.max_new_tokens;
  return prompt;
}

nn::SpanGrammar AnyToAny::Impl::grammar(const ConverseOptions& options) const {
  nn::SpanGrammar spans = format->grammar();
  for (int64_t id = tokenizer->vocab_size(); id < model->vocab_size(); ++id) {
    spans.forbidden.push_back(id);  // rows that only round the vocabulary up
  }
  for (size_t i = 0; i < spans.rules.size(); ++i) {
    nn::SpanRule& rule = spans.rules[i];
    rule.guidance = options.guidance.value_or(rule.guidance);
    if (options.to == Modality::kText) {
      rule.most = 0;
    } else if (options.to == format->modality_of(i)) {
      rule.least = 1;
    }
  }
  return spans;
}

nn::GenerationOptions AnyToAny::Impl::generation(const ConverseOptions& options) const {
  nn::GenerationOptions result;
  result.sampling = format->text_sampling();
  const bool chosen = options.temperature || options.top_p || options.top_k;
  result.sampling.greedy = options.greedy || (result.sampling.greedy && !chosen);
  result.sampling.temperature = options.temperature.value_or(result.sampling.temperature);
  result.sampling.top_p = options.top_p.value_or(result.sampling.top_p);
  result.sampling.top_k = options.top_k.value_or(result.sampling.top_k);
  if (options.temperature == 0.0) {
    result.sampling.greedy = true;
  }
  result.end_ids = format->end_ids();
  result.pad_id = format->end_ids().back();
  result.seed = options.seed;
  const TokenSequence free = format->encode_unconditional();
  result.guidance_prompt.assign(free.ids.begin(), free.ids.end());
  return result;
}

// A guided reply holds two sequences, the second of the reply alone.
void AnyToAny::Impl::open_engine(const BatchOptions& batch) {
  const BatchOptions pairs{.sequences = 2 * batch.sequences, .cache_tokens = batch.cache_tokens};
  const std::optional<nn::EngineOptions> planned =
      plan_engine(*model, pairs, model->max_positions());
  TESSERA_CHECK(planned.has_value(), Unsupported,
                "{}: conversations over media need a model that runs over pages",
                folder.path.string());
  plan = *planned;
  plan.sequences = batch.sequences;
  const auto free = static_cast<int64_t>(format->encode_unconditional().ids.size());
  const int64_t room = (plan.pages - 4) * nn::PagedCache::kTokens / 2 - free;
  const int64_t most = model->max_positions();
  context = most > 0 ? std::min(most, room) : room;
  TESSERA_CHECK(context >= free + 2, InvalidArgument,
                "a cache of {} tokens is too small for a conversation (--cache-tokens)",
                plan.pages * nn::PagedCache::kTokens);
  engine = std::make_unique<nn::Engine>(model, plan);
}

void AnyToAny::Impl::finish(Task& task, nn::Finish how) {
  Reply& reply = task.parts.reply();
  task.guarded([&] {
    task.parts.finish();
    return true;
  });
  reply.reason = how == nn::Finish::kEnd      ? "stop"
                 : how != nn::Finish::kLength ? "interrupted"
                                              : (task.prompt.by_context ? "context" : "length");
  reply.prompt_tokens = static_cast<int64_t>(task.prompt.ids.size());
  reply.forgotten = task.prompt.forgotten;
  reply.prefill_seconds = seconds_since(task.begun, task.first.value_or(Clock::now()));
  reply.decode_seconds = seconds_since(task.first.value_or(Clock::now()));
  size_t coded = 0;
  for (const Part& part : reply.message.parts) {
    if (part.modality != Modality::kText && coded < task.parts.codes().size()) {
      remember(content_key(part), task.parts.codes()[coded++]);
    }
  }
  if (task.request.on_done) {
    task.request.on_done(std::move(reply), task.error);
  }
}

AnyToAny::AnyToAny(std::string_view model, const nn::LoadOptions& load, const BatchOptions& batch)
    : impl_(std::make_unique<Impl>()) {
  Impl& impl = *impl_;
  impl.folder = models::open_folder(model);
  const io::fs::path file = impl.folder.path / "any_to_any.json";
  TESSERA_CHECK(io::fs::exists(file), NotFound,
                "{}: no any_to_any.json, so this model holds no conversation over media; "
                "`tessera generate` continues text",
                impl.folder.path.string());
  impl.config = io::read_json(file);
  TESSERA_CHECK(impl.config.is_object(), CorruptFile, "{}: must be a map", file.string());
  impl.tokenizer = text::load_tokenizer(impl.folder.path);
  impl.model = std::dynamic_pointer_cast<nn::SequenceModel>(models::load_model(impl.folder, load));
  TESSERA_CHECK(impl.model != nullptr, Unsupported, "{}: this model does not generate tokens",
                impl.folder.path.string());
  impl.open_codecs(load);
  std::map<Modality, nn::CodecInfo> infos;
  for (const auto& [modality, codec] : impl.codecs) {
    infos.emplace(modality, codec->info());
  }
  impl.format = std::make_unique<AnyFormat>(impl.config, *impl.tokenizer, infos);
  TESSERA_CHECK(impl.tokenizer->vocab_size() <= impl.model->vocab_size(), CorruptFile,
                "{}: the tokenizer has {} ids, the model {}", impl.folder.path.string(),
                impl.tokenizer->vocab_size(), impl.model->vocab_size());
  impl.open_engine(batch);
}

AnyToAny::~AnyToAny() = default;

std::vector<Reply> AnyToAny::reply(std::span<const std::vector<Message>> conversations,
                                   const ConverseOptions& options,
                                   const ConverseEvents& events) {
  std::vector<Reply> replies(conversations.size());
  std::vector<uint64_t> numbers;
  std::exception_ptr error;
  try {
    for (size_t row = 0; row < conversations.size(); ++row) {
      numbers.push_back(submit({.conversation = conversations[row],
                                .options = options,
                                .events = events,
                                .row = row,
                                .on_done = [&, row](Reply reply, const std::exception_ptr& wrong) {
                                  replies[row] = std::move(reply);
                                  error = wrong ? wrong : error;
                                }}));
    }
  } catch (...) {  // one of them is refused: none is run
    for (const uint64_t number : numbers) {
      cancel(number);
    }
    error = std::current_exception();
  }
  while (step()) {
  }
  if (error) {
    std::rethrow_exception(error);
  }
  return replies;
}

uint64_t AnyToAny::submit(ConverseRequest request) {
  const c10::InferenceMode inference;
  Impl& impl = *impl_;
  if (impl.engine == nullptr) {  // the last one failed
    impl.engine = std::make_unique<nn::Engine>(impl.model, impl.plan);
  }
  Prompt prompt = impl.prepare(request.conversation, request.options);
  if (prompt.forgotten > 0 && request.events.on_forget) {
    request.events.on_forget(request.row, prompt.forgotten);
  }
  const auto task = std::make_shared<Impl::Task>(std::move(request), std::move(prompt), impl);
  const uint64_t number = impl.next++;
  const auto over = [&impl, task, number](nn::Finish how) {
    impl.tasks.erase(number);
    impl.finish(*task, how);
  };
  nn::GenerationOptions options = impl.generation(task->request.options);
  options.max_new_tokens = task->prompt.limit;
  options.spans = &task->spans;
  task->number = impl.engine->submit(
      {.prompt = task->prompt.ids,
       .options = std::move(options),
       .on_token = [task](int64_t id) { return task->push(id); },
       .on_start = [task](int64_t cached) { task->parts.reply().cached_tokens = cached; },
       .on_finish = over,
       .on_error =
           [task, over](const std::exception_ptr& error) {
             task->error = error;
             over(nn::Finish::kStopped);
           }});
  impl.tasks.emplace(number, task);
  return number;
}

void AnyToAny::cancel(uint64_t number) {
  const auto found = impl_->tasks.find(number);
  if (found != impl_->tasks.end() && impl_->engine != nullptr) {
    impl_->engine->cancel(found->second->number);
  }
}

bool AnyToAny::step() {
  Impl& impl = *impl_;
  if (impl.engine == nullptr) {
    return false;
  }
  try {
    impl.engine->step();
  } catch (...) {
    impl.tasks.clear();
    impl.engine.reset();
    throw;
  }
  const nn::EngineStats stats = impl.engine->stats();
  const std::lock_guard lock(impl.mutex);
  impl.stats = stats;
  return !impl.tasks.empty();
}

size_t AnyToAny::width() const {
  return static_cast<size_t>(impl_->plan.sequences);
}

nn::EngineStats AnyToAny::stats() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->stats;
}

CodedPart AnyToAny::encode(const Part& part) const {
  const c10::InferenceMode inference;
  return impl_->encode(part);
}

Part AnyToAny::decode(const CodedPart& part) const {
  if (part.modality == Modality::kText) {
    return Part::text(part.text);
  }
  const c10::InferenceMode inference;
  const nn::Codec& codec_of_part = codec(part.modality);
  const int64_t levels = codec_of_part.info().levels;
  TESSERA_CHECK(!part.codes.empty() && part.codes.size() % static_cast<size_t>(levels) == 0,
                InvalidArgument, "{} codes of {} do not make whole frames of {} levels",
                part.codes.size(), modality_name(part.modality), levels);
  const Tensor frames = at::tensor(part.codes, at::kLong).view({-1, levels});
  return decode_media(part.modality, frames.transpose(0, 1), codec_of_part);
}

const AnyFormat& AnyToAny::format() const {
  return *impl_->format;
}

const nn::Codec& AnyToAny::codec(Modality modality) const {
  const auto found = impl_->codecs.find(modality);
  TESSERA_CHECK(found != impl_->codecs.end(), Unsupported, "{}: this model has no codec for {}",
                impl_->folder.path.string(), modality_name(modality));
  return *found->second;
}

bool AnyToAny::has(Modality modality) const {
  return modality == Modality::kText || impl_->codecs.contains(modality);
}

nn::SequenceModel& AnyToAny::language_model() const {
  return *impl_->model;
}

const text::Tokenizer& AnyToAny::tokenizer() const {
  return *impl_->tokenizer;
}

const io::Json& AnyToAny::config() const {
  return impl_->config;
}

const io::fs::path& AnyToAny::folder() const {
  return impl_->folder.path;
}

}  // namespace tessera::pipelines

// The command line: options, help with examples, exit codes. Commands that need tensors run in
// libtessera.so.
#include "cli/commands.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/strings.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <filesystem>

namespace tessera::cli {
namespace {

constexpr const char* kVersion = TESSERA_VERSION;

struct Globals {
  bool quiet = false;
  bool verbose = false;
  std::string progress;
};

// All option values live here while CLI11 holds references to them.
struct Options {
  Globals globals;
  TokenizeOptions tokenize;
  GenerateOptions generate;
  ConverseOptions converse;
  ForwardOptions forward;
  InspectOptions inspect;
  CompressOptions compress;
  TrainOptions train;
  BenchOptions bench_machine;
  BenchGenerateOptions bench_generate;
  BenchCodecOptions bench_codec;
  BenchLinearOptions bench_linear;
  BenchAny2AnyOptions bench_any2any;
  CommonOptions doctor;
  ServeOptions serve;
  DemoOptions demo;
};

void add_tensor_options(CLI::App* app, CommonOptions& options) {
  app->add_option("-t,--threads", options.threads, "CPU threads (0 = physical cores)")
      ->envname("TESSERA_THREADS")
      ->check(CLI::Range(0, 4096));
  app->add_option("--device", options.device, "cpu or cuda")
      ->envname("TESSERA_DEVICE")
      ->capture_default_str();
  app->add_option("--dtype", options.dtype, "fp32, bf16 or fp16; default: as stored")
      ->envname("TESSERA_DTYPE");
}

void add_model(CLI::App* app, std::string& model, bool positional) {
  const char* text = "model folder, file or hub-cache name (org/name)";
  app->add_option(positional ? "-m,--model,model" : "-m,--model", model, text)
      ->envname("TESSERA_MODEL");
}

void require_model(const std::string& model) {
  TESSERA_CHECK(!model.empty(), InvalidArgument, "no model given; pass a folder with -m FOLDER");
}

void add_tokenize(CLI::App& app, Options& o) {
  CLI::App* command = app.add_subcommand("tokenize", "Text to token ids, and back");
  TokenizeOptions& options = o.tokenize;
  add_model(command, options.model, true);
  command->add_option("--text", options.texts,
                      "text to encode; may repeat (default: lines of stdin)");
  command->add_option("--chat", options.chat,
                      "render a JSON list of messages with the model's chat template, '-' for "
                      "stdin; an object {messages, tools, documents, add_generation_prompt, "
                      "continue_final_message, template} has more, other keys are variables");
  command->add_flag("--decode", options.decode, "read lists of ids, print text");
  command->add_flag("--no-special", options.no_special, "add no BOS or EOS");
  command->add_flag("--json", options.json, "JSON strings in and JSON lists out, one a line");
  command->footer(
      "Examples:\n"
      "  tessera tokenize models/llama --text \"Hello world\"\n"
      "  echo '\"Hello\\u2028world\"' | tessera tokenize models/llama --json\n"
      "  echo '[1, 15043]' | tessera tokenize models/llama --json --decode\n"
      "  echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' | tessera tokenize models/llama --chat "
      "-");
  command->final_callback([&o] {
    require_model(o.tokenize.model);
    run_tokenize(o.tokenize);
  });
}

void add_penalties(CLI::App* command, GenerateOptions& options) {
  command->add_option("--typical-p", options.typical_p, "keep the typical ones of this mass");
  command->add_option("--repetition-penalty", options.repetition_penalty,
                      "above 1 avoids repeating");
  command->add_option("--presence-penalty", options.presence_penalty,
                      "subtracted from what the output holds (-2 to 2)");
  command->add_option("--frequency-penalty", options.frequency_penalty,
                      "the same, times how often it does");
  command
      ->add_option("--logit-bias", options.logit_bias,
                   "ID=BIAS, added to that token's logit; may repeat")
      ->allow_extra_args(false);
  command->add_option("--no-repeat-ngram", options.no_repeat_ngram,
                      "no run of so many tokens twice (0 = off)");
  command->add_option("--min-new-tokens", options.min_new_tokens, "no end before so many");
  command->add_option("--stop", options.stop, "text that ends the output; may repeat")
      ->allow_extra_args(false);
  command
      ->add_option("--logprobs", options.logprobs,
                   "with --json: log-probabilities and so many alternatives a token")
      ->check(CLI::Range(0, 100));
}

void add_beams(CLI::App* command, GenerateOptions& options) {
  command->add_option("--beams", options.beams, "beam search with so many beams")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--return", options.returned, "sequences of the beam search to print")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command
      ->add_option("--length-penalty", options.length_penalty,
                   "above 0 favours long sequences, below 0 short ones")
      ->capture_default_str();
  command
      ->add_option("--early-stopping", options.early_stopping,
                   "end at as many finished sequences as beams")
      ->check(CLI::IsMember({"true", "false", "never"}))
      ->capture_default_str();
}

void add_constraints(CLI::App* command, GenerateOptions& options) {
  CLI::App* group = command->add_option_group("constraint");
  group->add_option("--json-schema", options.json_schema,
                    "JSON Schema that the output fits: a file, or the JSON itself");
  group->add_option("--grammar", options.grammar, "file with the output's grammar (GBNF)");
  group->add_option("--regex", options.regex, "pattern that the whole output matches");
  group->require_option(0, 1);
  command->add_option("--speculate", options.speculate,
                      "check drafts of several tokens at once, for the same output: ngram (what "
                      "followed before), or a small model with the same tokens");
  command->add_option("--draft-tokens", options.draft_tokens, "most tokens of a draft")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
}

void add_generate(CLI::App& app, Options& o) {
  CLI::App* command = app.add_subcommand("generate", "Continue text with a language model");
  GenerateOptions& options = o.generate;
  add_model(command, options.model, false);
  command->add_option("prompt", options.prompts, "prompts (default: all of stdin as one)");
  command->add_option("-f,--file", options.prompts_file, "file with one prompt a line");
  command->add_option("--batch", options.batch, "prompts continued at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  command->add_option("-n,--max-new-tokens", options.max_new_tokens, "most tokens to add")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--greedy", options.greedy, "always the most likely token");
  command->add_option("--temp,--temperature", options.temperature,
                      "sampling temperature; 0 = greedy");
  command->add_option("--top-k", options.top_k, "sample among the k most likely (0 = off)");
  command->add_option("--top-p", options.top_p, "sample within this probability mass");
  command->add_option("--min-p", options.min_p, "drop tokens below this share of the best");
  add_penalties(command, options);
  add_beams(command, options);
  add_constraints(command, options);
  command->add_option("-s,--seed", options.seed, "seed of the draw")->envname("TESSERA_SEED");
  command->add_flag("--echo", options.echo, "print the prompt too");
  command->add_flag("--json", options.json, "one JSON object a prompt: text, ids, reason, speed");
  add_tensor_options(command, options);
  command->footer(
      "Sampling defaults come from the model's generation_config.json.\n"
      "Examples:\n"
      "  tessera generate -m models/llama \"Once upon a time\"\n"
      "  tessera generate -m org/name -f prompts.txt --batch 16 --temp 0.8 --seed 7 --json\n"
      "  tessera generate -m models/llama \"A person: \" --json-schema "
      "'{\"type\": \"object\", \"properties\": {\"age\": {\"type\": \"integer\"}}}'\n"
      "  tessera generate -m models/llama \"It is \" --regex '[0-9]{1,2} (a|p)m'\n"
      "  tessera generate -m models/llama -f code.txt --speculate ngram --draft-tokens 8");
  command->final_callback([&o] {
    require_model(o.generate.model);
    tensor_commands().generate(o.generate);
  });
}

void add_converse_media(CLI::App* command, ConverseOptions& options) {
  command->add_option("--image", options.images, "picture to go before the prompt; may repeat")
      ->allow_extra_args(false);
  command->add_option("--audio", options.audio, "speech to go before the prompt; may repeat")
      ->allow_extra_args(false);
  command->add_option("--music", options.music, "music to go before the prompt; may repeat")
      ->allow_extra_args(false);
  command->add_option("--voice", options.voice, "recording of the voice that is to speak");
  command->add_flag("--mic", options.mic,
                    "speak: Enter begins and ends a message, or the speech before the prompt");
  command->add_flag("--play", options.play, "play speech and music as they are made");
  for (auto& [name, device, flag] :
       {std::tuple("--mic-device", &options.mic_device, &options.mic),
        std::tuple("--play-device", &options.play_device, &options.play)}) {
    command
        ->add_option_function<std::string>(
            name,
            [device = device, flag = flag](const std::string& value) {
              *device = value;
              *flag = true;
            },
            "sound device, as FFmpeg names it: alsa:hw:1, pulse, … (default: the system's)")
        ->type_name("KIND:ADDRESS");
  }
  command->add_option("--to", options.to, "what the reply must hold (default: the model decides)")
      ->check(CLI::IsMember({"text", "image", "speech", "music"}));
  command->add_option("-o,--out", options.out, "folder for pictures and sound of replies")
      ->capture_default_str();
}

void add_converse(CLI::App& app, Options& o) {
  CLI::App* command = app.add_subcommand(
      "converse",
      "Talk with a model: any-to-any models in text, pictures, speech and music, language models "
      "with a chat template in text; without a prompt, on and on");
  ConverseOptions& options = o.converse;
  add_model(command, options.model, false);
  command->add_option("prompt", options.prompts, "prompts (default: a conversation over stdin)");
  command->add_option("-f,--prompts", options.prompts_file, "file with one prompt a line");
  command->add_option("--batch", options.batch, "prompts answered at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  add_converse_media(command, options);
  command->add_option("--system", options.system,
                      "what the system says first (models with a chat template)");
  command
      ->add_option("-n,--max-new-tokens", options.max_new_tokens,
                   "most tokens of a reply, media included (0 = what the context has room for)")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--greedy", options.greedy, "always the most likely token of text");
  command->add_option("--temp,--temperature", options.temperature,
                      "sampling temperature of text; 0 = greedy");
  command->add_option("--top-k", options.top_k, "sample text among the k most likely (0 = off)");
  command->add_option("--top-p", options.top_p, "sample text within this probability mass");
  command
      ->add_option("--guidance", options.guidance,
                   "how closely media follow the prompt; 1 = off (default: the model's)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("-s,--seed", options.seed, "seed of the draw")->envname("TESSERA_SEED");
  command->add_flag("--json", options.json,
                    "one JSON object a reply: parts, reason, tokens, times");
  add_tensor_options(command, options);
  command->footer(
      "Media of replies are written to new files part-0001.png, part-0002.wav, … of --out.\n"
      "In a conversation, /help tells what can be said; Ctrl-C stops a reply, twice leaves.\n"
      "Examples:\n"
      "  tessera converse\n"
      "  tessera converse \"draw two red circles\" --to image\n"
      "  tessera converse \"what is this?\" --image photo.jpg --json\n"
      "  tessera converse \"answer aloud\" --audio question.mp3 --to speech\n"
      "  tessera converse --mic --play --to speech\n"
      "  tessera converse --prompts prompts.txt --batch 16 --to music --out tunes\n"
      "  tessera converse -m models/llama-chat.gguf \"Why is the sky blue?\"");
  command->final_callback([&o] {
    if (o.converse.model.empty()) {
      o.converse.model = data_folder() + "/models/tessera-mini";
      TESSERA_CHECK(std::filesystem::exists(o.converse.model), NotFound,
                    "{}: the bundled model is not here; pass a folder with -m FOLDER",
                    o.converse.model);
    }
    tensor_commands().converse(o.converse);
  });
}

void add_forward(CLI::App& app, Options& o) {
  CLI::App* command =
      app.add_subcommand("forward", "Run one entry of a model on tensors from a file");
  ForwardOptions& options = o.forward;
  add_model(command, options.model, true);
  command->add_option("--entry", options.entry, "entry name; see `tessera inspect MODEL --entries`")
      ->capture_default_str();
  command->add_option("--in", options.in, "safetensors file with the inputs")->required();
  command->add_option("--out", options.out, "safetensors file for the outputs")->required();
  command->add_option("--taps", options.taps,
                      "also write outputs of submodules whose names match this regex");
  command->add_option("-s,--seed", options.seed, "seed")->envname("TESSERA_SEED");
  command->add_flag("--reference-quirks", options.reference_quirks,
                    "match known defects of the reference");
  add_tensor_options(command, options);
  command->footer(
      "Example:\n"
      "  tessera forward models/llama --in in.safetensors --out out.safetensors --dtype fp32 "
      "--taps 'layers\\.[01]$'");
  command->final_callback([&o] {
    require_model(o.forward.model);
    tensor_commands().forward(o.forward);
  });
}

void add_inspect(CLI::App& app, Options& o) {
  CLI::App* command =
      app.add_subcommand("inspect", "What a model is: architecture, sizes, entries, tensors");
  InspectOptions& options = o.inspect;
  add_model(command, options.model, true);
  command->add_flag("--entries", options.entries, "functions that `tessera forward` can run");
  command->add_flag("--tensors", options.tensors, "names, types and shapes of all tensors");
  command->add_flag("--json", options.json, "JSON");
  command->footer(
      "Examples:\n  tessera inspect models/llama\n  tessera inspect models/llama --entries --json");
  command->final_callback([&o] {
    require_model(o.inspect.model);
    run_inspect(o.inspect);
  });
}

void add_compress(CLI::App& app, Options& o) {
  CLI::App* command = app.add_subcommand("compress", "Write a model in a smaller format");
  CompressOptions& options = o.compress;
  add_model(command, options.model, true);
  command
      ->add_option("--to", options.to,
                   "gguf:FORMAT, FORMAT one of F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, "
                   "Q3_K_S/M/L, Q4_K_S/M, Q5_K_S/M, Q6_K")
      ->required();
  command->add_option("-o,--out", options.out, "file to write")->required();
  command->add_flag("--json", options.json, "machine-readable output");
  add_tensor_options(command, options);
  command->footer("Example:\n  tessera compress models/llama --to gguf:Q4_K_M -o llama.gguf");
  command->final_callback([&o] {
    require_model(o.compress.model);
    tensor_commands().compress(o.compress);
  });
}

void add_train(CLI::App& app, Options& o) {
  CLI::App* command = app.add_subcommand("train", "Train a model by a recipe");
  TrainOptions& options = o.train;
  command->add_option("recipe", options.recipe,
                      "YAML recipe (default with --resume: the run folder's recipe.yaml)");
  command->add_option("overrides", options.overrides, "key.sub=value, laid over the recipe");
  command->add_option("--run", options.run, "folder of the run (default: runs/NAME)")
      ->envname("TESSERA_RUN");
  command->add_flag("--resume", options.resume, "go on from the newest checkpoint");
  command->add_option("--device", options.chosen_device, "cpu or cuda (default: the recipe's)")
      ->envname("TESSERA_DEVICE");
  command->add_option("-t,--threads", options.threads, "CPU threads (0 = physical cores)")
      ->envname("TESSERA_THREADS")
      ->check(CLI::Range(0, 4096));
  command->add_flag("--json", options.json, "last metrics, or what was made, as JSON on stdout");
  command->footer(
      "The run folder gets recipe.yaml, metrics.jsonl, report.html, checkpoints/ and model/.\n"
      "Ctrl-C saves and stops; --resume goes on as if nothing had happened.\n"
      "Recipes that train nothing (tokenizer, world_tokens, assemble) write data.out, or --run.\n"
      "Examples:\n"
      "  tessera train recipe.yaml\n"
      "  tessera train recipe.yaml optimizer.lr=1e-3 schedule.steps=500 --run runs/try\n"
      "  tessera train --run runs/try --resume");
  command->final_callback([&o] {
    // `tessera train --resume --run DIR lr=…` has overrides alone.
    if (o.train.recipe.find('=') != std::string::npos) {
      o.train.overrides.insert(o.train.overrides.begin(), o.train.recipe);
      o.train.recipe.clear();
    }
    TESSERA_CHECK(!o.train.recipe.empty() || (o.train.resume && !o.train.run.empty()),
                  InvalidArgument,
                  "no recipe given; pass a YAML file, or --run FOLDER --resume to go on");
    tensor_commands().train(o.train);
  });
}

void add_bench_linear(CLI::App& bench, Options& o) {
  CLI::App* command = bench.add_subcommand(
      "linear", "Linears of a 1.1 G Llama alone, by weight format and number of tokens");
  BenchLinearOptions& options = o.bench_linear;
  command
      ->add_option("--formats", options.formats,
                   "GGUF block formats, Q4_K_M, or GPTQ, AWQ, W4A16, NF4")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--rows", options.rows, "tokens at once")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_flag("--exact", options.exact, "fp32 activations instead of int8 ones");
  command->add_option("--seconds", options.seconds, "time for each measurement")
      ->capture_default_str();
  command->add_flag("--json", options.json, "JSON");
  add_tensor_options(command, options);
  command->footer(
      "Examples:\n  tessera bench linear\n"
      "  tessera bench linear --formats Q4_K,Q6_K --rows 1,2,3,4,8,16 --json\n"
      "  tessera bench linear --formats GPTQ,AWQ,W4A16,NF4 --rows 1,4,16");
  command->final_callback([&o] { tensor_commands().bench_linear(o.bench_linear); });
}

void add_bench_any2any(CLI::App& bench, Options& o) {
  CLI::App* command = bench.add_subcommand(
      "any2any", "What replies hold, for every pair of text, picture, speech and music");
  BenchAny2AnyOptions& options = o.bench_any2any;
  add_model(command, options.model, true);
  command->add_flag("--quick", options.quick, "as many items as fit into 50 s on 2 cores");
  command->add_option("--seconds", options.seconds, "with --quick: when the last replies begin")
      ->envname("TESSERA_BENCH_SECONDS")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--items", options.items, "items of each row")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  command
      ->add_option("--pairs", options.pairs,
                   "rows to run: text-image, …, speech-text-digits, outside (default: all)")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--judges", options.judges,
                      "folder of the judges (default: the bundled ones)");
  command->add_option("--assets", options.assets,
                      "folder of renderers (default: this machine's programs)");
  command->add_option("--data", options.data,
                      "folder with fsdd/ (spoken digits) and ljspeech/ (read sentences)");
  command->add_option("--photos", options.photos, "folder of photographs");
  command->add_option("-o,--out", options.out, "folder for report.html");
  command->add_option("-s,--seed", options.seed, "seed of items and replies")
      ->envname("TESSERA_SEED");
  command->add_flag("--json", options.json, "JSON");
  add_tensor_options(command, options);
  command->footer(
      "Items are of the test split: combinations that training never saw. Every figure stands\n"
      "beside chance, the most frequent reply, and what the judge finds in true media and in\n"
      "their copy by the model's codec.\n"
      "Examples:\n"
      "  tessera bench any2any --quick\n"
      "  tessera bench any2any models/tessera-mini --out out/bench --data recordings\n"
      "  tessera bench any2any --pairs text-image,image-text --items 50 --json");
  command->final_callback([&o] {
    BenchAny2AnyOptions& chosen = o.bench_any2any;
    if (chosen.model.empty()) {
      chosen.model = data_folder() + "/models/tessera-mini";
    }
    if (chosen.judges.empty()) {
      chosen.judges = data_folder() + "/models/judges";
    }
    tensor_commands().bench_any2any(chosen);
  });
}

void add_bench_codec(CLI::App& bench, Options& o) {
  CLI::App* command = bench.add_subcommand("codec", "Speed of a codec of pictures or sound");
  BenchCodecOptions& options = o.bench_codec;
  add_model(command, options.model, true);
  command->add_option("--seconds", options.seconds, "length of the sound")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 3600.0));
  command->add_flag("--json", options.json, "JSON");
  add_tensor_options(command, options);
  command->footer("Examples:\n  tessera bench codec models/tessera-mini/picture_codec --json");
  command->final_callback([&o] {
    TESSERA_CHECK(!o.bench_codec.model.empty(), InvalidArgument, "no codec given; pass its folder");
    tensor_commands().bench_codec(o.bench_codec);
  });
}

void add_bench(CLI::App& app, Options& o) {
  CLI::App* bench = app.add_subcommand("bench", "Measure this machine and models on it");
  bench->require_subcommand(1);
  CLI::App* machine =
      bench->add_subcommand("machine", "Measured peaks: memory read speed, arithmetic by type");
  machine->add_option("--seconds", o.bench_machine.seconds, "time for each measurement")
      ->envname("TESSERA_BENCH_SECONDS")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  machine->add_flag("--json", o.bench_machine.json, "JSON");
  add_tensor_options(machine, o.bench_machine);
  machine->final_callback([&o] { tensor_commands().bench_machine(o.bench_machine); });

  CLI::App* generate =
      bench->add_subcommand("generate", "Prefill and decode speed of a language model");
  BenchGenerateOptions& options = o.bench_generate;
  add_model(generate, options.model, true);
  generate->add_option("--random", options.random,
                       "random weights of a named shape instead of a model: 1.1b, 7b, 7b-w4");
  generate->add_option("--prompt", options.prompt, "prompt tokens")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  generate->add_option("--gen", options.generate, "tokens to generate")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  generate->add_option("--batch", options.batch, "sequences at once")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  generate
      ->add_option("--requests", options.requests,
                   "so many requests at once, as a server gets them: tokens/s, waiting times")
      ->check(CLI::PositiveNumber);
  generate->add_flag("--json", options.json, "JSON");
  add_tensor_options(generate, options);
  generate->footer(
      "Examples:\n  tessera bench generate models/llama --prompt 512 --gen 64 --json\n"
      "  tessera bench generate --random 1.1b --dtype bf16\n"
      "  tessera bench generate --random 7b --dtype bf16 --device cuda --batch 16\n"
      "  tessera bench generate --random 7b --dtype bf16 --device cuda --requests 64 --prompt 512 "
      "--gen 128");
  generate->final_callback([&o] {
    TESSERA_CHECK(!o.bench_generate.model.empty() || !o.bench_generate.random.empty(),
                  InvalidArgument, "no model given; pass a folder, or --random 1.1b");
    tensor_commands().bench_generate(o.bench_generate);
  });
  add_bench_codec(*bench, o);
  add_bench_linear(*bench, o);
  add_bench_any2any(*bench, o);
}

void add_doctor(CLI::App& app, Options& o) {
  CLI::App* command =
      app.add_subcommand("doctor", "What is installed, what is missing, how to get it");
  command->add_flag("--json", o.doctor.json, "JSON");
  command->final_callback([&o] { run_doctor(o.doctor); });
}

// Who is let in, and by which door.
void add_access(CLI::App* command, ServeOptions& options) {
  command->add_option("--name", options.name, "what clients call it (default: the folder's name)")
      ->envname("TESSERA_NAME");
  command->add_option("--host", options.host, "address to listen on; 0.0.0.0 = all")
      ->envname("TESSERA_HOST")
      ->capture_default_str();
  command->add_option("--port", options.port, "port; 0 = any free one, which is printed")
      ->envname("TESSERA_PORT")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  command->add_option("--api-key", options.api_keys, "key that clients must send; may repeat")
      ->envname("TESSERA_API_KEY")
      ->allow_extra_args(false);
  command->add_option("--api-key-file", options.api_key_file, "file with one key a line")
      ->envname("TESSERA_API_KEY_FILE");
  command->add_option("--cors", options.cors, "origin whose pages may use it; * = all")
      ->envname("TESSERA_CORS");
  command->add_option("--media-folder", options.media_folder, "read file:// URLs below this folder")
      ->envname("TESSERA_MEDIA_FOLDER");
}

void add_limits(CLI::App* command, ServeOptions& options) {
  command->add_option("--queue", options.queue, "requests that may wait; more get 429")
      ->envname("TESSERA_QUEUE")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  command->add_option("--batch", options.batch, "requests that run together")
      ->envname("TESSERA_BATCH")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command
      ->add_option(
          "--cache-tokens", options.cache_tokens,
          "tokens of requests whose keys and values are kept "
          "(0 = on the CPU at most 16384 and a quarter of the free memory, on a GPU at most "
          "half of it)")
      ->envname("TESSERA_CACHE_TOKENS")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 28));
  command->add_option("--max-body", options.max_body, "largest request in MB")
      ->envname("TESSERA_MAX_BODY")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
}

void add_serve(CLI::App& app, Options& o) {
  CLI::App* command = app.add_subcommand(
      "serve", "Serve a model over HTTP, as OpenAI's clients expect, with a page");
  ServeOptions& options = o.serve;
  add_model(command, options.model, true);
  add_access(command, options);
  add_limits(command, options);
  command->add_option("--metrics-prefix", options.metrics_prefix, "of /metrics: tessera_ or vllm:")
      ->envname("TESSERA_METRICS_PREFIX")
      ->capture_default_str()
      ->check(CLI::IsMember({"tessera_", "vllm:"}));
  add_tensor_options(command, options);
  command->footer(
      "The model: the bundled one unless given. Ctrl-C or SIGTERM ends after the answers under "
      "way,\n"
      "a second one at once. docs/server.md has the protocol.\n"
      "Examples:\n"
      "  tessera serve\n"
      "  tessera serve models/llama --host 0.0.0.0 --port 8000 --api-key-file keys.txt\n"
      "  curl localhost:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", "
      "\"content\": \"Hello\"}]}'");
  command->final_callback([&o] {
    if (o.serve.model.empty()) {
      o.serve.model = data_folder() + "/models/tessera-mini";
      TESSERA_CHECK(std::filesystem::exists(o.serve.model), NotFound,
                    "{}: the bundled model is not here; pass a folder with -m FOLDER",
                    o.serve.model);
    }
    tensor_commands().serve(o.serve);
  });
}

void add_demo(CLI::App& app, Options& o) {
  CLI::App* command = app.add_subcommand("demo", "A tour of what works here, on bundled files");
  command->add_option("--data", o.demo.data, "folder with examples/ (default: beside the program)");
  command->add_option("-o,--out", o.demo.out, "folder for what the demo writes")
      ->capture_default_str();
  add_tensor_options(command, o.demo);
  command->final_callback([&o] {
    if (o.demo.data.empty()) {
      o.demo.data = data_folder();
    }
    run_doctor(o.doctor);
    tensor_commands().demo(o.demo);
  });
}

void apply(const Globals& globals) {
  if (globals.quiet) {
    log::set_level(log::Level::kError);
    set_progress_mode(ProgressMode::kOff);
    setenv("TESSERA_LOG", "error", 1);  // the library has its own copy of the logger
    setenv("TESSERA_PROGRESS", "off", 1);
  } else if (globals.verbose) {
    log::set_level(log::Level::kDebug);
    setenv("TESSERA_LOG", "debug", 1);
  }
  if (!globals.progress.empty()) {
    setenv("TESSERA_PROGRESS", globals.progress.c_str(), 1);
  }
}

std::string suggestion(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') {
    return {};
  }
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
    if (names.back() == argv[1]) {
      return {};
    }
  }
  const auto near = closest_match(argv[1], names);
  return near ? "; did you mean `tessera " + *near + "`?" : "; see `tessera --help`";
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"tessera: text, pictures, speech and music as tokens of one sequence", "tessera"};
  app.set_version_flag("--version", std::string("tessera ") + kVersion);
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "help of all commands");
  app.add_flag("-q,--quiet", options.globals.quiet, "errors only, no progress");
  app.add_flag("-v,--verbose", options.globals.verbose, "details on stderr");
  app.add_option("--progress", options.globals.progress, "auto, plain, json or off")
      ->check(CLI::IsMember({"auto", "plain", "json", "off"}));
  app.fallthrough();
  app.parse_complete_callback([&options] { apply(options.globals); });
  app.footer(
      "Exit codes: 0 ok, 2 usage, 3 not found, 4 bad file, 5 unsupported, 6 out of memory, 7 i/o, "
      "70 internal, 130 interrupted.\n"
      "Every command has --help with examples; results go to stdout, everything else to stderr.");
  add_converse(app, options);
  add_generate(app, options);
  add_tokenize(app, options);
  add_inspect(app, options);
  add_compress(app, options);
  add_forward(app, options);
  add_train(app, options);
  add_bench(app, options);
  add_serve(app, options);
  add_doctor(app, options);
  add_demo(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "error: %s%s\n", error.what(), suggestion(app, argc, argv).c_str());
    return static_cast<int>(ErrorCode::kInvalidArgument);
  }
  return 0;
}

}  // namespace
}  // namespace tessera::cli

int main(int argc, char** argv) {
  try {
    return tessera::cli::run(argc, argv);
  } catch (const tessera::Error& error) {
    const bool stopped = error.code() == tessera::ErrorCode::kCancelled;  // as the user wished
    std::fprintf(stderr, "%s%s\n", stopped ? "" : "error: ", error.what());
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "error: out of memory\n");
    return static_cast<int>(tessera::ErrorCode::kOutOfMemory);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: internal: %s\n", error.what());
    return static_cast<int>(tessera::ErrorCode::kInternal);
  }
}

// Options of every command, and the table through which the program calls those that need libtorch.
// The program parses; libtessera.so works. Commands throw; main() turns errors into messages and
// exit codes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tessera::cli {

/// What all commands share.
struct CommonOptions {
  bool json = false;
  int threads = 0;  // 0 = physical cores
  std::string device = "cpu";
  std::string dtype;  // empty: as stored
  uint64_t seed = 0;
};

struct TokenizeOptions : CommonOptions {
  std::string model;
  std::vector<std::string> texts;  // empty: lines of stdin
  std::string chat;                // file of messages, "-": stdin; empty: no chat
  bool decode = false;
  bool no_special = false;
};

struct GenerateOptions : CommonOptions {
  std::string model;
  std::vector<std::string> prompts;  // empty: stdin
  std::string prompts_file;          // one prompt a line
  int64_t batch = 1;                 // prompts continued at once
  int64_t max_new_tokens = 128;
  bool greedy = false;
  std::optional<double> temperature, top_p, min_p, typical_p, repetition_penalty;
  std::optional<int64_t> top_k, no_repeat_ngram, min_new_tokens;
  double presence_penalty = 0, frequency_penalty = 0;
  std::vector<std::string> logit_bias;  // ID=BIAS
  std::vector<std::string> stop;        // text ends before these
  std::optional<int64_t> logprobs;      // alternatives a token, in the JSON
  int64_t beams = 1;                    // above 1: beam search
  int64_t returned = 1;                 // of its sequences
  double length_penalty = 1;
  std::string early_stopping = "false";  // "true", "false", "never"
  std::string json_schema;               // file or JSON that the output must fit; or
  std::string grammar;                   // file of GBNF rules, or
  std::string regex;                     // pattern of the whole output
  std::string speculate;                 // "ngram" or a draft model; empty: no speculation
  int64_t draft_tokens = 4;
  bool echo = false;  // print the prompt too
};

struct ConverseOptions : CommonOptions {
  std::string model;
  std::vector<std::string> prompts;               // empty: a conversation over stdin
  std::string prompts_file;                       // one prompt a line
  int64_t batch = 1;                              // prompts answered at once
  std::vector<std::string> images, audio, music;  // files that go before every prompt
  std::string voice;                              // recording of the voice that is to speak
  bool mic = false;                               // the user speaks
  bool play = false;                              // sound of replies is played
  std::string mic_device, play_device;            // empty: the default; see io/sound_device.h
  std::string system;                             // what the system says first
  std::string to;              // "text", "image", "speech", "music"; empty: the model decides
  std::string out = "out";     // folder of pictures and sound
  int64_t max_new_tokens = 0;  // 0: the context's room
  bool greedy = false;
  std::optional<double> temperature, top_p, guidance;
  std::optional<int64_t> top_k;
};

struct ForwardOptions : CommonOptions {
  std::string model;
  std::string entry = "forward";
  std::string in;
  std::string out;
  std::string taps;
  bool reference_quirks = false;
};

struct InspectOptions : CommonOptions {
  std::string model;
  bool entries = false;
  bool tensors = false;
};

struct CompressOptions : CommonOptions {
  std::string model;
  std::string to;  // "gguf:Q4_K_M"
  std::string out;
};

struct TrainOptions : CommonOptions {
  std::string recipe;                  // YAML file; empty: the run folder's own
  std::vector<std::string> overrides;  // key.sub=value
  std::string run;                     // folder; empty: runs/NAME
  bool resume = false;
  std::string chosen_device;  // empty: the recipe's
};

struct BenchOptions : CommonOptions {
  double seconds = 1.0;  // time spent on each measurement
};

struct BenchGenerateOptions : CommonOptions {
  std::string model;
  int64_t prompt = 128;
  int64_t generate = 64;
  int64_t batch = 1;
  std::string random;    // "1.1b", "7b", "7b-w4": random weights of that shape instead of a folder
  int64_t requests = 0;  // > 0: so many at once, as a server gets them
};

struct BenchLinearOptions : CommonOptions {
  std::vector<std::string> formats = {"Q4_0", "Q4_K_M", "Q8_0", "BF16"};
  std::vector<int64_t> rows = {1, 4, 16, 512};
  bool exact = false;
  double seconds = 1.0;
};

struct BenchAny2AnyOptions : CommonOptions {
  std::string model;
  std::string judges;              // folder with scene/, recognizer/, speaker/, music/
  std::string assets;              // folder of renderers; empty: the programs of this machine
  std::string data;                // folder with fsdd/ and ljspeech/; empty: without
  std::string photos;              // folder of photographs; empty: without
  std::string out;                 // folder for report.html; empty: none
  std::vector<std::string> pairs;  // rows; empty: all
  int64_t items = 200;             // of a row
  bool quick = false;
  double seconds = 36;  // with quick: no batch begins after this
};

struct BenchCodecOptions : CommonOptions {
  std::string model;
  double seconds = 10;  // of sound
};

struct ServeOptions : CommonOptions {
  std::string model;
  std::string name;  // what clients call it; empty: the folder's name
  std::string host = "127.0.0.1";
  int port = 8080;                    // 0: any free one
  std::vector<std::string> api_keys;  // empty: open to all
  std::string api_key_file;           // one key a line
  std::string cors;                   // "*" or an origin; empty: none
  std::string media_folder;           // file:// URLs below it are read; empty: none are
  std::string metrics_prefix = "tessera_";
  int64_t queue = 64;        // requests that may wait
  int64_t max_body = 64;     // MB
  int64_t batch = 64;        // requests of a text model that run together
  int64_t cache_tokens = 0;  // of their keys and values; 0: automatic
};

struct DemoOptions : CommonOptions {
  std::string data;         // folder with models/, examples/ (default: beside the program)
  std::string out = "out";  // where the demo writes
};

/// Changes when a struct above does: program and library must be of one build.
constexpr int kCommandsAbi = 8;

struct TensorCommands {
  int abi;
  int (*generate)(const GenerateOptions&);
  int (*converse)(const ConverseOptions&);
  int (*forward)(const ForwardOptions&);
  int (*compress)(const CompressOptions&);
  int (*train)(const TrainOptions&);
  int (*bench_machine)(const BenchOptions&);
  int (*bench_generate)(const BenchGenerateOptions&);
  int (*bench_codec)(const BenchCodecOptions&);
  int (*bench_linear)(const BenchLinearOptions&);
  int (*bench_any2any)(const BenchAny2AnyOptions&);
  int (*serve)(const ServeOptions&);
  int (*demo)(const DemoOptions&);
};

/// Opens libtessera.so beside the program (or in ../lib/tessera) and returns its table. Throws
/// NotFound or Io with what to do.
const TensorCommands& tensor_commands();

/// The folder that holds models/ and examples/: the checkout around a build, or share/tessera of an
/// installation. Throws NotFound.
std::string data_folder();

/// Light commands, in the program itself.
int run_tokenize(const TokenizeOptions& options);
int run_inspect(const InspectOptions& options);
int run_doctor(const CommonOptions& options);

}  // namespace tessera::cli

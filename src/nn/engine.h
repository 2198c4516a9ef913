// Continuous batching: many requests of any length are prefilled in pieces, stepped together, and
// leave when they are done (Orca, OSDI 2022; chunked prefill, arXiv 2308.16369). Keys and values
// lie in a PagedCache that shares what requests have in common; when it is full, the youngest
// request gives its pages back and is run again later.
#pragma once

#include "nn/generate.h"
#include "nn/gpu_stepper.h"
#include "nn/sequence_model.h"

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace tessera::nn {

struct EngineRequest {
  std::vector<int64_t> prompt;
  GenerationOptions options;  // max_new_tokens is the limit; draws come from stream 0 of the seed
  /// Called with each new id by the thread that steps; false stops the request.
  std::function<bool(int64_t id)> on_token = {};
  /// Called once, by the same thread, when the request gets its place, with the number of its
  /// prompt's tokens that the cache held already.
  std::function<void(int64_t cached)> on_start = {};
  /// Called once, by the same thread, when the request is over.
  std::function<void(Finish finish)> on_finish = {};
  /// Called once in place of on_finish, by the same thread, when this request alone fails: its
  /// constraint cannot be followed. Empty: `step` throws.
  std::function<void(const std::exception_ptr& error)> on_error = {};
};

struct EngineOptions {
  int64_t pages = 0;  // of the cache; 0: as many as `cache_tokens` need
  int64_t cache_tokens = 16384;
  /// Most tokens of one step, prefill included; 0: 512 on the CPU, 16384 on a GPU.
  int64_t batch_tokens = 0;
  /// The same while some requests are past their prompts, so that none of them waits long for
  /// others' prompts; 0: as batch_tokens on the CPU, 768 on a GPU.
  int64_t mixed_tokens = 0;
  int64_t sequences = 128;                  // most requests that are stepped together
  at::ScalarType cache_dtype = at::kFloat;  // on the CPU; on a GPU that of the model's states
};

/// What has happened so far.
struct EngineStats {
  int64_t running = 0;
  int64_t waiting = 0;
  int64_t prompt_tokens = 0;  // run, those found in the cache left out
  int64_t cached_tokens = 0;  // of prompts, found in the cache
  int64_t new_tokens = 0;
  int64_t preemptions = 0;
  double cache_usage = 0;  // share of the pages that running requests hold
};

class Engine {
 public:
  /// Throws Unsupported when the model cannot run over pages.
  Engine(std::shared_ptr<SequenceModel> model, const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Takes a request and returns its number. Throws InvalidArgument for an empty prompt, ids
  /// outside the vocabulary, or a request that the cache could never hold. Thread-safe.
  uint64_t submit(EngineRequest request);
  /// Ends a request at the next step; unknown numbers are ignored. Thread-safe.
  void cancel(uint64_t number);

  /// One step of all that runs. False when there is nothing to do. One thread at a time. When the
  /// model or a callback throws, the engine is over: its requests get no on_finish.
  bool step();
  /// Steps until nothing is left to do.
  void run();
  EngineStats stats() const;

 private:
  struct Row;
  struct Piece;

  void take_inbox();
  void end(Row& row, Finish finish);
  void fail(Row& row, const std::exception_ptr& error);
  void leave(Row& row);
  void preempt(size_t index);
  bool reserve(Row& row, int64_t length, int64_t guidance_length);
  bool plan(Row& row, int64_t budget, std::vector<Piece>& pieces);
  std::vector<Piece> schedule();
  struct Scores;
  Scores forward(const std::vector<Piece>& pieces);
  Scores forward_gpu(const std::vector<Piece>& pieces);
  Tensor forward_host(const std::vector<Piece>& pieces);
  void sample(const std::vector<Piece>& pieces, const Scores& scores);
  void settle(Row& row, int64_t id);

  std::shared_ptr<SequenceModel> model_;
  EngineOptions options_;
  std::unique_ptr<PagedCache> cache_;
  std::unique_ptr<GpuStepper> stepper_;      // null: steps need the host
  std::vector<std::unique_ptr<Row>> rows_;   // running, oldest first
  std::vector<std::unique_ptr<Row>> queue_;  // waiting, next first

  mutable std::mutex mutex_;  // of what follows
  std::vector<std::unique_ptr<Row>> inbox_;
  std::vector<uint64_t> cancelled_;
  uint64_t next_number_ = 1;
  EngineStats stats_;
};

}  // namespace tessera::nn

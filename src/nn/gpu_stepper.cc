// Graphs are kept by the size of the batch and the width of the page tables; rows beyond the batch
// have length 0 and position −1, for which kernels write nothing. Pieces of one token come first in
// a mixed step: one kernel takes them all, libtorch's flash attention the others.
#include "nn/gpu_stepper.h"

#include "core/error.h"
#include "ops/gpu.h"

#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <bit>

namespace tessera::nn {
namespace {

constexpr int64_t kSizes[] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128};
constexpr int64_t kLeastWidth = 64;  // pages a table: 1024 tokens

// The size of the graph for so many rows; 0: there is none.
int64_t graph_size(int64_t rows) {
  const auto* size = std::lower_bound(std::begin(kSizes), std::end(kSizes), rows);
  return size == std::end(kSizes) ? 0 : *size;
}

at::TensorOptions pinned(at::ScalarType type) {
  return at::TensorOptions().dtype(type).pinned_memory(true);
}

// A pinned tensor of at least that many numbers.
Tensor& grown(Tensor& tensor, int64_t numbers, at::ScalarType type) {
  if (!tensor.defined() || tensor.numel() < numbers) {
    tensor = at::empty({std::max<int64_t>(4096, numbers + numbers / 2)}, pinned(type));
  }
  return tensor;
}

}  // namespace

// The arrays of a step of any pieces, one behind the other.
struct GpuStepper::Arranged {
  std::vector<int32_t> numbers;
  std::vector<std::pair<int64_t, int64_t>> parts;  // begin and count

  void add(const std::vector<int32_t>& part) {
    // Each begins at 16 bytes.
    numbers.resize((numbers.size() + 3) / 4 * 4);
    parts.emplace_back(static_cast<int64_t>(numbers.size()), static_cast<int64_t>(part.size()));
    numbers.insert(numbers.end(), part.begin(), part.end());
  }
};

GpuStepper::GpuStepper(SequenceModel& model, PagedCache& cache, std::unique_ptr<StepGraphs> graphs)
    : model_(model), cache_(cache), graphs_(std::move(graphs)) {}

std::unique_ptr<GpuStepper> GpuStepper::make(SequenceModel& model, PagedCache& cache) {
  if (cache.device().is_cpu() || !model.steps_without_host(cache)) {
    return nullptr;
  }
  std::unique_ptr<StepGraphs> graphs = make_step_graphs(cache.device());
  return graphs == nullptr
             ? nullptr
             : std::unique_ptr<GpuStepper>(new GpuStepper(model, cache, std::move(graphs)));
}

GpuStepper::Result GpuStepper::run(const std::vector<Piece>& pieces, bool logits) {
  const bool singles = std::all_of(pieces.begin(), pieces.end(), [](const Piece& piece) {
    return piece.wanted && piece.past + 1 == std::ssize(piece.ids);
  });
  return singles && graph_size(std::ssize(pieces)) > 0 ? run_singles(pieces, logits)
                                                       : run_any(pieces, logits);
}

GpuStepper::Result GpuStepper::fetch(const Tensor& best, const Tensor& logits, bool with_logits) {
  Result result{.best = grown(best_, best.numel(), at::kLong).narrow(0, 0, best.numel()),
                .logits = {}};
  graphs_->run([&] {
    result.best.copy_(best, /*non_blocking=*/true);
    if (with_logits) {
      result.logits = grown(host_logits_, logits.numel(), at::kFloat)
                          .narrow(0, 0, logits.numel())
                          .view(logits.sizes());
      result.logits.copy_(logits, /*non_blocking=*/true);
    }
  });
  graphs_->wait();
  return result;
}

GpuStepper::Result GpuStepper::run_singles(const std::vector<Piece>& pieces, bool logits) {
  const int64_t rows = std::ssize(pieces);
  const int64_t size = graph_size(rows);
  size_t pages = kLeastWidth;
  for (const Piece& piece : pieces) {
    pages = std::max(pages, piece.pages.size());
  }
  const auto width = static_cast<int64_t>(std::bit_ceil(pages));
  const auto key = static_cast<uint64_t>(size) << 32 | static_cast<uint64_t>(width);
  Buffers& buffers = buffers_[key];
  const int64_t count = size * (3 + width);
  if (!buffers.numbers.defined()) {
    const auto options = at::TensorOptions().device(cache_.device());
    buffers.numbers = at::empty({count}, options.dtype(at::kInt));
    buffers.best = at::empty({size}, options.dtype(at::kLong));
    buffers.logits = at::empty({size, model_.vocab_size()}, options.dtype(at::kFloat));
  }
  const Tensor staged = grown(pinned_, count, at::kInt).narrow(0, 0, count);
  auto* numbers = staged.mutable_data_ptr<int32_t>();
  for (int64_t i = 0; i < size; ++i) {
    const Piece* piece = i < rows ? &pieces[static_cast<size_t>(i)] : nullptr;
    numbers[i] = piece == nullptr ? 0 : static_cast<int32_t>(piece->ids.back());
    numbers[size + i] = piece == nullptr ? -1 : static_cast<int32_t>(piece->past);
    numbers[2 * size + i] = piece == nullptr ? 0 : static_cast<int32_t>(piece->past + 1);
    if (piece != nullptr) {
      std::copy(piece->pages.begin(), piece->pages.end(), numbers + 3 * size + i * width);
    }
  }
  graphs_->run([&] { buffers.numbers.copy_(staged, /*non_blocking=*/true); });
  graphs_->replay(key, [&] {
    const auto part = [&](int64_t at) { return buffers.numbers.narrow(0, at * size, size); };
    Step step{.ids = part(0).unsqueeze(0), .positions = {}, .key_mask = {}, .pages = &cache_};
    step.batch.device = {
        .tables = buffers.numbers.narrow(0, 3 * size, size * width).view({size, width}),
        .lengths = part(2),
        .positions = part(1),
        .sequences = {},
        .singles = size};
    const Tensor found = model_.step(step, nullptr).squeeze(0);
    buffers.logits.copy_(found);
    buffers.best.copy_(at::argmax(found, 1));
  });
  return fetch(buffers.best.narrow(0, 0, rows), buffers.logits.narrow(0, 0, rows), logits);
}

Tensor GpuStepper::upload(const std::vector<int32_t>& numbers) {
  const auto count = std::ssize(numbers);
  const Tensor staged = grown(pinned_, count, at::kInt).narrow(0, 0, count);
  std::copy(numbers.begin(), numbers.end(), staged.mutable_data_ptr<int32_t>());
  return staged.to(cache_.device(), /*non_blocking=*/true);
}

GpuStepper::Result GpuStepper::run_any(const std::vector<Piece>& pieces, bool logits) {
  std::vector<size_t> order(pieces.size());
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
  }
  const auto new_tokens = [&](size_t i) {
    return static_cast<int32_t>(std::ssize(pieces[i].ids) - pieces[i].past);
  };
  const auto others = std::stable_partition(order.begin(), order.end(),
                                            [&](size_t i) { return new_tokens(i) == 1; });
  const auto singles = others - order.begin();
  size_t width = 1;
  for (const Piece& piece : pieces) {
    width = std::max(width, piece.pages.size());
  }
  std::vector<int32_t> ids, positions, sequences, lengths, tables, last(pieces.size());
  std::vector<int32_t> query_ends{0}, key_ends{0}, key_slots, wanted;
  ops::PagedDeviceBatch batch{.singles = singles};
  bool past = false;
  for (size_t row = 0; row < order.size(); ++row) {
    const Piece& piece = pieces[order[row]];
    const auto length = static_cast<int32_t>(piece.ids.size());
    for (auto at = static_cast<int32_t>(piece.past); at < length; ++at) {
      ids.push_back(static_cast<int32_t>(piece.ids[static_cast<size_t>(at)]));
      positions.push_back(at);
      sequences.push_back(static_cast<int32_t>(row));
    }
    last[order[row]] = static_cast<int32_t>(ids.size()) - 1;
    tables.insert(tables.end(), piece.pages.begin(), piece.pages.end());
    tables.resize((row + 1) * width);
    if (static_cast<std::ptrdiff_t>(row) < singles) {
      lengths.push_back(length);
      continue;
    }
    past = past || piece.past > 0;
    query_ends.push_back(query_ends.back() + new_tokens(order[row]));
    key_ends.push_back(key_ends.back() + length);
    batch.most_queries = std::max<int64_t>(batch.most_queries, new_tokens(order[row]));
    batch.most_keys = std::max<int64_t>(batch.most_keys, length);
    for (int32_t at = 0; at < length; ++at) {
      key_slots.push_back(piece.pages[static_cast<size_t>(at / PagedCache::kTokens)] *
                              static_cast<int32_t>(PagedCache::kTokens) +
                          at % static_cast<int32_t>(PagedCache::kTokens));
    }
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].wanted) {
      wanted.push_back(last[i]);
    }
  }
  Arranged arranged;
  for (const auto* part : {&ids, &positions, &sequences, &lengths, &tables, &query_ends, &key_ends,
                           &key_slots, &wanted}) {
    arranged.add(*part);
  }
  Tensor best, found;
  graphs_->run([&] {
    const Tensor numbers = upload(arranged.numbers);
    const auto part = [&](size_t i) {
      return numbers.narrow(0, arranged.parts[i].first, arranged.parts[i].second);
    };
    batch.positions = part(1);
    batch.sequences = part(2);
    batch.lengths = part(3);
    batch.tables = part(4).view({std::ssize(order), static_cast<int64_t>(width)});
    batch.query_ends = part(5);
    batch.key_ends = part(6);
    batch.key_slots = past ? part(7) : Tensor();
    Step step{.ids = part(0).unsqueeze(0), .positions = {}, .key_mask = {}, .pages = &cache_};
    step.batch.device = batch;
    step.rows = part(8);
    found = model_.step(step, nullptr).squeeze(0);
    best =
        found.size(0) > 0 ? at::argmax(found, 1) : at::empty({0}, found.options().dtype(at::kLong));
  });
  return fetch(best, found, logits);
}

}  // namespace tessera::nn

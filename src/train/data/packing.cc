#include "train/data/packing.h"

#include "core/error.h"
#include "core/random.h"

#include <algorithm>
#include <cmath>

namespace tessera::train {
namespace {

template <class T>
void shuffle(std::vector<T>& items, Rng& rng) {
  for (size_t i = items.size(); i > 1; --i) {
    std::swap(items[i - 1], items[rng.below(i)]);
  }
}

// Sequences being filled; first-fit over them is a scan, so full ones are passed over at once.
struct Bin {
  std::vector<Piece> pieces;
  int64_t room;
};

}  // namespace

PackedDocuments::PackedDocuments(std::vector<TokenSource> sources, const PackingOptions& options)
    : sources_(std::move(sources)), options_(options), first_{{0, 0}} {
  // Epoch 0 with fractions may be empty by chance; what counts is that something can be drawn.
  TESSERA_CHECK(epoch_size(0) > 0, InvalidArgument,
                "data: no document has two tokens or more; give token files with documents");
}

std::vector<Piece> PackedDocuments::collect(int64_t epoch) const {
  std::vector<Piece> pieces;
  const int64_t limit = options_.sequence;
  const auto add = [&](uint32_t source, uint64_t document) {
    const uint64_t tokens = sources_[source].file->length(document);
    if (tokens < 2) {
      return;
    }
    const auto positions = static_cast<int64_t>(tokens) - 1;
    if (positions <= limit) {
      pieces.push_back({source, document, 0, positions});
    } else if (options_.long_documents == LongDocuments::kTruncate) {
      pieces.push_back({source, document, 0, limit});
    } else if (options_.long_documents == LongDocuments::kSplit) {
      for (int64_t from = 0; from < positions; from += limit) {
        pieces.push_back(
            {source, document, static_cast<uint64_t>(from), std::min(limit, positions - from)});
      }
    }
  };
  for (uint32_t source = 0; source < sources_.size(); ++source) {
    const double repeat = sources_[source].repeat;
    const auto whole = static_cast<int64_t>(repeat);
    const double share = repeat - static_cast<double>(whole);
    const uint64_t documents = sources_[source].file->documents();
    Rng rng(options_.seed ^ hash_name("share"), mix64(static_cast<uint64_t>(epoch)) + source);
    for (uint64_t document = 0; document < documents; ++document) {
      const int64_t times = whole + (share > 0 && rng.uniform() < share ? 1 : 0);
      for (int64_t i = 0; i < times; ++i) {
        add(source, document);
      }
    }
  }
  return pieces;
}

std::shared_ptr<const PackedDocuments::Epoch> PackedDocuments::plan(int64_t epoch) const {
  std::vector<Piece> pieces = collect(epoch);
  Rng rng(options_.seed ^ hash_name("order"), static_cast<uint64_t>(epoch));
  shuffle(pieces, rng);
  std::vector<Bin> bins;
  for (size_t begin = 0; begin < pieces.size(); begin += static_cast<size_t>(options_.window)) {
    const size_t end = std::min(pieces.size(), begin + static_cast<size_t>(options_.window));
    std::stable_sort(pieces.begin() + static_cast<int64_t>(begin),
                     pieces.begin() + static_cast<int64_t>(end),
                     [](const Piece& a, const Piece& b) { return a.length > b.length; });
    const size_t first_bin = bins.size();
    for (size_t i = begin; i < end; ++i) {
      size_t bin = first_bin;
      while (bin < bins.size() && bins[bin].room < pieces[i].length) {
        ++bin;
      }
      if (bin == bins.size()) {
        bins.push_back({{}, options_.sequence});
      }
      bins[bin].pieces.push_back(pieces[i]);
      bins[bin].room -= pieces[i].length;
      if (static_cast<int64_t>(bins[bin].pieces.size()) == options_.max_documents) {
        bins[bin].room = 0;
      }
    }
  }
  shuffle(bins, rng);
  auto result = std::make_shared<Epoch>();
  result->starts.push_back(0);
  for (Bin& bin : bins) {
    shuffle(bin.pieces, rng);
    result->pieces.insert(result->pieces.end(), bin.pieces.begin(), bin.pieces.end());
    result->starts.push_back(result->pieces.size());
  }
  return result;
}

std::shared_ptr<const PackedDocuments::Epoch> PackedDocuments::epoch_locked(int64_t epoch) const {
  auto& slot = plans_[epoch];
  if (slot == nullptr) {
    slot = plan(epoch);
    while (plans_.size() > 2) {
      plans_.erase(plans_.begin()->first == epoch ? std::prev(plans_.end()) : plans_.begin());
    }
    return plans_.at(epoch);
  }
  return slot;
}

std::pair<int64_t, int64_t> PackedDocuments::position_locked(int64_t index) const {
  auto place = std::prev(std::find_if(first_.begin(), first_.end(),
                                      [&](const auto& item) { return item.second > index; }));
  int64_t epoch = place->first;
  int64_t begin = place->second;
  for (;;) {
    const int64_t count = epoch_locked(epoch)->count();
    if (index < begin + count) {
      return {epoch, index - begin};
    }
    begin += count;
    first_[++epoch] = begin;
  }
}

std::vector<Piece> PackedDocuments::sequence(int64_t index) const {
  std::shared_ptr<const Epoch> epoch;
  int64_t place = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto [number, at] = position_locked(index);
    epoch = epoch_locked(number);
    place = at;
  }
  const auto begin = epoch->pieces.begin();
  const auto at = static_cast<size_t>(place);
  return {begin + static_cast<int64_t>(epoch->starts[at]),
          begin + static_cast<int64_t>(epoch->starts[at + 1])};
}

std::pair<int64_t, int64_t> PackedDocuments::position(int64_t index) const {
  const std::lock_guard lock(mutex_);
  return position_locked(index);
}

int64_t PackedDocuments::epoch_size(int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  return epoch_locked(epoch)->count();
}

io::Json PackedDocuments::state() const {
  const std::lock_guard lock(mutex_);
  io::Json state = io::Json::array();
  for (const auto& [epoch, first] : first_) {
    state.push_back({epoch, first});
  }
  return state;
}

void PackedDocuments::load_state(const io::Json& state) {
  std::map<int64_t, int64_t> first;
  for (const io::Json& item : state) {
    TESSERA_CHECK(item.is_array() && item.size() == 2 && item[0].is_number_integer() &&
                      item[1].is_number_integer(),
                  CorruptFile, "checkpoint: the data position must be pairs of integers");
    first[item[0].get<int64_t>()] = item[1].get<int64_t>();
  }
  const std::lock_guard lock(mutex_);
  TESSERA_CHECK(first.contains(0) && first.at(0) == 0, CorruptFile,
                "checkpoint: the data position has no beginning");
  first_ = std::move(first);
}

}  // namespace tessera::train

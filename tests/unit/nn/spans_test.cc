#include "nn/spans.h"

#include "core/error.h"
#include "core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

namespace tessera::nn {
namespace {

constexpr int64_t kText = 12;  // ids 0 … 11 are text, of which 0 and 1 end the output

struct Language {
  SpanGrammar grammar;
  std::vector<int64_t> end_ids = {0, 1};
  int64_t vocabulary = kText;
};

// Kinds of spans in any number, size and order of their ids.
Language random_language(Rng& rng) {
  Language language;
  int64_t next = kText;
  const size_t kinds = rng.below(4);
  for (size_t i = 0; i < kinds; ++i) {
    SpanRule rule;
    rule.name = "kind " + std::to_string(i);
    const bool end_first = rng.below(2) == 0;
    rule.levels = 1 + static_cast<int64_t>(rng.below(4));
    rule.codebook_size = 1 + static_cast<int64_t>(rng.below(5));
    if (end_first) {
      rule.end_id = next++;
    }
    rule.first_code = next;
    next += rule.levels * rule.codebook_size;
    rule.start_id = next++;
    if (!end_first) {
      rule.end_id = next++;
    }
    rule.min_frames = 1 + static_cast<int64_t>(rng.below(5));
    rule.max_frames = rule.min_frames + static_cast<int64_t>(rng.below(2) * rng.below(6));
    rule.most = static_cast<int64_t>(rng.below(4)) - 1;
    rule.least = rule.most < 0 ? static_cast<int64_t>(rng.below(3))
                               : static_cast<int64_t>(rng.below(rule.most + 1));
    language.grammar.rules.push_back(rule);
  }
  language.vocabulary = next + static_cast<int64_t>(rng.below(3));
  if (rng.below(2) == 0) {
    language.grammar.forbidden = {5, 7};
  }
  return language;
}

std::vector<float> random_logits(size_t count, Rng& rng) {
  std::vector<float> logits(count);
  const double spread = rng.below(2) == 0 ? 1.0 : 30.0;
  for (float& score : logits) {
    score = static_cast<float>(rng.uniform(-spread, spread));
  }
  return logits;
}

// What a reader of the output, who knows the grammar alone, finds wrong with it; empty if nothing.
std::string fault(const Language& language, const std::vector<int64_t>& output, int64_t budget) {
  const SpanGrammar& grammar = language.grammar;
  if (static_cast<int64_t>(output.size()) > budget) {
    return "too long";
  }
  std::map<size_t, int64_t> made;
  bool ended = false;
  for (size_t at = 0; at < output.size(); ++at) {
    if (ended) {
      return "goes on after its end";
    }
    const int64_t id = output[at];
    const auto rule = std::find_if(grammar.rules.begin(), grammar.rules.end(),
                                   [&](const SpanRule& r) { return r.start_id == id; });
    if (rule == grammar.rules.end()) {
      for (const SpanRule& r : grammar.rules) {
        if (id == r.end_id || (id >= r.first_code && id <= r.last_code())) {
          return "a code or an end marker outside spans";
        }
      }
      if (std::count(grammar.forbidden.begin(), grammar.forbidden.end(), id) > 0) {
        return "a forbidden id";
      }
      ended = id == 0 || id == 1;
      continue;
    }
    int64_t codes = 0;
    for (++at; at < output.size() && output[at] != rule->end_id; ++at, ++codes) {
      const int64_t level = codes % rule->levels;
      const int64_t code = output[at] - rule->first_code - level * rule->codebook_size;
      if (code < 0 || code >= rule->codebook_size) {
        return "a code of another level";
      }
    }
    if (at == output.size()) {
      return "a span without its end";
    }
    const int64_t frames = codes / rule->levels;
    if (codes % rule->levels != 0 || frames < rule->min_frames || frames > rule->max_frames) {
      return "a span of the wrong length";
    }
    ++made[static_cast<size_t>(rule - grammar.rules.begin())];
  }
  int64_t room = budget;
  for (size_t i = 0; i < grammar.rules.size(); ++i) {
    const SpanRule& rule = grammar.rules[i];
    if (rule.most >= 0 && made[i] > rule.most) {
      return "too many spans";
    }
    // What is asked for must be there if there was room, first rules first.
    const int64_t tokens = rule.least * (rule.min_frames * rule.levels + 2);
    if (tokens <= room) {
      room -= tokens;
      if (made[i] < rule.least) {
        return "too few spans";
      }
    }
  }
  return {};
}

TEST(Spans, WhateverTheLogitsOutputsAreWellFormed) {
  Rng rng(11);
  int ended = 0;
  int spans = 0;
  for (int trial = 0; trial < 6000; ++trial) {
    const Language language = random_language(rng);
    const auto budget = static_cast<int64_t>(rng.below(trial % 2 == 0 ? 20 : 90));
    SpanState state(language.grammar, language.end_ids, budget);
    std::vector<int64_t> output;
    while (true) {
      std::vector<float> logits = random_logits(static_cast<size_t>(language.vocabulary), rng);
      // Now and then the model insists on one id, whichever it is.
      if (rng.below(3) == 0) {
        logits[rng.below(logits.size())] = 1000;
      }
      const IdRange range = state.constrain(logits);
      const auto best = std::max_element(logits.begin(), logits.end());
      if (range.empty()) {
        EXPECT_EQ(*best, -INFINITY);
        break;
      }
      ASSERT_NE(*best, -INFINITY) << "nothing is allowed, yet the output is not full";
      const int64_t id = best - logits.begin();
      ASSERT_TRUE(id >= range.first && id < range.last);
      ASSERT_NO_THROW(state.accept(id));
      output.push_back(id);
      spans += state.open() >= 0 ? 1 : 0;
    }
    const std::string problem = fault(language, output, budget);
    ASSERT_EQ(problem, "") << "trial " << trial;
    const bool stopped = !output.empty() && output.back() <= 1;
    ended += stopped ? 1 : 0;
    ASSERT_TRUE(stopped || static_cast<int64_t>(output.size()) == budget);
  }
  EXPECT_GT(ended, 500);
  EXPECT_GT(spans, 5000);
}

// `constrain` and `accept` agree on every id, and finite logits are left as they were.
TEST(Spans, WhatIsCutOffIsRefused) {
  Rng rng(12);
  for (int trial = 0; trial < 300; ++trial) {
    const Language language = random_language(rng);
    const auto budget = static_cast<int64_t>(rng.below(40));
    SpanState state(language.grammar, language.end_ids, budget);
    for (bool full = false; !full;) {
      const std::vector<float> before =
          random_logits(static_cast<size_t>(language.vocabulary), rng);
      std::vector<float> logits = before;
      full = state.constrain(logits).empty();
      std::vector<int64_t> allowed;
      for (int64_t id = -1; id <= language.vocabulary; ++id) {
        const bool inside = id >= 0 && id < language.vocabulary;
        const bool kept = inside && logits[static_cast<size_t>(id)] != -INFINITY;
        SpanState copy = state;
        if (kept) {
          EXPECT_NO_THROW(copy.accept(id));
          allowed.push_back(id);
          EXPECT_GE(logits[static_cast<size_t>(id)], before[static_cast<size_t>(id)]);
        } else if (id < language.vocabulary) {
          EXPECT_THROW(copy.accept(id), InvalidArgument) << id;
        }
      }
      if (!full) {
        state.accept(allowed[rng.below(allowed.size())]);
      }
    }
  }
}

Language pictures(int64_t least, int64_t most) {
  Language language;
  language.grammar.rules = {{.name = "image",
                             .start_id = 20,
                             .end_id = 21,
                             .first_code = 12,
                             .levels = 2,
                             .codebook_size = 4,
                             .min_frames = 3,
                             .max_frames = 3,
                             .sampling = {},
                             .most = most,
                             .least = least}};
  language.vocabulary = 22;
  return language;
}

// A model that wants to end while a picture is owed begins it instead, with the same probability.
TEST(Spans, EndingPassesToTheSpanThatIsOwed) {
  const Language language = pictures(1, 1);
  SpanState state(language.grammar, language.end_ids, 30);
  Rng rng(1);
  const std::vector<float> before = random_logits(22, rng);
  std::vector<float> logits = before;
  state.constrain(logits);
  EXPECT_EQ(logits[0], -INFINITY);
  EXPECT_EQ(logits[1], -INFINITY);
  EXPECT_NEAR(std::exp(logits[20]),
              std::exp(before[0]) + std::exp(before[1]) + std::exp(before[20]), 1e-3);
  state.accept(20);
  for (const int64_t id : {12, 17, 15, 16, 13, 19, 21}) {
    state.accept(id);
  }
  logits = before;
  state.constrain(logits);
  EXPECT_EQ(logits[0], before[0]);
  EXPECT_EQ(logits[20], -INFINITY);  // one at most
}

TEST(Spans, ASpanInsideTellsItsRange) {
  const Language language = pictures(0, -1);
  SpanState state(language.grammar, language.end_ids, 30);
  std::vector<float> logits(22, 0.0F);
  state.accept(20);
  EXPECT_EQ(state.open(), 0);
  IdRange range = state.constrain(logits);
  EXPECT_EQ(range.first, 12);
  EXPECT_EQ(range.last, 16);
  state.accept(13);
  EXPECT_EQ(state.frames(), 0);
  range = state.constrain(logits);
  EXPECT_EQ(range.first, 16);
  EXPECT_EQ(range.last, 20);
  for (const int64_t id : {18, 12, 16, 12, 16}) {
    state.accept(id);
  }
  EXPECT_EQ(state.frames(), 3);
  range = state.constrain(logits);
  EXPECT_EQ(range.first, 21);
  EXPECT_EQ(range.last, 22);
}

TEST(Spans, RefusesGrammarsThatContradictThemselves) {
  const auto refused = [](auto change) {
    Language language = pictures(0, -1);
    change(language.grammar.rules[0]);
    EXPECT_THROW(SpanState(language.grammar, language.end_ids, 30), InvalidArgument);
  };
  refused([](SpanRule& rule) { rule.levels = 0; });
  refused([](SpanRule& rule) { rule.codebook_size = 0; });
  refused([](SpanRule& rule) { rule.min_frames = 0; });
  refused([](SpanRule& rule) { rule.max_frames = 2; });
  refused([](SpanRule& rule) { rule.most = 1, rule.least = 2; });
  refused([](SpanRule& rule) { rule.start_id = -1; });
  refused([](SpanRule& rule) { rule.guidance = -1; });
  refused([](SpanRule& rule) { rule.sampling.top_p = 0; });
  const Language language = pictures(0, -1);
  const SpanState state(language.grammar, language.end_ids, 30);
  std::vector<float> few(21);
  EXPECT_THROW(state.constrain(few), InvalidArgument);  // a model with fewer ids
}

}  // namespace
}  // namespace tessera::nn

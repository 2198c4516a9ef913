// A matcher for each output; outputs of one factory share a constrain::Constraint and its masks.
#include "pipelines/constrain.h"

#include "core/error.h"
#include "text/constrain/gbnf.h"
#include "text/constrain/json_schema.h"
#include "text/constrain/matcher.h"
#include "text/constrain/regex_grammar.h"
#include "text/constrain/tool_grammar.h"

#include <algorithm>

namespace tessera::pipelines {
namespace {

class MatcherConstraint : public nn::TokenConstraint {
 public:
  explicit MatcherConstraint(std::shared_ptr<constrain::Constraint> constraint)
      : matcher_(std::move(constraint), /*max_rollback=*/0),
        bits_(matcher_.constraint().vocabulary().mask_words()) {}

  std::span<const uint32_t> mask() override {
    matcher_.mask(bits_);
    return bits_;
  }
  bool accept(int64_t id) override {
    return id >= 0 && id < matcher_.constraint().vocabulary().size() &&
           matcher_.accept(static_cast<int32_t>(id));
  }
  bool may_end() const override { return matcher_.is_complete(); }
  bool must_end() const override { return matcher_.is_finished() || matcher_.must_end(); }

 private:
  constrain::Matcher matcher_;
  std::vector<uint32_t> bits_;
};

std::shared_ptr<const constrain::Vocabulary> vocabulary_of(const text::Tokenizer& tokenizer,
                                                           const std::vector<int64_t>& end_ids) {
  std::vector<int32_t> known;
  for (const int64_t id : end_ids) {
    if (id >= 0 && id < tokenizer.vocab_size()) {
      known.push_back(static_cast<int32_t>(id));
    }
  }
  return std::make_shared<const constrain::Vocabulary>(
      constrain::Vocabulary::from_tokenizer(tokenizer, known));
}

}  // namespace

constrain::Grammar parse_constraint(const ConstraintSpec& spec) {
  using Kind = ConstraintSpec::Kind;
  switch (spec.kind) {
    case Kind::kJsonSchema:
      return with_context("JSON Schema", [&] { return constrain::parse_json_schema(spec.text); });
    case Kind::kJsonObject:
      return constrain::json_object_grammar();
    case Kind::kGrammar:
      return with_context("grammar", [&] { return constrain::parse_gbnf(spec.text); });
    case Kind::kRegex:
      return with_context("regular expression", [&] { return constrain::parse_regex(spec.text); });
    case Kind::kToolCalls:
      return constrain::tool_call_grammar(spec.syntax, spec.tools, spec.many);
    case Kind::kNone:
      break;
  }
  throw Internal("no constraint to parse");
}

ConstraintMaker::ConstraintMaker(const text::Tokenizer& tokenizer,
                                 const std::vector<int64_t>& end_ids)
    : vocabulary_(vocabulary_of(tokenizer, end_ids)) {}

nn::ConstraintFactory ConstraintMaker::make(const ConstraintSpec& spec) const {
  if (spec.kind == ConstraintSpec::Kind::kNone) {
    return {};
  }
  auto constraint = std::make_shared<constrain::Constraint>(parse_constraint(spec), vocabulary_);
  return [constraint] { return std::make_unique<MatcherConstraint>(constraint); };
}

std::optional<nn::ConstraintFactory> ConstraintCache::find(const ConstraintSpec& spec) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(kept_.begin(), kept_.end(),
                                  [&](const auto& entry) { return entry.first == spec; });
  if (found == kept_.end()) {
    return std::nullopt;
  }
  kept_.splice(kept_.begin(), kept_, found);
  return found->second;
}

nn::ConstraintFactory ConstraintCache::get(const ConstraintSpec& spec) {
  if (spec.kind == ConstraintSpec::Kind::kNone) {
    return {};
  }
  if (const auto kept = find(spec)) {
    return *kept;
  }
  std::call_once(made_,
                 [&] { maker_ = std::make_unique<const ConstraintMaker>(tokenizer_, end_ids_); });
  nn::ConstraintFactory made = maker_->make(spec);
  if (const auto kept = find(spec)) {  // another thread was faster
    return *kept;
  }
  const std::lock_guard lock(mutex_);
  kept_.emplace_front(spec, made);
  if (kept_.size() > most_) {
    kept_.pop_back();
  }
  return made;
}

}  // namespace tessera::pipelines

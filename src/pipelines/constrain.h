// Grammars for the outputs of a model: what the samplers ask (nn/constraint.h), answered by
// text/constrain over the model's tokenizer.
#pragma once

#include "nn/constraint.h"
#include "text/constrain/grammar.h"
#include "text/constrain/vocabulary.h"
#include "text/tokenizer.h"
#include "text/tool_calls.h"

#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tessera::pipelines {

/// What an output must be.
struct ConstraintSpec {
  enum class Kind { kNone, kJsonSchema, kJsonObject, kGrammar, kRegex, kToolCalls };
  Kind kind = Kind::kNone;
  std::string text = {};  // the schema, the rules (GBNF), or the pattern of the whole output
  /// kToolCalls: constrain::tool_call_grammar's.
  text::ToolSyntax syntax = text::ToolSyntax::kHermes;
  std::vector<text::Tool> tools = {};
  bool many = false;

  bool operator==(const ConstraintSpec&) const = default;
};

/// Throws CorruptFile for a schema that is not JSON, InvalidArgument for one that is malformed or
/// has no text, Unsupported for what cannot be followed; each says what kind of constraint it was.
constrain::Grammar parse_constraint(const ConstraintSpec& spec);

/// The vocabulary that the constraints of a model share. Thread-safe.
class ConstraintMaker {
 public:
  /// End ids that the tokenizer does not know are never allowed.
  ConstraintMaker(const text::Tokenizer& tokenizer, const std::vector<int64_t>& end_ids);

  /// For GenerationOptions::constraint; empty for kNone. All outputs of one factory share their
  /// masks: keep it for requests with the same grammar. Throws as parse_constraint does.
  nn::ConstraintFactory make(const ConstraintSpec& spec) const;

 private:
  std::shared_ptr<const constrain::Vocabulary> vocabulary_;
};

/// The factories of the last grammars, so that requests with the same one share it and its masks.
/// Thread-safe; grammars are compiled by the thread that asks.
class ConstraintCache {
 public:
  /// As ConstraintMaker, which is made when it is first needed; `tokenizer` must outlive this. At
  /// most `most` grammars are kept.
  ConstraintCache(const text::Tokenizer& tokenizer, std::vector<int64_t> end_ids, size_t most = 16)
      : tokenizer_(tokenizer), end_ids_(std::move(end_ids)), most_(most) {}

  /// As ConstraintMaker::make.
  nn::ConstraintFactory get(const ConstraintSpec& spec);

 private:
  std::optional<nn::ConstraintFactory> find(const ConstraintSpec& spec);

  const text::Tokenizer& tokenizer_;
  const std::vector<int64_t> end_ids_;
  const size_t most_;
  std::once_flag made_;
  std::unique_ptr<const ConstraintMaker> maker_;
  std::mutex mutex_;                                                  // of what follows
  std::list<std::pair<ConstraintSpec, nn::ConstraintFactory>> kept_;  // newest first
};

}  // namespace tessera::pipelines

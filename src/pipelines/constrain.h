// Grammars for the outputs of a model: what the samplers ask (nn/constraint.h), answered by
// text/constrain over the model's tokenizer.
#pragma once

#include "nn/constraint.h"
#include "text/constrain/grammar.h"
#include "text/constrain/vocabulary.h"
#include "text/tokenizer.h"

#include <memory>
#include <string>
#include <vector>

namespace tessera::pipelines {

/// What an output must be.
struct ConstraintSpec {
  enum class Kind { kNone, kJsonSchema, kJsonObject, kGrammar, kRegex };
  Kind kind = Kind::kNone;
  std::string text = {};  // the schema, the rules (GBNF), or the pattern of the whole output
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

}  // namespace tessera::pipelines

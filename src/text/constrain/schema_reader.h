// From JSON Schemas to expressions.
#pragma once

#include "text/constrain/json_text.h"
#include "text/constrain/schema_parts.h"

#include <map>
#include <utility>
#include <vector>

namespace tessera::constrain {

/// Makes one rule for each list of schemas that describes a value.
class SchemaReader {
 public:
  using Expr = GrammarBuilder::Expr;

  SchemaReader(GrammarBuilder& builder, const io::OrderedJson& root, const JsonLayout& layout)
      : builder_(builder), document_(root), text_(builder, layout) {}

  GrammarBuilder& builder() { return builder_; }
  JsonText& text() { return text_; }
  /// Values that fit all parts; no parts: any value. The rule is defined by define_pending.
  Expr value(const SchemaParts& parts);
  void define_pending();

 private:
  Expr define(const SchemaParts& parts);
  bool take_branches(const SchemaParts& flat, std::vector<SchemaParts>& out) const;
  Expr values_of(const SchemaPart& listed, const SchemaParts& flat);
  Expr string(const SchemaParts& flat);
  Expr number(const SchemaParts& flat, bool is_integer);
  Expr array(const SchemaParts& flat);

  GrammarBuilder& builder_;
  SchemaDocument document_;
  JsonText text_;
  std::map<std::vector<std::pair<const io::OrderedJson*, int>>, GrammarBuilder::Rule> rules_;
  std::vector<std::pair<GrammarBuilder::Rule, SchemaParts>> pending_;
  size_t products_ = 0;  // rules of three and more schemas
};

/// `min` to `max` times `item`, commas between them; with `after_others` also one before the first.
SchemaReader::Expr list_rest(
    SchemaReader& reader, SchemaReader::Expr item, bool after_others, uint32_t min, uint32_t max);

}  // namespace tessera::constrain

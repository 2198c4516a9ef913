// A value is described by a list of schemas that must all hold. Alternatives (anyOf, oneOf) are
// multiplied out over the list, one rule for each list; what is left are plain keywords, which are
// merged: types and bounds directly, patterns and formats as intersections of automata.
#include "text/constrain/json_schema.h"

#include "core/error.h"
#include "text/constrain/schema_object.h"
#include "text/constrain/schema_parts.h"
#include "text/constrain/schema_reader.h"

#include <algorithm>
#include <utility>

namespace tessera::constrain {
namespace {

using io::OrderedJson;

constexpr size_t kMaxRules = 50'000;
constexpr size_t kMaxProducts = 4'000;  // rules of three and more schemas at once
constexpr uint32_t kUnbounded = GrammarBuilder::kUnbounded;

}  // namespace

SchemaReader::Expr SchemaReader::value(const SchemaParts& parts) {
  std::vector<std::pair<const OrderedJson*, int>> key;
  for (const SchemaPart& part : parts) {
    if (!(part.schema->is_boolean() && part.schema->get<bool>())) {
      key.emplace_back(part.schema, (part.any_taken ? 1 : 0) + (part.one_taken ? 2 : 0));
    }
  }
  if (key.empty()) {
    return text_.value();
  }
  products_ += key.size() > 2 && !rules_.contains(key) ? 1 : 0;
  const auto [it, added] = rules_.try_emplace(std::move(key), 0);
  if (added) {
    TESSERA_CHECK(rules_.size() <= kMaxRules && products_ <= kMaxProducts, Unsupported,
                  "JSON schema, {}: its alternatives multiply to more than {} rules", parts[0].path,
                  products_ > kMaxProducts ? kMaxProducts : kMaxRules);
    const GrammarBuilder::Rule rule = builder_.declare(parts[0].path);
    it->second = rule;
    pending_.emplace_back(rule, parts);
    return builder_.call(rule);
  }
  return builder_.call(it->second);
}

void SchemaReader::define_pending() {
  while (!pending_.empty()) {
    const auto [rule, parts] = std::move(pending_.back());
    pending_.pop_back();
    builder_.define(rule, define(parts));
  }
}

/// Branches of the first anyOf or oneOf that is not yet taken; false when there is none.
bool SchemaReader::take_branches(const SchemaParts& flat, std::vector<SchemaParts>& out) const {
  for (size_t i = 0; i < flat.size(); ++i) {
    for (const bool any : {true, false}) {
      const char* const key = any ? "anyOf" : "oneOf";
      const OrderedJson* branches = flat[i].find(key);
      if (branches == nullptr || (any ? flat[i].any_taken : flat[i].one_taken)) {
        continue;
      }
      TESSERA_CHECK(branches->is_array(), InvalidArgument,
                    "JSON schema, {}: {} is {}, expected a list", flat[i].path, key,
                    branches->type_name());
      for (size_t branch = 0; branch < branches->size(); ++branch) {
        SchemaParts parts = flat;
        (any ? parts[i].any_taken : parts[i].one_taken) = true;
        parts.push_back(flat[i].at(key, std::to_string(branch), (*branches)[branch]));
        out.push_back(std::move(parts));
      }
      return true;
    }
  }
  return false;
}

SchemaReader::Expr SchemaReader::define(const SchemaParts& parts) {
  SchemaParts flat;
  if (!document_.flatten(parts, flat)) {
    return builder_.never();
  }
  const SchemaPart* listed = nullptr;  // enum or const: only its values come into question
  for (const SchemaPart& part : flat) {
    if (part.find("const") != nullptr || (listed == nullptr && part.find("enum") != nullptr)) {
      listed = &part;
    }
  }
  if (listed != nullptr) {
    return values_of(*listed, flat);
  }
  std::vector<SchemaParts> branches;
  if (take_branches(flat, branches)) {
    std::vector<Expr> all;
    for (const SchemaParts& branch : branches) {
      all.push_back(value(branch));
    }
    return builder_.choice(std::move(all));
  }
  unsigned types = kAnyType;
  for (const SchemaPart& part : flat) {
    types &= schema_types(part);
  }
  std::vector<Expr> all;
  if ((types & kObject) != 0) {
    all.push_back(object_expr(*this, flat));
  }
  if ((types & kArray) != 0) {
    all.push_back(array(flat));
  }
  if ((types & kString) != 0) {
    all.push_back(string(flat));
  }
  if ((types & (kInteger | kFraction)) != 0) {
    all.push_back(number(flat, (types & kFraction) == 0));
  }
  if ((types & kBoolean) != 0) {
    all.push_back(builder_.bytes("true"));
    all.push_back(builder_.bytes("false"));
  }
  if ((types & kNull) != 0) {
    all.push_back(builder_.bytes("null"));
  }
  return builder_.choice(std::move(all));
}

/// The values of an enum or const that all parts admit.
SchemaReader::Expr SchemaReader::values_of(const SchemaPart& listed, const SchemaParts& flat) {
  std::vector<Expr> all;
  const auto add = [&](const OrderedJson& item) {
    if (document_.admits(flat, item)) {
      all.push_back(text_.literal(item));
    }
  };
  if (const OrderedJson* constant = listed.find("const")) {
    add(*constant);
  } else {
    const OrderedJson& list = *listed.find("enum");
    TESSERA_CHECK(list.is_array(), InvalidArgument, "JSON schema, {}: enum is {}, expected a list",
                  listed.path, list.type_name());
    const bool alone = flat.size() == 1 && flat[0].schema->size() == 1;
    for (const OrderedJson& item : list) {
      if (alone) {
        all.push_back(text_.literal(item));
      } else {
        add(item);
      }
    }
  }
  return builder_.choice(std::move(all));
}

SchemaReader::Expr SchemaReader::string(const SchemaParts& flat) {
  uint32_t min = 0;
  uint32_t max = kUnbounded;
  std::optional<Expr> content;
  const auto restrict = [&](Expr expr) {
    content = content ? builder_.intersect(*content, expr) : expr;
  };
  for (const SchemaPart& part : flat) {
    min = std::max(min, schema_count(part, "minLength", 0));
    max = std::min(max, schema_count(part, "maxLength", kUnbounded));
    if (const OrderedJson* pattern = part.find("pattern")) {
      TESSERA_CHECK(pattern->is_string(), InvalidArgument,
                    "JSON schema, {}: pattern is {}, expected a string", part.path,
                    pattern->type_name());
      restrict(with_context("JSON schema, " + part.path,
                            [&] { return text_.pattern(pattern->get_ref<const std::string&>()); }));
    }
    if (const OrderedJson* format = part.find("format"); format && format->is_string()) {
      if (const auto expr = text_.format(format->get_ref<const std::string&>())) {
        restrict(*expr);
      }
    }
  }
  if (min > max) {
    return builder_.never();
  }
  if (!content) {
    return min == 0 && max == kUnbounded ? text_.string() : text_.string(min, max);
  }
  if (min > 0 || max != kUnbounded) {
    restrict(builder_.repeat(text_.canonical_char(), min, max));
  }
  return text_.quoted(*content);
}

SchemaReader::Expr SchemaReader::number(const SchemaParts& flat, bool is_integer) {
  std::optional<JsonBound> low;
  std::optional<JsonBound> high;
  for (const SchemaPart& part : flat) {
    for (const char* const key : {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}) {
      const OrderedJson* value = part.find(key);
      if (value == nullptr) {
        continue;
      }
      TESSERA_CHECK(value->is_number(), InvalidArgument,
                    "JSON schema, {}: {} is {}, expected a number", part.path, key, value->dump());
      const bool is_low = std::string_view(key).ends_with("inimum");
      const bool exclusive = std::string_view(key).starts_with("ex");
      std::optional<JsonBound>& bound = is_low ? low : high;
      const bool tighter = !bound || (is_low ? *value > bound->value : *value < bound->value) ||
                           (exclusive && *value == bound->value);
      if (tighter) {
        bound = JsonBound{*value, exclusive};
      }
    }
  }
  return is_integer ? text_.integer(low, high) : text_.number(low, high);
}

SchemaReader::Expr SchemaReader::array(const SchemaParts& flat) {
  uint32_t min = 0;
  uint32_t max = kUnbounded;
  size_t prefixes = 0;
  struct Items {
    const SchemaPart* part;
    const OrderedJson* prefix;
    const OrderedJson* rest;
  };
  std::vector<Items> items;
  for (const SchemaPart& part : flat) {
    min = std::max(min, schema_count(part, "minItems", 0));
    max = std::min(max, schema_count(part, "maxItems", kUnbounded));
    Items own{&part, part.find("prefixItems"), part.find("items")};
    if (own.rest != nullptr && own.rest->is_array()) {
      own.prefix = own.rest;
      own.rest = part.find("additionalItems");
    }
    TESSERA_CHECK(own.prefix == nullptr || own.prefix->is_array(), InvalidArgument,
                  "JSON schema, {}: prefixItems is no list", part.path);
    prefixes = std::max(prefixes, own.prefix == nullptr ? 0 : own.prefix->size());
    items.push_back(own);
  }
  const auto item_at = [&](size_t index) {  // index `prefixes`: all items from there on
    SchemaParts parts;
    for (const Items& own : items) {
      if (own.prefix != nullptr && index < own.prefix->size()) {
        parts.push_back(own.part->at("prefixItems", std::to_string(index), (*own.prefix)[index]));
      } else if (own.rest != nullptr) {
        parts.push_back(own.part->at("items", *own.rest));
      }
    }
    return value(parts);
  };
  if (min > max) {
    return builder_.never();
  }
  const Expr close = builder_.sequence({text_.space(), builder_.bytes("]")});
  // From the back: what may come once `i` items are there.
  const auto fixed = static_cast<uint32_t>(std::min<size_t>(prefixes, max));
  Expr tail = close;
  if (max > fixed) {
    const Expr item = item_at(prefixes);
    tail = builder_.sequence({list_rest(*this, item, fixed > 0, min > fixed ? min - fixed : 0,
                                        max == kUnbounded ? max : max - fixed),
                              close});
  }
  for (uint32_t i = fixed; i-- > 0;) {
    const Expr item = item_at(i);
    Expr next =
        i == 0 ? builder_.sequence({item, tail}) : builder_.sequence({text_.comma(), item, tail});
    tail = i < min ? next : builder_.choice({close, next});
    // A rule, so that a long list is no deep expression.
    const GrammarBuilder::Rule rule = builder_.declare(flat[0].path + "/items");
    builder_.define(rule, tail);
    tail = builder_.call(rule);
  }
  return builder_.sequence({builder_.bytes("["), text_.space(), tail});
}

SchemaReader::Expr list_rest(
    SchemaReader& reader, SchemaReader::Expr item, bool after_others, uint32_t min, uint32_t max) {
  GrammarBuilder& builder = reader.builder();
  const auto next = builder.sequence({reader.text().comma(), item});
  if (after_others) {
    return builder.repeat(next, min, max);
  }
  if (max == 0) {
    return builder.empty();
  }
  const auto some = builder.sequence(
      {item, builder.repeat(next, min > 0 ? min - 1 : 0, max == kUnbounded ? max : max - 1)});
  return min == 0 ? builder.optional(some) : some;
}

Grammar json_grammar(const JsonLayout& layout) {
  GrammarBuilder builder;
  return builder.build(JsonText(builder, layout).value());
}

Grammar json_object_grammar(const JsonLayout& layout) {
  GrammarBuilder builder;
  return builder.build(JsonText(builder, layout).object());
}

Grammar json_schema_grammar(const OrderedJson& schema, const JsonLayout& layout) {
  GrammarBuilder builder;
  SchemaReader reader(builder, schema, layout);
  const GrammarBuilder::Expr root = reader.value({SchemaDocument(schema).root()});
  reader.define_pending();
  return builder.build(root);
}

Grammar parse_json_schema(std::string_view schema, const JsonLayout& layout) {
  return json_schema_grammar(io::parse_ordered_json(schema, "JSON schema"), layout);
}

}  // namespace tessera::constrain

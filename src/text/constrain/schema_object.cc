// Named members come in the order of the schema; each rule stands for "from the i-th member on,
// with or without a member before it, and (where minProperties or maxProperties matter) so many
// members". Members with other names follow; their names are divided by the patterns that they
// match.
#include "text/constrain/schema_object.h"

#include "core/error.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>

namespace tessera::constrain {
namespace {

using Expr = GrammarBuilder::Expr;
using io::OrderedJson;

constexpr uint32_t kUnbounded = GrammarBuilder::kUnbounded;
constexpr size_t kMaxPatterns = 4;
constexpr size_t kMaxCountedMembers = 2000;

class ObjectReader {
 public:
  ObjectReader(SchemaReader& reader, const SchemaParts& flat)
      : reader_(reader), b_(reader.builder()), text_(reader.text()), flat_(flat) {}

  Expr read();

 private:
  struct Member {
    std::string name;
    bool required;
    Expr pair;  // name, colon, value
  };
  struct Pattern {
    const SchemaPart* part;
    std::string regex;
    const OrderedJson* schema;
  };

  void check() const;
  void collect();
  void add_member(const std::string& name);
  SchemaParts schemas_of(const std::string& name) const;
  Expr other_members();
  Expr other_pair(Expr name, size_t chosen);
  Expr from(size_t index, bool after_others, uint32_t count);
  Expr make_from(size_t index, bool after_others, uint32_t count);

  SchemaReader& reader_;
  GrammarBuilder& b_;
  JsonText& text_;
  const SchemaParts& flat_;
  std::set<std::string> required_;
  std::vector<Member> members_;
  std::set<std::string> names_;
  std::vector<Pattern> patterns_;
  uint32_t min_ = 0;
  uint32_t max_ = kUnbounded;
  bool counted_ = false;
  Expr other_ = 0;
  std::map<std::tuple<size_t, bool, uint32_t>, Expr> made_;
};

void ObjectReader::check() const {
  for (const SchemaPart& part : flat_) {
    for (const char* const key : {"properties", "patternProperties"}) {
      const OrderedJson* value = part.find(key);
      TESSERA_CHECK(value == nullptr || value->is_object(), InvalidArgument,
                    "JSON schema, {}: {} is {}, expected an object", part.path, key,
                    value->type_name());
    }
    const OrderedJson* required = part.find("required");
    TESSERA_CHECK(required == nullptr ||
                      (required->is_array() &&
                       std::all_of(required->begin(), required->end(),
                                   [](const OrderedJson& name) { return name.is_string(); })),
                  InvalidArgument, "JSON schema, {}: required is no list of names", part.path);
  }
}

void ObjectReader::collect() {
  for (const SchemaPart& part : flat_) {
    min_ = std::max(min_, schema_count(part, "minProperties", 0));
    max_ = std::min(max_, schema_count(part, "maxProperties", kUnbounded));
    if (const OrderedJson* required = part.find("required")) {
      for (const OrderedJson& name : *required) {
        required_.insert(name.get<std::string>());
      }
    }
    if (const OrderedJson* patterns = part.find("patternProperties")) {
      for (const auto& [regex, schema] : patterns->items()) {
        patterns_.push_back({&part, regex, &schema});
      }
    }
  }
  for (const SchemaPart& part : flat_) {
    if (const OrderedJson* properties = part.find("properties")) {
      for (const auto& [name, schema] : properties->items()) {
        add_member(name);
      }
    }
  }
  for (const SchemaPart& part : flat_) {
    if (const OrderedJson* required = part.find("required")) {
      for (const OrderedJson& name : *required) {
        add_member(name.get<std::string>());
      }
    }
  }
}

SchemaParts ObjectReader::schemas_of(const std::string& name) const {
  SchemaParts parts;
  for (const SchemaPart& part : flat_) {
    const size_t before = parts.size();
    const OrderedJson* properties = part.find("properties");
    if (properties != nullptr && properties->contains(name)) {
      parts.push_back(part.at("properties", name, (*properties)[name]));
    }
    for (const Pattern& pattern : patterns_) {
      if (pattern.part == &part && pattern_matches(pattern.regex, name)) {
        parts.push_back(part.at("patternProperties", pattern.regex, *pattern.schema));
      }
    }
    const OrderedJson* additional = part.find("additionalProperties");
    if (parts.size() == before && additional != nullptr) {
      parts.push_back(part.at("additionalProperties", *additional));
    }
  }
  return parts;
}

void ObjectReader::add_member(const std::string& name) {
  if (!names_.insert(name).second) {
    return;
  }
  members_.push_back({name, required_.contains(name),
                      b_.sequence({b_.bytes(io::Json(name).dump()), text_.colon(),
                                   reader_.value(schemas_of(name))})});
}

/// A member whose name matches just the patterns in `chosen` (bits).
Expr ObjectReader::other_pair(Expr name, size_t chosen) {
  SchemaParts parts;
  for (const SchemaPart& part : flat_) {
    bool matched = false;
    for (size_t i = 0; i < patterns_.size(); ++i) {
      if (patterns_[i].part == &part && (chosen >> i & 1) != 0) {
        parts.push_back(part.at("patternProperties", patterns_[i].regex, *patterns_[i].schema));
        matched = true;
      }
    }
    const OrderedJson* additional = part.find("additionalProperties");
    if (!matched && additional != nullptr) {
      parts.push_back(part.at("additionalProperties", *additional));
    }
  }
  const bool impossible = std::any_of(parts.begin(), parts.end(), [](const SchemaPart& part) {
    return part.schema->is_boolean() && !part.schema->get<bool>();
  });
  return impossible ? b_.never() : b_.sequence({name, text_.colon(), reader_.value(parts)});
}

/// Members that no `properties` names.
Expr ObjectReader::other_members() {
  TESSERA_CHECK(patterns_.size() <= kMaxPatterns, Unsupported,
                "JSON schema, {}: {} patternProperties for one object; at most {} are supported",
                flat_[0].path, patterns_.size(), kMaxPatterns);
  if (patterns_.empty() && names_.empty()) {
    return other_pair(text_.string(), 0);
  }
  const Expr any = b_.repeat(text_.canonical_char(), 0);
  std::vector<Expr> taken;
  for (const std::string& name : names_) {
    const std::string spelled = io::Json(name).dump();
    taken.push_back(b_.bytes(std::string_view(spelled).substr(1, spelled.size() - 2)));
  }
  std::vector<Expr> all;
  for (size_t chosen = 0; chosen < size_t{1} << patterns_.size(); ++chosen) {
    // Asked first with any name: most combinations are forbidden, and automata cost time.
    if (b_.nodes()[other_pair(any, chosen)].kind == GrammarBuilder::Kind::kNever) {
      continue;
    }
    Expr name = b_.subtract(any, b_.choice(taken));
    for (size_t i = 0; i < patterns_.size(); ++i) {
      const Expr pattern = with_context("JSON schema, " + patterns_[i].part->path,
                                        [&] { return text_.pattern(patterns_[i].regex); });
      name = (chosen >> i & 1) != 0 ? b_.intersect(name, pattern) : b_.subtract(name, pattern);
    }
    all.push_back(other_pair(text_.quoted(name), chosen));
  }
  return b_.choice(std::move(all));
}

/// The rest of the object from member `index` on, the closing bracket included.
Expr ObjectReader::from(size_t index, bool after_others, uint32_t count) {
  count = counted_ ? count : 0;
  const auto key = std::make_tuple(index, after_others, count);
  const auto known = made_.find(key);
  if (known != made_.end()) {
    return known->second;
  }
  const GrammarBuilder::Rule rule = b_.declare(flat_[0].path);
  b_.define(rule, make_from(index, after_others, count));
  return made_[key] = b_.call(rule);
}

Expr ObjectReader::make_from(size_t index, bool after_others, uint32_t count) {
  if (index == members_.size()) {
    const uint32_t missing = counted_ && count < min_ ? min_ - count : 0;
    const uint32_t room = counted_ && max_ != kUnbounded ? max_ - count : kUnbounded;
    return b_.sequence(
        {list_rest(reader_, other_, after_others, missing, room), text_.space(), b_.bytes("}")});
  }
  const Member& member = members_[index];
  std::vector<Expr> all;
  if (!counted_ || count < max_) {
    std::vector<Expr> with;
    if (after_others) {
      with.push_back(text_.comma());
    }
    with.push_back(member.pair);
    with.push_back(from(index + 1, true, count + 1));
    all.push_back(b_.sequence(std::move(with)));
  }
  if (!member.required) {
    all.push_back(from(index + 1, after_others, count));
  }
  return b_.choice(std::move(all));
}

Expr ObjectReader::read() {
  check();
  collect();
  if (min_ > max_) {
    return b_.never();
  }
  other_ = other_members();
  counted_ = min_ > required_.size() || max_ != kUnbounded;
  TESSERA_CHECK(!counted_ || members_.size() <= kMaxCountedMembers, Unsupported,
                "JSON schema, {}: minProperties and maxProperties with more than {} properties",
                flat_[0].path, kMaxCountedMembers);
  // From the last member to the first, so that the recursion of `from` stays flat.
  const size_t counts = counted_ ? members_.size() : 0;
  for (size_t index = members_.size() + 1; index-- > 1;) {
    for (size_t count = 0; count <= std::min({counts, index, size_t{max_}}); ++count) {
      from(index, false, static_cast<uint32_t>(count));
      from(index, true, static_cast<uint32_t>(count));
    }
  }
  return b_.sequence({b_.bytes("{"), text_.space(), from(0, false, 0)});
}

}  // namespace

SchemaReader::Expr object_expr(SchemaReader& reader, const SchemaParts& flat) {
  return ObjectReader(reader, flat).read();
}

}  // namespace tessera::constrain

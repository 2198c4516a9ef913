// Values of templates: construction, equality, order, hashes, iteration. Sources: the Python 3
// language reference and jinja2's runtime (Undefined).
#include "text/jinja/value.h"

#include "core/strings.h"

#include <fmt/format.h>

#include <cmath>

namespace tessera::text::jinja {
namespace {

struct StringData : Payload {
  std::string text;
  bool markup = false;
};

struct ListData : Payload {
  List items;
  int depth = 1;
  bool named = false;
};

struct DictData : Payload {
  Dict dict;
  int depth = 1;
};

int checked_depth(int inner) {
  if (inner >= kMaxDepth) {
    throw EvalError{ErrorKind::kLimit, fmt::format("values nested deeper than {}", kMaxDepth)};
  }
  return inner + 1;
}

int depth_of(const List& items) {
  int depth = 0;
  for (const Value& item : items) {
    depth = std::max(depth, item.depth());
  }
  return checked_depth(depth);
}

[[noreturn]] void undefined_error(const Value& value) {
  throw EvalError{ErrorKind::kUndefined, value.as_string()};
}

class ListIterator : public Iterator {
 public:
  explicit ListIterator(Value list) : list_(std::move(list)) {}
  Value next() override {
    return position_ < list_.items().size() ? list_.items()[position_++] : Value();
  }

 private:
  Value list_;
  size_t position_ = 0;
};

class KeyIterator : public Iterator {
 public:
  explicit KeyIterator(Value dict) : dict_(std::move(dict)) {}
  Value next() override {
    const auto& entries = dict_.as_dict().entries();
    return position_ < entries.size() ? entries[position_++].first : Value();
  }

 private:
  Value dict_;
  size_t position_ = 0;
};

class CharacterIterator : public Iterator {
 public:
  explicit CharacterIterator(Value string) : string_(std::move(string)) {}
  Value next() override {
    const std::string_view text = string_.as_string();
    if (position_ >= text.size()) {
      return Value();
    }
    const auto length = static_cast<size_t>(utf8_length(text.substr(position_)));
    position_ += length;
    return Value::string(std::string(text.substr(position_ - length, length)));
  }

 private:
  Value string_;
  size_t position_ = 0;
};

class EmptyIterator : public Iterator {
 public:
  Value next() override { return Value(); }
};

}  // namespace

void type_error(std::string message) {
  throw EvalError{ErrorKind::kType, std::move(message)};
}

void value_error(std::string message) {
  throw EvalError{ErrorKind::kValue, std::move(message)};
}

// ---- budget -----------------------------------------------------------------------------------

void Budget::charge(uint64_t count) {
  if (count > steps) {
    throw EvalError{ErrorKind::kLimit, "the template does too much work for one prompt"};
  }
  steps -= count;
}

void Budget::charge_text(uint64_t bytes) {
  if (bytes > text) {
    throw EvalError{ErrorKind::kLimit,
                    fmt::format("a string of {} bytes, at most {} are allowed", bytes, text)};
  }
  charge(1 + bytes / 16);
}

void Budget::check_stack() const {
  const auto* here = static_cast<const char*>(__builtin_frame_address(0));
  const auto used = here < stack ? stack - here : here - stack;
  if (static_cast<size_t>(used) > stack_bytes) {
    throw EvalError{ErrorKind::kLimit,
                    "the template is nested too deep, or calls itself too often"};
  }
}

// ---- construction -----------------------------------------------------------------------------

Value Value::none() {
  Value value;
  value.kind_ = Kind::kNone;
  return value;
}

Value Value::boolean(bool b) {
  Value value;
  value.kind_ = Kind::kBool;
  value.integer_ = b ? 1 : 0;
  return value;
}

Value Value::integer(int64_t i) {
  Value value;
  value.kind_ = Kind::kInt;
  value.integer_ = i;
  return value;
}

Value Value::number(double d) {
  Value value;
  value.kind_ = Kind::kFloat;
  value.number_ = d;
  return value;
}

Value Value::string(std::string text, bool markup) {
  auto data = std::make_shared<StringData>();
  data->text = std::move(text);
  data->markup = markup;
  Value value;
  value.kind_ = Kind::kString;
  value.payload_ = std::move(data);
  return value;
}

Value Value::undefined(std::string message) {
  Value value = string(std::move(message));
  value.kind_ = Kind::kUndefined;
  return value;
}

Value Value::list(List items) {
  auto data = std::make_shared<ListData>();
  data->depth = depth_of(items);
  data->items = std::move(items);
  Value value;
  value.kind_ = Kind::kList;
  value.payload_ = std::move(data);
  return value;
}

Value Value::tuple(List items, bool named) {
  Value value = list(std::move(items));
  value.kind_ = Kind::kTuple;
  static_cast<ListData&>(*value.payload_).named = named;
  return value;
}

Value Value::dict(Dict dict) {
  auto data = std::make_shared<DictData>();
  int depth = 0;
  for (const auto& [key, item] : dict.entries()) {
    depth = std::max({depth, key.depth(), item.depth()});
  }
  data->depth = checked_depth(depth);
  data->dict = std::move(dict);
  Value value;
  value.kind_ = Kind::kDict;
  value.payload_ = std::move(data);
  return value;
}

Value Value::object(std::shared_ptr<Object> object) {
  checked_depth(object->depth());
  Value value;
  value.kind_ = Kind::kObject;
  value.payload_ = std::move(object);
  return value;
}

const std::string& Value::as_string() const {
  return static_cast<const StringData&>(*payload_).text;
}

bool Value::is_markup() const {
  return is(Kind::kString) && static_cast<const StringData&>(*payload_).markup;
}

const List& Value::items() const {
  return static_cast<const ListData&>(*payload_).items;
}

bool Value::is_named_tuple() const {
  return is(Kind::kTuple) && static_cast<const ListData&>(*payload_).named;
}

const Dict& Value::as_dict() const {
  return static_cast<const DictData&>(*payload_).dict;
}

Object& Value::as_object() const {
  return static_cast<Object&>(*payload_);
}

int Value::depth() const {
  switch (kind_) {
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<const ListData&>(*payload_).depth;
    case Kind::kDict:
      return static_cast<const DictData&>(*payload_).depth;
    case Kind::kObject:
      return as_object().depth();
    default:
      return 0;
  }
}

bool Value::same_as(const Value& other) const {
  if (kind_ != other.kind_) {
    return false;
  }
  if (payload_ != nullptr || other.payload_ != nullptr) {
    return payload_ == other.payload_;
  }
  return is(Kind::kFloat) ? number_ == other.number_ : integer_ == other.integer_;
}

// ---- dict -------------------------------------------------------------------------------------

namespace {

constexpr size_t kNone = static_cast<size_t>(-1);
constexpr size_t kIndexFrom = 8;  // shorter dicts are searched

/// Equality of keys: they are small, and their depth is limited.
bool same_key(const Value& a, const Value& b) {
  if (a.is(Kind::kString) && b.is(Kind::kString)) {
    return a.as_string() == b.as_string();
  }
  Budget budget{.steps = uint64_t{1} << 24, .text = 0};
  budget.stack = static_cast<const char*>(__builtin_frame_address(0));
  return equal(a, b, budget);
}

}  // namespace

size_t Dict::position(const Value& key, size_t hash) const {
  if (index_.empty()) {
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (same_key(entries_[i].first, key)) {
        return i;
      }
    }
    return kNone;
  }
  const auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    if (same_key(entries_[it->second].first, key)) {
      return it->second;
    }
  }
  return kNone;
}

const Value* Dict::find(const Value& key) const {
  const size_t i = position(key, hash_of(key));
  return i == kNone ? nullptr : &entries_[i].second;
}

const Value* Dict::find(std::string_view key) const {
  if (!index_.empty()) {
    return find(Value::string(std::string(key)));
  }
  for (const Entry& entry : entries_) {
    if (entry.first.is(Kind::kString) && entry.first.as_string() == key) {
      return &entry.second;
    }
  }
  return nullptr;
}

void Dict::set(const Value& key, Value value) {
  const size_t hash = hash_of(key);
  const size_t i = position(key, hash);
  if (i != kNone) {
    entries_[i].second = std::move(value);
    return;
  }
  entries_.emplace_back(key, std::move(value));
  if (!index_.empty()) {
    index_.emplace(hash, entries_.size() - 1);
  } else if (entries_.size() > kIndexFrom) {
    for (size_t k = 0; k < entries_.size(); ++k) {
      index_.emplace(hash_of(entries_[k].first), k);
    }
  }
}

void Dict::set(std::string_view key, Value value) {
  set(Value::string(std::string(key)), std::move(value));
}

// ---- objects ----------------------------------------------------------------------------------

Value Object::call(Interpreter&, Args) {
  type_error(fmt::format("'{}' object is not callable", type_name()));
}

Value Object::attribute(Interpreter&, std::string_view) {
  return Value();
}

Value Object::item(const Value&) {
  type_error(fmt::format("'{}' object is not subscriptable", type_name()));
}

std::unique_ptr<Iterator> Object::iterate() {
  return nullptr;
}

// ---- truth, equality, order -------------------------------------------------------------------

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kMissing:
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_double() != 0;
    case Kind::kString:
      return !value.as_string().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !value.items().empty();
    case Kind::kDict:
      return value.as_dict().size() > 0;
    case Kind::kObject:
      break;
  }
  return value.as_object().truth();
}

namespace {

/// -1, 0, 1, or 2 when one is NaN; exact for integers beyond 2^53.
int compare_numbers(const Value& a, const Value& b) {
  if (a.is_whole() && b.is_whole()) {
    return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int();
  }
  const auto x = a.is_whole() ? static_cast<long double>(a.as_int()) : a.as_double();
  const auto y = b.is_whole() ? static_cast<long double>(b.as_int()) : b.as_double();
  if (std::isnan(x) || std::isnan(y)) {
    return 2;
  }
  return x < y ? -1 : x > y;
}

}  // namespace

bool equal(const Value& a, const Value& b, Budget& budget) {
  budget.charge(1);
  budget.check_stack();
  if (a.is_number() && b.is_number()) {
    return compare_numbers(a, b) == 0;
  }
  if (a.kind() != b.kind()) {
    return false;
  }
  switch (a.kind()) {
    case Kind::kMissing:
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      budget.charge(std::min(a.as_string().size(), b.as_string().size()) / 64);
      return a.as_string() == b.as_string();
    case Kind::kList:
    case Kind::kTuple: {
      const List& x = a.items();
      const List& y = b.items();
      if (x.size() != y.size()) {
        return false;
      }
      for (size_t i = 0; i < x.size(); ++i) {
        if (!x[i].same_as(y[i]) && !equal(x[i], y[i], budget)) {
          return false;
        }
      }
      return true;
    }
    case Kind::kDict: {
      if (a.as_dict().size() != b.as_dict().size()) {
        return false;
      }
      for (const auto& [key, item] : a.as_dict().entries()) {
        const Value* other = b.as_dict().find(key);
        if (other == nullptr || (!item.same_as(*other) && !equal(item, *other, budget))) {
          return false;
        }
      }
      return true;
    }
    default:
      return a.as_object().equals(b.as_object(), budget);
  }
}

bool compare(const Value& a, Order order, const Value& b, Budget& budget) {
  budget.charge(1);
  budget.check_stack();
  const bool greater = order == Order::kGreater || order == Order::kGreaterEqual;
  const bool or_equal = order == Order::kLessEqual || order == Order::kGreaterEqual;
  for (const Value* value : {&a, &b}) {
    if (value->is(Kind::kUndefined)) {
      undefined_error(*value);
    }
  }
  const auto decide = [&](int sign) {
    return sign == 0 ? or_equal : (greater ? sign == 1 : sign == -1);
  };
  if (a.is_number() && b.is_number()) {
    return decide(compare_numbers(a, b));
  }
  if (a.is(Kind::kString) && b.is(Kind::kString)) {  // UTF-8 sorts as the code points do
    budget.charge(std::min(a.as_string().size(), b.as_string().size()) / 64);
    const int sign = a.as_string().compare(b.as_string());
    return decide(sign < 0 ? -1 : sign > 0);
  }
  if (a.is_sequence() && a.kind() == b.kind()) {
    const List& x = a.items();
    const List& y = b.items();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!x[i].same_as(y[i]) && !equal(x[i], y[i], budget)) {
        return compare(x[i], order, y[i], budget);
      }
    }
    return decide(x.size() < y.size() ? -1 : x.size() > y.size());
  }
  const char* sign = greater ? (or_equal ? ">=" : ">") : (or_equal ? "<=" : "<");
  type_error(fmt::format("'{}' not supported between instances of '{}' and '{}'", sign,
                         type_name(a), type_name(b)));
}

bool less(const Value& a, const Value& b, Budget& budget) {
  return compare(a, Order::kLess, b, budget);
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  if (container.is(Kind::kString)) {
    if (!item.is(Kind::kString)) {
      type_error(
          fmt::format("'in <string>' requires string as left operand, not {}", type_name(item)));
    }
    budget.charge(1 + container.as_string().size() / 16);
    return container.as_string().find(item.as_string()) != std::string::npos;
  }
  if (container.is(Kind::kDict)) {
    budget.charge(item.is(Kind::kString) ? item.as_string().size() / 64 : 0);
    return container.as_dict().find(item) != nullptr;
  }
  const auto iterator = try_iterate(container);
  if (iterator == nullptr) {
    type_error(fmt::format("argument of type '{}' is not iterable", type_name(container)));
  }
  while (true) {
    const Value next = iterator->next();
    if (next.missing()) {
      return false;
    }
    if (next.same_as(item) || equal(next, item, budget)) {
      return true;
    }
  }
}

namespace {

constexpr size_t kMaxKeyParts = 64;  // of a tuple as a key, so that a look-up is cheap

size_t hash_tuple(const Value& value, size_t& parts) {
  size_t hash = 17;
  for (const Value& item : value.items()) {
    if (parts-- == 0) {
      throw EvalError{ErrorKind::kLimit, fmt::format("a key of more than {} parts", kMaxKeyParts)};
    }
    hash = hash * 31 + (item.is(Kind::kTuple) ? hash_tuple(item, parts) : hash_of(item));
  }
  return hash;
}

}  // namespace

size_t hash_of(const Value& value) {
  switch (value.kind()) {
    case Kind::kBool:
    case Kind::kInt:
      return std::hash<double>()(static_cast<double>(value.as_int()));
    case Kind::kFloat:
      return std::hash<double>()(value.as_double());
    case Kind::kString:
      return std::hash<std::string>()(value.as_string());
    case Kind::kTuple: {
      size_t parts = kMaxKeyParts;
      return hash_tuple(value, parts);
    }
    case Kind::kList:
    case Kind::kDict:
      type_error(fmt::format("unhashable type: '{}'", type_name(value)));
    case Kind::kObject:
      return std::hash<const void*>()(&value.as_object());
    default:
      return static_cast<size_t>(value.kind());
  }
}

// ---- sequences --------------------------------------------------------------------------------

int64_t count_characters(std::string_view text) {
  int64_t count = 0;
  for (const char c : text) {
    count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  }
  return count;
}

size_t character_offset(std::string_view text, int64_t index) {
  size_t i = 0;
  for (; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80 && index-- == 0) {
      return i;
    }
  }
  return text.size();
}

int64_t length_of(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return count_characters(value.as_string());
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<int64_t>(value.items().size());
    case Kind::kDict:
      return static_cast<int64_t>(value.as_dict().size());
    case Kind::kObject:
      if (const auto length = value.as_object().length()) {
        return *length;
      }
      break;
    default:
      break;
  }
  type_error(fmt::format("object of type '{}' has no len()", type_name(value)));
}

std::unique_ptr<Iterator> try_iterate(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return std::make_unique<EmptyIterator>();
    case Kind::kString:
      return std::make_unique<CharacterIterator>(value);
    case Kind::kList:
    case Kind::kTuple:
      return std::make_unique<ListIterator>(value);
    case Kind::kDict:
      return std::make_unique<KeyIterator>(value);
    case Kind::kObject:
      return value.as_object().iterate();
    default:
      return nullptr;
  }
}

std::unique_ptr<Iterator> iterate(const Value& value) {
  auto iterator = try_iterate(value);
  if (iterator == nullptr) {
    type_error(fmt::format("'{}' object is not iterable", type_name(value)));
  }
  return iterator;
}

List list_of(const Value& value, Budget& budget) {
  if (value.is_sequence()) {
    budget.charge(value.items().size());
    return value.items();
  }
  List out;
  const auto iterator = iterate(value);
  for (Value item = iterator->next(); !item.missing(); item = iterator->next()) {
    budget.charge(1);
    out.push_back(std::move(item));
  }
  return out;
}

}  // namespace tessera::text::jinja

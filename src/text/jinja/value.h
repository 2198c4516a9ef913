// The values of a template: Python's None, bool, int (64 bits), float, str, list, tuple, dict and
// jinja2's Undefined, with objects (ranges, generators, macros …) behind one interface. Strings are
// UTF-8 and count in code points. Lists, tuples and dicts never change once they are made, so that
// values may be shared freely; every container knows its depth, which is limited, so that nothing
// here recurses without bound.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tessera::text::jinja {

/// Python's exception classes, as far as something catches them.
enum class ErrorKind {
  kType,
  kValue,
  kLookup,
  kOverflow,
  kUndefined,
  kOther,        // ZeroDivisionError, SecurityError, RuntimeError …
  kRaised,       // raise_exception of the template
  kLimit,        // of tessera
  kUnsupported,  // jinja2 has it, tessera has not
};

/// An exception of the template; the interpreter turns it into a tessera error with the line.
struct EvalError {
  ErrorKind kind;
  std::string message;
};

[[noreturn]] void type_error(std::string message);
[[noreturn]] void value_error(std::string message);

/// What one rendering may cost.
struct Budget {
  uint64_t steps = 0;            // left; a node is one, so is an element or 16 bytes that are made
  size_t text = 0;               // longest string, in bytes
  const char* stack = nullptr;   // address near the start of the stack
  size_t stack_bytes = 1 << 21;  // how far it may grow from there

  void charge(uint64_t count);
  /// Charges for a string of `bytes`, which must not be too long.
  void charge_text(uint64_t bytes);
  void check_stack() const;
};

enum class Kind : uint8_t {
  kMissing,  // no value: an unset variable, an argument that was not given
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kObject,
};

struct Payload {
  virtual ~Payload() = default;
};

class Value;
class Dict;
class Object;
using List = std::vector<Value>;
constexpr int kMaxDepth = 1000;  // of nested containers

class Value {
 public:
  Value() = default;  // kMissing
  static Value none();
  static Value boolean(bool value);
  static Value integer(int64_t value);
  static Value number(double value);
  static Value string(std::string text, bool markup = false);
  /// Throws EvalError when it would be nested too deep.
  static Value list(List items);
  static Value tuple(List items, bool named = false);
  static Value dict(Dict dict);
  static Value object(std::shared_ptr<Object> object);
  /// `message`: what an operation on it says.
  static Value undefined(std::string message);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool missing() const { return kind_ == Kind::kMissing; }
  bool is_number() const { return is(Kind::kBool) || is(Kind::kInt) || is(Kind::kFloat); }
  bool is_whole() const { return is(Kind::kBool) || is(Kind::kInt); }
  bool is_sequence() const { return is(Kind::kList) || is(Kind::kTuple); }

  // Each needs the right kind.
  bool as_bool() const { return integer_ != 0; }
  int64_t as_int() const { return integer_; }  // kBool, kInt
  double as_double() const { return is(Kind::kFloat) ? number_ : static_cast<double>(integer_); }
  const std::string& as_string() const;  // kString; of kUndefined its message
  bool is_markup() const;                // a string that `safe` or `escape` made
  const List& items() const;             // kList, kTuple
  bool is_named_tuple() const;           // of groupby
  const Dict& as_dict() const;
  Object& as_object() const;
  template <class T>
  T* object_as() const;  // null for other objects and kinds

  int depth() const;
  bool same_as(const Value& other) const;  // Python's `is`

 private:
  Kind kind_ = Kind::kMissing;
  union {
    int64_t integer_ = 0;
    double number_;
  };
  std::shared_ptr<Payload> payload_;
};

/// A dict in insertion order. Keys must be hashable.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  /// Null without; throws a type error for a key that cannot be hashed.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  void set(const Value& key, Value value);
  void set(std::string_view key, Value value);

 private:
  size_t position(const Value& key, size_t hash) const;

  std::vector<Entry> entries_;
  std::unordered_multimap<size_t, size_t> index_;  // hash -> entry
};

/// The elements of an iterable, one by one.
class Iterator {
 public:
  virtual ~Iterator() = default;
  /// Missing at the end.
  virtual Value next() = 0;
};

struct Args {
  List positional;
  std::vector<std::pair<std::string, Value>> named;
};

class Interpreter;

/// Whatever is neither data nor a constant. The defaults are those of a bare Python object.
class Object : public Payload, public std::enable_shared_from_this<Object> {
 public:
  virtual std::string type_name() const = 0;
  virtual std::string repr(Budget& budget) const = 0;
  virtual bool callable() const { return false; }
  virtual Value call(Interpreter& interpreter, Args args);
  /// The Python attribute `name`; missing without.
  virtual Value attribute(Interpreter& interpreter, std::string_view name);
  /// `self[key]`; throws a type or look-up error.
  virtual Value item(const Value& key);
  virtual std::unique_ptr<Iterator> iterate();  // null: cannot be iterated
  virtual std::optional<int64_t> length() { return std::nullopt; }
  virtual bool truth() const { return true; }
  virtual bool has_getitem() const { return false; }
  virtual bool equals(const Object& other, Budget&) const { return this == &other; }
  virtual std::unique_ptr<Iterator> reversed() { return nullptr; }
  virtual int depth() const { return 1; }
};

template <class T>
T* Value::object_as() const {
  return is(Kind::kObject) ? dynamic_cast<T*>(payload_.get()) : nullptr;
}

// ---- what Python does with values -----------------------------------------------------------

std::string type_name(const Value& value);
bool truth(const Value& value);
/// `str(value)`; an Undefined is "".
std::string to_text(const Value& value, Budget& budget);
std::string repr(const Value& value, Budget& budget);
std::string repr_text(std::string_view text);
std::string repr_number(double value);
bool equal(const Value& a, const Value& b, Budget& budget);
/// `a < b`; throws a type error for values that have no order.
bool less(const Value& a, const Value& b, Budget& budget);
enum class Order { kLess, kLessEqual, kGreater, kGreaterEqual };
bool compare(const Value& a, Order order, const Value& b, Budget& budget);
bool contains(const Value& container, const Value& item, Budget& budget);
size_t hash_of(const Value& value);
int64_t length_of(const Value& value);
/// Throws a type error when the value is no iterable.
std::unique_ptr<Iterator> iterate(const Value& value);
/// Null where `iterate` would throw.
std::unique_ptr<Iterator> try_iterate(const Value& value);
List list_of(const Value& value, Budget& budget);

/// Length of UTF-8 text in code points.
int64_t count_characters(std::string_view text);
/// Byte offset of the code point `index` (at most the length).
size_t character_offset(std::string_view text, int64_t index);

/// Parameters of one call of a built-in function.
class Bound {
 public:
  /// Throws a type error for too many, unknown, doubled or missing arguments.
  Bound(std::string_view function,
        Args args,
        std::vector<std::string_view> names,
        size_t required,
        bool positional_only = false);
  const Value& operator[](size_t i) const { return values_[i]; }
  bool given(size_t i) const { return !values_[i].missing(); }
  /// An integer (or bool) argument, `fallback` when it is not given.
  int64_t integer(size_t i, int64_t fallback) const;
  const std::string& string(size_t i) const;
  bool flag(size_t i, bool fallback) const;

 private:
  std::string function_;
  std::vector<std::string_view> names_;
  List values_;
};

}  // namespace tessera::text::jinja

// Objects that templates meet: bound methods and functions, generators, ranges, views of dicts,
// namespaces, cyclers and joiners.
#pragma once

#include "text/jinja/builtins.h"
#include "text/jinja/value.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace tessera::text::jinja {

/// A built-in function or a method bound to its value.
class BuiltinFunction : public Object {
 public:
  using Body = std::function<Value(Interpreter&, Args)>;
  BuiltinFunction(std::string name, Body body, int depth = 1)
      : name_(std::move(name)), body_(std::move(body)), depth_(depth) {}

  std::string type_name() const override { return "builtin_function_or_method"; }
  std::string repr(Budget&) const override { return "<built-in method " + name_ + ">"; }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, Args args) override {
    return body_(interpreter, std::move(args));
  }
  int depth() const override { return depth_; }

 private:
  std::string name_;
  Body body_;
  int depth_;
};

/// What `map`, `select` … return: made when they are read, and read once.
class Generator : public Object {
 public:
  using Next = std::function<Value()>;  // missing at the end
  Generator(Budget& budget, Next next, int depth)
      : budget_(budget), next_(std::move(next)), depth_(depth) {}

  std::string type_name() const override { return "generator"; }
  std::string repr(Budget&) const override { return "<generator object>"; }
  std::unique_ptr<Iterator> iterate() override;
  int depth() const override { return depth_; }
  Value next();

 private:
  Budget& budget_;
  Next next_;
  int depth_;
};

class Range : public Object {
 public:
  Range(int64_t start, int64_t stop, int64_t step, int64_t count)
      : start_(start), stop_(stop), step_(step), count_(count) {}

  std::string type_name() const override { return "range"; }
  std::string repr(Budget& budget) const override;
  std::unique_ptr<Iterator> iterate() override;
  std::unique_ptr<Iterator> reversed() override;
  std::optional<int64_t> length() override { return count_; }
  bool truth() const override { return count_ > 0; }
  bool has_getitem() const override { return true; }
  Value item(const Value& key) override;
  bool equals(const Object& other, Budget& budget) const override;
  Value attribute(Interpreter& interpreter, std::string_view name) override;
  Value slice(const Value& start, const Value& stop, const Value& step) const;
  int64_t at(int64_t i) const { return start_ + i * step_; }

 private:
  int64_t start_;
  int64_t stop_;
  int64_t step_;
  int64_t count_;
};

/// keys(), values() and items() of a dict.
class DictView : public Object {
 public:
  enum class What { kKeys, kValues, kItems };
  DictView(Value dict, What what) : dict_(std::move(dict)), what_(what) {}

  std::string type_name() const override;
  std::string repr(Budget& budget) const override;
  std::unique_ptr<Iterator> iterate() override;
  std::unique_ptr<Iterator> reversed() override;
  std::optional<int64_t> length() override;
  bool truth() const override { return dict_.as_dict().size() > 0; }
  bool equals(const Object& other, Budget& budget) const override;
  int depth() const override { return dict_.depth() + 1; }
  Value entry(size_t i) const;

 private:
  Value dict_;
  What what_;
};

class Namespace : public Object {
 public:
  explicit Namespace(Dict attributes) : attributes_(std::move(attributes)) {}

  std::string type_name() const override { return "TemplateNamespace"; }
  std::string repr(Budget& budget) const override;
  Value attribute(Interpreter& interpreter, std::string_view name) override;
  void set(const std::string& name, Value value);
  void clear() { attributes_ = {}; }

 private:
  Dict attributes_;
};

class Cycler : public Object {
 public:
  explicit Cycler(List items) : items_(Value::list(std::move(items))) {}

  std::string type_name() const override { return "Cycler"; }
  std::string repr(Budget&) const override { return "<jinja2.utils.Cycler object>"; }
  Value attribute(Interpreter& interpreter, std::string_view name) override;
  int depth() const override { return items_.depth() + 1; }

 private:
  Value items_;
  size_t position_ = 0;
};

class Joiner : public Object {
 public:
  explicit Joiner(Value separator) : separator_(std::move(separator)) {}

  std::string type_name() const override { return "Joiner"; }
  std::string repr(Budget&) const override { return "<jinja2.utils.Joiner object>"; }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, Args args) override;
  int depth() const override { return separator_.depth() + 1; }

 private:
  Value separator_;
  bool used_ = false;
};

/// Wraps an iterator that C++ code makes.
std::unique_ptr<Iterator> make_iterator(std::function<Value()> next);
Value make_function(std::string name, BuiltinFunction::Body body, int depth = 1);
Value make_generator(Interpreter& interpreter, Generator::Next next, int depth);

}  // namespace tessera::text::jinja

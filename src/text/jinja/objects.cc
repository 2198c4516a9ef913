// Objects of templates: what they print, iterate and answer to. Sources: the Python 3 library
// reference (range, dict views) and pallets/jinja 3.1, utils.
#include "text/jinja/objects.h"

#include "text/jinja/operators.h"

#include <fmt/format.h>

namespace tessera::text::jinja {
namespace {

class FunctionIterator : public Iterator {
 public:
  explicit FunctionIterator(std::function<Value()> next) : next_(std::move(next)) {}
  Value next() override { return next_(); }

 private:
  std::function<Value()> next_;
};

}  // namespace

std::unique_ptr<Iterator> make_iterator(std::function<Value()> next) {
  return std::make_unique<FunctionIterator>(std::move(next));
}

Value make_function(std::string name, BuiltinFunction::Body body, int depth) {
  return Value::object(std::make_shared<BuiltinFunction>(std::move(name), std::move(body), depth));
}

Value make_generator(Interpreter& interpreter, Generator::Next next, int depth) {
  return Value::object(std::make_shared<Generator>(interpreter.budget(), std::move(next), depth));
}

// ---- generator --------------------------------------------------------------------------------

std::unique_ptr<Iterator> Generator::iterate() {
  auto self = std::static_pointer_cast<Generator>(shared_from_this());
  return make_iterator([self] { return self->next(); });
}

Value Generator::next() {
  budget_.charge(1);
  budget_.check_stack();
  if (next_ == nullptr) {
    return Value();
  }
  // Kept while it runs: it may come to read itself, which is an error in the reference too.
  Next running = std::exchange(next_, nullptr);
  Value value = running();
  if (!value.missing()) {
    next_ = std::move(running);
  }
  return value;
}

// ---- range ------------------------------------------------------------------------------------

std::string Range::repr(Budget&) const {
  return step_ == 1 ? fmt::format("range({}, {})", start_, stop_)
                    : fmt::format("range({}, {}, {})", start_, stop_, step_);
}

std::unique_ptr<Iterator> Range::iterate() {
  auto self = std::static_pointer_cast<Range>(shared_from_this());
  return make_iterator([self, i = int64_t{0}]() mutable {
    return i < self->count_ ? Value::integer(self->at(i++)) : Value();
  });
}

std::unique_ptr<Iterator> Range::reversed() {
  auto self = std::static_pointer_cast<Range>(shared_from_this());
  return make_iterator(
      [self, i = count_]() mutable { return i > 0 ? Value::integer(self->at(--i)) : Value(); });
}

Value Range::item(const Value& key) {
  if (!key.is_whole()) {
    type_error("range indices must be integers or slices");
  }
  const int64_t i = key.as_int() < 0 ? key.as_int() + count_ : key.as_int();
  if (i < 0 || i >= count_) {
    throw EvalError{ErrorKind::kLookup, "range object index out of range"};
  }
  return Value::integer(at(i));
}

bool Range::equals(const Object& other, Budget&) const {
  const auto* range = dynamic_cast<const Range*>(&other);
  return range != nullptr && count_ == range->count_ &&
         (count_ == 0 || (start_ == range->start_ && (count_ == 1 || step_ == range->step_)));
}

Value Range::attribute(Interpreter&, std::string_view name) {
  if (name == "start" || name == "step") {
    return Value::integer(name == "start" ? start_ : step_);
  }
  if (name == "index" || name == "count") {
    const auto self = std::static_pointer_cast<Range>(shared_from_this());
    const bool index = name == "index";
    return make_function(std::string(name), [self, index](Interpreter& interpreter, Args args) {
      const Bound bound("range", std::move(args), {"value"}, 1, true);
      for (int64_t i = 0; i < self->count_; ++i) {
        if (equal(Value::integer(self->at(i)), bound[0], interpreter.budget())) {
          return Value::integer(index ? i : 1);
        }
      }
      if (index) {
        value_error("the value is not in range");
      }
      return Value::integer(0);
    });
  }
  return name == "stop" ? Value::integer(stop_) : Value();
}

Value Range::slice(const Value& start, const Value& stop, const Value& step) const {
  const SliceRange range = slice_range(start, stop, step, count_);
  return Value::object(
      std::make_shared<Range>(at(range.start), at(range.stop), step_ * range.step, range.count));
}

// ---- dict views -------------------------------------------------------------------------------

std::string DictView::type_name() const {
  return what_ == What::kKeys ? "dict_keys" : what_ == What::kValues ? "dict_values" : "dict_items";
}

std::string DictView::repr(Budget& budget) const {
  List items;
  for (size_t i = 0; i < dict_.as_dict().size(); ++i) {
    items.push_back(entry(i));
  }
  return type_name() + "(" + jinja::repr(Value::list(std::move(items)), budget) + ")";
}

Value DictView::entry(size_t i) const {
  const Dict::Entry& entry = dict_.as_dict().entries()[i];
  switch (what_) {
    case What::kKeys:
      return entry.first;
    case What::kValues:
      return entry.second;
    case What::kItems:
      break;
  }
  return Value::tuple({entry.first, entry.second});
}

std::unique_ptr<Iterator> DictView::iterate() {
  auto self = std::static_pointer_cast<DictView>(shared_from_this());
  return make_iterator([self, i = size_t{0}]() mutable {
    return i < self->dict_.as_dict().size() ? self->entry(i++) : Value();
  });
}

std::unique_ptr<Iterator> DictView::reversed() {
  auto self = std::static_pointer_cast<DictView>(shared_from_this());
  return make_iterator(
      [self, i = dict_.as_dict().size()]() mutable { return i > 0 ? self->entry(--i) : Value(); });
}

std::optional<int64_t> DictView::length() {
  return static_cast<int64_t>(dict_.as_dict().size());
}

bool DictView::equals(const Object& other, Budget& budget) const {
  const auto* view = dynamic_cast<const DictView*>(&other);
  if (view == nullptr || what_ == What::kValues || view->what_ != what_ ||
      view->dict_.as_dict().size() != dict_.as_dict().size()) {
    return this == &other;
  }
  for (const auto& [key, value] : dict_.as_dict().entries()) {
    const Value* found = view->dict_.as_dict().find(key);
    if (found == nullptr || (what_ == What::kItems && !equal(value, *found, budget))) {
      return false;
    }
  }
  return true;
}

// ---- namespace, cycler, joiner ----------------------------------------------------------------

std::string Namespace::repr(Budget& budget) const {
  return "<Namespace " + jinja::repr(Value::dict(attributes_), budget) + ">";
}

Value Namespace::attribute(Interpreter&, std::string_view name) {
  const Value* found = attributes_.find(name);
  return found != nullptr ? *found : Value();
}

void Namespace::set(const std::string& name, Value value) {
  if (name.starts_with('_')) {
    throw EvalError{ErrorKind::kOther,
                    fmt::format("a namespace cannot have the attribute '{}': names that begin with "
                                "an underscore are reserved",
                                name)};
  }
  attributes_.set(name, std::move(value));
}

Value Cycler::attribute(Interpreter&, std::string_view name) {
  auto self = std::static_pointer_cast<Cycler>(shared_from_this());
  if (name == "current") {
    return items_.items()[position_];
  }
  if (name == "next") {
    return make_function(
        "next",
        [self](Interpreter&, Args args) {
          Bound("next", std::move(args), {}, 0);
          const List& items = self->items_.items();
          const size_t i = self->position_;
          self->position_ = (i + 1) % items.size();
          return items[i];
        },
        depth() + 1);
  }
  if (name == "reset") {
    return make_function(
        "reset",
        [self](Interpreter&, Args args) {
          Bound("reset", std::move(args), {}, 0);
          self->position_ = 0;
          return Value::none();
        },
        depth() + 1);
  }
  return name == "items" ? Value::tuple(items_.items())
         : name == "pos" ? Value::integer(static_cast<int64_t>(position_))
                         : Value();
}

Value Joiner::call(Interpreter&, Args args) {
  Bound("joiner", std::move(args), {}, 0);
  if (!used_) {
    used_ = true;
    return Value::string("");
  }
  return separator_;
}

}  // namespace tessera::text::jinja

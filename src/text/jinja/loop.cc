// The `loop` variable: its length is counted by reading the rest when the iterable has none, and
// `last` and `nextitem` read one item ahead. Source: pallets/jinja 3.1, runtime.LoopContext.
#include "text/jinja/loop.h"

#include "text/jinja/objects.h"

#include <fmt/format.h>

namespace tessera::text::jinja {

LoopContext::LoopContext(Interpreter& interpreter,
                         std::unique_ptr<Iterator> iterator,
                         Value iterable,
                         const Statement* recursive,
                         int64_t depth,
                         std::shared_ptr<Activation> home)
    : interpreter_(interpreter),
      iterator_(std::move(iterator)),
      iterable_(std::move(iterable)),
      recursive_(recursive),
      depth0_(depth),
      home_(std::move(home)) {}

std::string LoopContext::repr(Budget&) const {
  auto& self = const_cast<LoopContext&>(*this);  // counting may read the rest
  return fmt::format("<LoopContext {}/{}>", index0_ + 1, *self.length());
}

Value LoopContext::next() {
  Value value = after_.missing() ? iterator_->next() : std::exchange(after_, Value());
  if (value.missing()) {
    return value;
  }
  ++index0_;
  before_ = std::exchange(current_, value);
  return value;
}

void LoopContext::finish() {
  before_ = current_ = after_ = Value();
  last_changed_.reset();
  home_ = nullptr;
  iterator_ = jinja::iterate(Value::undefined(""));  // nothing more
}

const Value& LoopContext::peek() {
  if (after_.missing()) {
    after_ = iterator_->next();
  }
  return after_;
}

std::optional<int64_t> LoopContext::length() {
  if (length_) {
    return length_;
  }
  try {
    if (!iterable_.missing()) {
      length_ = length_of(iterable_);
      return length_;
    }
  } catch (const EvalError& error) {
    if (error.kind != ErrorKind::kType) {
      throw;
    }
  }
  List rest;
  for (Value item = iterator_->next(); !item.missing(); item = iterator_->next()) {
    interpreter_.budget().charge(1);
    rest.push_back(std::move(item));
  }
  length_ = static_cast<int64_t>(rest.size()) + index0_ + 1 + (after_.missing() ? 0 : 1);
  iterator_ = jinja::iterate(Value::list(std::move(rest)));
  return length_;
}

bool LoopContext::changed(const List& values) {
  Value now = Value::tuple(values);
  if (last_changed_ && equal(*last_changed_, now, interpreter_.budget())) {
    return false;
  }
  last_changed_ = std::move(now);
  return true;
}

Value LoopContext::call(Interpreter&, Args args) {
  const Bound bound("loop", std::move(args), {"iterable"}, 1);
  if (recursive_ == nullptr || home_ == nullptr) {
    type_error("The loop must have the 'recursive' marker to be called recursively.");
  }
  return Value::string(interpreter_.run_recursive(*recursive_, bound[0], depth0_ + 1, home_));
}

Value LoopContext::attribute(Interpreter&, std::string_view name) {
  const auto self = std::static_pointer_cast<LoopContext>(shared_from_this());
  if (name == "index" || name == "index0") {
    return Value::integer(index0_ + (name == "index" ? 1 : 0));
  }
  if (name == "first") {
    return Value::boolean(index0_ == 0);
  }
  if (name == "last") {
    return Value::boolean(peek().missing());
  }
  if (name == "length") {
    return Value::integer(*length());
  }
  if (name == "revindex" || name == "revindex0") {
    return Value::integer(*length() - index0_ - (name == "revindex" ? 0 : 1));
  }
  if (name == "depth" || name == "depth0") {
    return Value::integer(depth0_ + (name == "depth" ? 1 : 0));
  }
  if (name == "previtem") {
    return index0_ == 0 || before_.missing() ? Value::undefined("there is no previous item")
                                             : before_;
  }
  if (name == "nextitem") {
    const Value& item = peek();
    return item.missing() ? Value::undefined("there is no next item") : item;
  }
  if (name == "cycle") {
    return make_function(
        "cycle",
        [self](Interpreter&, Args args) {
          if (args.positional.empty()) {
            type_error("no items for cycling given");
          }
          const auto count = static_cast<int64_t>(args.positional.size());
          return args.positional[static_cast<size_t>(self->index0_ % count)];
        },
        depth() + 1);
  }
  if (name == "changed") {
    return make_function(
        "changed",
        [self](Interpreter&, Args args) { return Value::boolean(self->changed(args.positional)); },
        depth() + 1);
  }
  return Value();
}

}  // namespace tessera::text::jinja

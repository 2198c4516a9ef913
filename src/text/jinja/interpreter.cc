// Runs statements and expressions of a template. Loops, macros and captured blocks follow the code
// that jinja2 generates: `else` of a loop runs unless some pass reached the body's end, arguments
// of macros are bound in order with `caller`, `kwargs` and `varargs` on demand, `loop` reads one
// item ahead when it is asked for `last`. Source: pallets/jinja 3.1, compiler and runtime.
#include "text/jinja/interpreter.h"

#include "text/jinja/builtins.h"
#include "text/jinja/loop.h"
#include "text/jinja/objects.h"
#include "text/jinja/operators.h"
#include "text/jinja/parser.h"

#include <fmt/format.h>

namespace tessera::text::jinja {
namespace {

/// Sets a variable for the time of a scope.
template <class T>
class Restore {
 public:
  Restore(T& variable, T value) : variable_(variable), saved_(std::move(variable)) {
    variable_ = std::move(value);
  }
  ~Restore() { variable_ = std::move(saved_); }
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;

 private:
  T& variable_;
  T saved_;
};

}  // namespace

Interpreter::Interpreter(const Tree& tree, Dict context, Budget budget, std::tm now)
    : tree_(tree), context_(std::move(context)), budget_(budget), now_(now) {}

Interpreter::~Interpreter() {
  activation_ = nullptr;
  for (const auto& activation : captured_) {
    activation->slots.clear();
    activation->outer = nullptr;
  }
  for (const auto& item : namespaces_) {
    item->clear();
  }
}

std::string Interpreter::run() {
  budget_.stack = static_cast<const char*>(__builtin_frame_address(0));
  std::string out;
  out_ = &out;
  root_out_ = &out;
  activation_ = std::make_shared<Activation>();
  activation_->slots.resize(static_cast<size_t>(tree_.root.slots));
  enter(tree_.root.loads);
  run_block(tree_.body);
  return out;
}

// ---- variables --------------------------------------------------------------------------------

Value& Interpreter::variable(VariableRef reference) {
  Activation* activation = activation_.get();
  for (int i = 0; i < reference.hops; ++i) {
    activation = activation->outer.get();
  }
  return activation->slots[static_cast<size_t>(reference.slot)];
}

Value Interpreter::context_value(const std::string& name) const {
  const Value* found = context_.find(name);
  return found != nullptr ? *found : find_global(name);
}

void Interpreter::enter(const VariableLoads& loads) {
  budget_.charge(loads.size());
  for (const VariableLoad& load : loads) {
    variable(load.target) = load.from == VariableLoad::From::kContext    ? context_value(load.name)
                            : load.from == VariableLoad::From::kVariable ? variable(load.source)
                                                                         : Value();
  }
}

void Interpreter::clear(const std::vector<VariableRef>& variables) {
  for (const VariableRef reference : variables) {
    variable(reference) = Value();
  }
}

void Interpreter::assign(const Expression& target, const Value& value) {
  switch (target.kind) {
    case ExpressionKind::kName:
      variable(target.variable) = value;
      return;
    case ExpressionKind::kNamespaceRef:
      variable(target.variable).object_as<Namespace>()->set(target.constant.as_string(), value);
      return;
    default:
      break;
  }
  const List items = list_of(value, budget_);
  const size_t wanted = target.children.size();
  if (items.size() != wanted) {
    value_error(items.size() > wanted
                    ? fmt::format("too many values to unpack (expected {})", wanted)
                    : fmt::format("not enough values to unpack (expected {}, got {})", wanted,
                                  items.size()));
  }
  for (size_t i = 0; i < wanted; ++i) {
    assign(*target.children[i], items[i]);
  }
}

Value Interpreter::read_target(const Expression& target) {
  if (target.kind == ExpressionKind::kName) {
    return variable(target.variable);
  }
  List items;
  for_children(target, [&](const Expression& child) { items.push_back(read_target(child)); });
  return Value::tuple(std::move(items));
}

Value Interpreter::make_namespace(Dict attributes) {
  auto item = std::make_shared<Namespace>(std::move(attributes));
  namespaces_.push_back(item);
  return Value::object(std::move(item));
}

void Interpreter::write(std::string_view text) {
  budget_.charge(text.size() / 16);
  if (text.size() > budget_.text - std::min(budget_.text, out_->size())) {
    throw EvalError{ErrorKind::kLimit,
                    fmt::format("the output is longer than {} bytes", budget_.text)};
  }
  *out_ += text;
}

/// What filter and call blocks give goes out as it is: only text may.
void Interpreter::write_result(const Value& value) {
  if (!value.is(Kind::kString)) {
    type_error(fmt::format("sequence item: expected str instance, {} found", type_name(value)));
  }
  write(value.as_string());
}

// ---- statements -------------------------------------------------------------------------------

Interpreter::Flow Interpreter::run_block(const Block& body) {
  budget_.check_stack();
  for (const StatementPtr& statement : body) {
    const Flow flow = run_statement(*statement);
    if (flow != Flow::kNext) {
      return flow;
    }
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_statement(const Statement& node) {
  budget_.charge(1);
  line_ = node.line;
  switch (node.kind) {
    case StatementKind::kData:
      write(node.text);
      break;
    case StatementKind::kOutput: {
      const Value value = evaluate(*node.value);
      write(value.is(Kind::kString) ? value.as_string() : to_text(value, budget_));
      break;
    }
    case StatementKind::kIf:
      return run_if(node);
    case StatementKind::kFor:
      return run_for(node);
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
    case StatementKind::kSet:
      run_set(node);
      break;
    case StatementKind::kSetBlock:
    case StatementKind::kFilterBlock:
      return run_captured(node);
    case StatementKind::kWith:
      return run_with(node);
    case StatementKind::kMacro:
      variable(node.variable) = make_macro(node);
      break;
    case StatementKind::kCallBlock:
      run_call_block(node);
      break;
    case StatementKind::kGeneration:
      run_generation(node);
      break;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_if(const Statement& node) {
  if (truth(evaluate(*node.test))) {
    return run_block(node.body);
  }
  for (const StatementPtr& alternative : node.alternatives) {
    if (truth(evaluate(*alternative->test))) {
      return run_block(alternative->body);
    }
  }
  return run_block(node.otherwise);
}

namespace {

/// Every namespace that a target names must be one.
template <class Variable>
void check_namespaces(const Expression& target, Variable&& variable) {
  if (target.kind == ExpressionKind::kNamespaceRef &&
      variable(target.variable).template object_as<Namespace>() == nullptr) {
    throw EvalError{ErrorKind::kOther, "cannot assign attribute on non-namespace object"};
  }
  for_children(target, [&](const Expression& child) { check_namespaces(child, variable); });
}

}  // namespace

void Interpreter::run_set(const Statement& node) {
  check_namespaces(*node.target,
                   [this](VariableRef reference) -> Value& { return variable(reference); });
  const Value value = evaluate(*node.value);
  line_ = node.line;
  assign(*node.target, value);
}

Interpreter::Flow Interpreter::run_captured(const Statement& node) {
  enter(node.loads);
  std::string text;
  {
    const Restore<std::string*> capture(out_, &text);
    const Flow flow = run_block(node.body);
    if (flow != Flow::kNext) {
      return flow;
    }
  }
  line_ = node.line;
  Value value = Value::string(std::move(text));
  if (node.value != nullptr) {
    value = evaluate_filter(*node.value, &value);
  }
  if (node.kind == StatementKind::kSetBlock) {
    check_namespaces(*node.target,
                     [this](VariableRef reference) -> Value& { return variable(reference); });
    assign(*node.target, value);
  } else {
    write_result(value);
  }
  clear(node.clears);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_with(const Statement& node) {
  enter(node.loads);
  for (size_t i = 0; i < node.parameters.size(); ++i) {
    assign(*node.parameters[i], evaluate(*node.defaults[i]));
  }
  const Flow flow = run_block(node.body);
  clear(node.clears);
  return flow;
}

// ---- loops ------------------------------------------------------------------------------------

/// The items of a loop that pass its `if`.
class TestedIterator : public Iterator {
 public:
  TestedIterator(Interpreter& interpreter,
                 const Statement& node,
                 const Value& iterable,
                 std::shared_ptr<Activation> home)
      : interpreter_(interpreter),
        node_(node),
        iterator_(jinja::iterate(iterable)),
        activation_(std::make_shared<Activation>()) {
    activation_->slots.resize(static_cast<size_t>(node.test_function->slots));
    activation_->outer = std::move(home);
  }

  Value next() override {
    const Restore<std::shared_ptr<Activation>> scope(interpreter_.activation_, activation_);
    if (!entered_) {
      interpreter_.enter(node_.test_function->loads);
      entered_ = true;
    }
    while (true) {
      const Value item = iterator_->next();
      if (item.missing()) {
        return item;
      }
      interpreter_.assign(*node_.test_target, item);
      if (truth(interpreter_.evaluate(*node_.test))) {
        return interpreter_.read_target(*node_.test_target);
      }
    }
  }

 private:
  Interpreter& interpreter_;
  const Statement& node_;
  std::unique_ptr<Iterator> iterator_;
  std::shared_ptr<Activation> activation_;
  bool entered_ = false;
};

Interpreter::Flow Interpreter::run_for(const Statement& node) {
  const Value iterable = evaluate(*node.value);
  line_ = node.line;
  if (!node.recursive) {
    return run_loop(node, iterable, nullptr, 0, activation_);
  }
  write(run_recursive(node, iterable, 0, activation_));
  return Flow::kNext;
}

std::string Interpreter::run_recursive(const Statement& node,
                                       const Value& iterable,
                                       int64_t depth,
                                       std::shared_ptr<Activation> home) {
  budget_.check_stack();
  auto activation = std::make_shared<Activation>();
  activation->slots.resize(static_cast<size_t>(node.function->slots));
  activation->outer = home;
  std::string text;
  const Restore<std::shared_ptr<Activation>> scope(activation_, std::move(activation));
  const Restore<std::string*> capture(out_, &text);
  run_loop(node, iterable, &node, depth, std::move(home));
  return text;
}

namespace {

/// Ends a loop however it is left: its variable and what it iterates hold each other.
struct Finisher {
  LoopContext* loop;
  ~Finisher() {
    if (loop != nullptr) {
      loop->finish();
    }
  }
};

}  // namespace

/// `home`: the activation in which the loop's statement stands.
Interpreter::Flow Interpreter::run_loop(const Statement& node,
                                        const Value& iterable,
                                        const Statement* recursive,
                                        int64_t depth,
                                        std::shared_ptr<Activation> home) {
  std::unique_ptr<Iterator> iterator;
  bool sized = true;
  if (node.test != nullptr) {
    iterator = std::make_unique<TestedIterator>(*this, node, iterable, home);
    sized = false;
  } else {
    iterator = iterate(iterable);
  }
  std::shared_ptr<LoopContext> loop;
  if (node.uses_loop) {
    loop = std::make_shared<LoopContext>(*this, std::move(iterator), sized ? iterable : Value(),
                                         recursive, depth, home);
  }
  const Finisher finisher{loop.get()};
  const auto next = [&] { return loop != nullptr ? loop->next() : iterator->next(); };
  bool completed = false;
  for (Value item = next(); !item.missing(); item = next()) {
    budget_.charge(1);
    assign(*node.target, item);
    if (loop != nullptr) {
      variable(node.variable) = Value::object(loop);
    }
    enter(node.loads);
    const Flow flow = run_block(node.body);
    if (flow == Flow::kBreak) {
      break;
    }
    completed |= flow == Flow::kNext;
    line_ = node.line;
  }
  clear(node.clears);
  if (completed || node.otherwise.empty()) {
    return Flow::kNext;
  }
  enter(node.otherwise_loads);
  return run_block(node.otherwise);
}

// ---- macros -----------------------------------------------------------------------------------

/// A macro, or the body of a call block as `caller`.
class Macro : public Object {
 public:
  Macro(const Statement& node, std::shared_ptr<Activation> home)
      : node_(node), home_(std::move(home)) {}

  std::string type_name() const override { return "Macro"; }
  std::string repr(Budget&) const override {
    return node_.kind == StatementKind::kMacro ? "<Macro " + repr_text(node_.text) + ">"
                                               : "<Macro anonymous>";
  }
  bool callable() const override { return true; }

  Value call(Interpreter& interpreter, Args args) override {
    return Value::string(interpreter.run_macro(node_, bind(interpreter, std::move(args)), home_));
  }

  Value attribute(Interpreter&, std::string_view name) override {
    if (name == "name") {
      return node_.kind == StatementKind::kMacro ? Value::string(node_.text) : Value::none();
    }
    if (name == "arguments") {
      List names;
      for (const ExpressionPtr& parameter : node_.parameters) {
        names.push_back(Value::string(parameter->name));
      }
      return Value::tuple(std::move(names));
    }
    return name == "catch_kwargs"    ? Value::boolean(node_.function->uses_kwargs)
           : name == "catch_varargs" ? Value::boolean(node_.function->uses_varargs)
           : name == "caller"        ? Value::boolean(node_.function->uses_caller)
                                     : Value();
  }

 private:
  static Value take(Args& args, std::string_view name) {
    for (auto it = args.named.begin(); it != args.named.end(); ++it) {
      if (it->first == name) {
        Value value = std::move(it->second);
        args.named.erase(it);
        return value;
      }
    }
    return Value();
  }

  /// The parameters' values (missing when not given), then caller, kwargs, varargs as they are
  /// used.
  List bind(Interpreter&, Args args) const {
    const Function& function = *node_.function;
    const size_t count = node_.parameters.size();
    const size_t given = std::min(count, args.positional.size());
    const auto end = args.positional.begin() + static_cast<std::ptrdiff_t>(given);
    List out(args.positional.begin(), end);
    bool found_caller = false;
    for (size_t i = 0; i < count; ++i) {
      const bool is_caller = node_.parameters[i]->name == "caller";
      found_caller |= is_caller;
      if (i >= given) {
        out.push_back(take(args, node_.parameters[i]->name));
      }
    }
    if (function.uses_caller && !found_caller) {
      Value caller = take(args, "caller");
      out.push_back(caller.missing() || caller.is(Kind::kNone)
                        ? Value::undefined("No caller defined")
                        : std::move(caller));
    }
    if (function.uses_kwargs) {
      Dict kwargs;
      for (auto& [name, value] : args.named) {
        kwargs.set(name, std::move(value));
      }
      out.push_back(Value::dict(std::move(kwargs)));
    } else if (!args.named.empty()) {
      type_error(fmt::format("macro '{}' takes no keyword argument '{}'", node_.text,
                             args.named.front().first));
    }
    if (function.uses_varargs) {
      out.push_back(Value::tuple(List(end, args.positional.end())));
    } else if (args.positional.size() > count) {
      type_error(fmt::format("macro '{}' takes not more than {} argument(s)", node_.text, count));
    }
    return out;
  }

  const Statement& node_;
  std::shared_ptr<Activation> home_;
};

Value Interpreter::make_macro(const Statement& node) {
  if (!activation_->captured) {
    for (auto a = activation_; a != nullptr && !a->captured; a = a->outer) {
      a->captured = true;
      captured_.push_back(a);
    }
  }
  return Value::object(std::make_shared<Macro>(node, activation_));
}

std::string Interpreter::run_macro(const Statement& node,
                                   const List& arguments,
                                   std::shared_ptr<Activation> home) {
  budget_.check_stack();
  const Function& function = *node.function;
  auto activation = std::make_shared<Activation>();
  activation->slots.resize(static_cast<size_t>(function.slots));
  activation->outer = std::move(home);
  const Restore<std::shared_ptr<Activation>> scope(activation_, std::move(activation));
  std::string text;
  const Restore<std::string*> capture(out_, &text);
  const size_t count = node.parameters.size();
  size_t extra = count;
  for (size_t i = 0; i < count; ++i) {
    variable(function.parameters[i]) = arguments[i];
  }
  for (const VariableRef reference : {function.caller, function.kwargs, function.varargs}) {
    if (reference.slot >= 0) {
      variable(reference) = arguments[extra++];
    }
  }
  enter(function.loads);
  for (size_t i = 0; i < count; ++i) {
    Value& slot = variable(function.parameters[i]);
    if (!slot.missing()) {
      continue;
    }
    const size_t first = count - node.defaults.size();
    Value value = i < first ? Value::undefined(fmt::format("parameter '{}' was not provided",
                                                           node.parameters[i]->name))
                            : evaluate(*node.defaults[i - first]);
    variable(function.parameters[i]) = std::move(value);
  }
  run_block(node.body);
  return text;
}

void Interpreter::run_call_block(const Statement& node) {
  const Value text = evaluate_call(*node.value, make_macro(node));
  line_ = node.line;
  write_result(text);
}

void Interpreter::run_generation(const Statement& node) {
  const size_t begin = root_out_->size();
  const Value text = call(make_macro(node), {});
  generated_.emplace_back(begin, begin + text.as_string().size());
  write(text.as_string());
}

// ---- expressions ------------------------------------------------------------------------------

Value Interpreter::evaluate(const Expression& node) {
  budget_.charge(1);
  line_ = node.line;
  const auto child = [&](size_t i) { return evaluate(*node.children[i]); };
  const auto children = [&] {
    List items;
    items.reserve(node.children.size());
    for (const ExpressionPtr& item : node.children) {
      items.push_back(evaluate(*item));
    }
    return items;
  };
  switch (node.kind) {
    case ExpressionKind::kConstant:
      return node.constant;
    case ExpressionKind::kName:
    case ExpressionKind::kNamespaceRef:
      return evaluate_name(node);
    case ExpressionKind::kTuple:
      return Value::tuple(children());
    case ExpressionKind::kList:
      return Value::list(children());
    case ExpressionKind::kDict:
      return evaluate_dict(node);
    case ExpressionKind::kAttribute: {
      const Value value = child(0);
      line_ = node.line;
      return get_attribute(value, node.name);
    }
    case ExpressionKind::kItem: {
      const Value value = child(0);
      const Value key = child(1);
      line_ = node.line;
      return get_item(value, key);
    }
    case ExpressionKind::kSlice: {
      const Value value = child(0);
      const auto part = [&](size_t i) { return node.children[i] ? child(i) : Value(); };
      const Value start = part(1);
      const Value stop = part(2);
      const Value step = part(3);
      line_ = node.line;
      if (const auto* range = value.object_as<Range>()) {
        return range->slice(start, stop, step);
      }
      return slice(value, start, stop, step, budget_);
    }
    case ExpressionKind::kCall:
      return evaluate_call(node, Value());
    case ExpressionKind::kFilter:
      return evaluate_filter(node, nullptr);
    case ExpressionKind::kTest:
      return evaluate_test(node);
    case ExpressionKind::kBinary: {
      const Value left = child(0);
      const Value right = child(1);
      line_ = node.line;
      const std::string& sign = node.name;
      const Operator op = sign == "+"    ? Operator::kAdd
                          : sign == "-"  ? Operator::kSub
                          : sign == "*"  ? Operator::kMul
                          : sign == "/"  ? Operator::kDiv
                          : sign == "//" ? Operator::kFloorDiv
                          : sign == "%"  ? Operator::kMod
                                         : Operator::kPow;
      return apply(op, left, right, budget_);
    }
    case ExpressionKind::kAnd: {
      Value left = child(0);
      return truth(left) ? child(1) : left;
    }
    case ExpressionKind::kOr: {
      Value left = child(0);
      return truth(left) ? left : child(1);
    }
    case ExpressionKind::kNot:
      return Value::boolean(!truth(child(0)));
    case ExpressionKind::kNegative:
      return negate(child(0));
    case ExpressionKind::kPositive:
      return positive(child(0));
    case ExpressionKind::kConcat: {
      std::string text;
      for (const Value& item : children()) {
        text += to_text(item, budget_);
        budget_.charge_text(text.size());
      }
      return Value::string(std::move(text));
    }
    case ExpressionKind::kCompare:
      return evaluate_compare(node);
    case ExpressionKind::kConditional:
      if (truth(child(1))) {
        return child(0);
      }
      return node.children[2] ? child(2)
                              : Value::undefined(
                                    "the inline if-expression evaluated to false and no else "
                                    "section was defined");
  }
  return Value();
}

Value Interpreter::evaluate_name(const Expression& node) {
  const Value& value = variable(node.variable);
  return value.missing() ? Value::undefined(fmt::format("'{}' is undefined", node.name)) : value;
}

Value Interpreter::evaluate_dict(const Expression& node) {
  Dict dict;
  for (size_t i = 0; i < node.children.size(); i += 2) {
    const Value key = evaluate(*node.children[i]);
    dict.set(key, evaluate(*node.children[i + 1]));
  }
  return Value::dict(std::move(dict));
}

bool Interpreter::compare_with(const std::string& sign, const Value& left, const Value& right) {
  if (sign == "==" || sign == "!=") {
    return equal(left, right, budget_) == (sign == "==");
  }
  if (sign == "in" || sign == "not in") {
    return contains(right, left, budget_) == (sign == "in");
  }
  const Order order = sign == "<"    ? Order::kLess
                      : sign == "<=" ? Order::kLessEqual
                      : sign == ">"  ? Order::kGreater
                                     : Order::kGreaterEqual;
  return compare(left, order, right, budget_);
}

Value Interpreter::evaluate_compare(const Expression& node) {
  Value left = evaluate(*node.children[0]);
  for (size_t i = 0; i < node.operators.size(); ++i) {
    Value right = evaluate(*node.children[i + 1]);
    line_ = node.line;
    if (!compare_with(node.operators[i], left, right)) {
      return Value::boolean(false);
    }
    left = std::move(right);
  }
  return Value::boolean(true);
}

Args Interpreter::evaluate_arguments(const Expression& node) {
  Args args;
  for (const ExpressionPtr& argument : node.arguments) {
    args.positional.push_back(evaluate(*argument));
  }
  if (node.star != nullptr) {
    for (Value& value : list_of(evaluate(*node.star), budget_)) {
      args.positional.push_back(std::move(value));
    }
  }
  for (const auto& [name, argument] : node.keywords) {
    args.named.emplace_back(name, evaluate(*argument));
  }
  if (node.star_star != nullptr) {
    const Value more = evaluate(*node.star_star);
    if (!more.is(Kind::kDict)) {
      type_error("the argument after ** must be a mapping");
    }
    for (const auto& [key, value] : more.as_dict().entries()) {
      if (!key.is(Kind::kString)) {
        type_error("keywords must be strings");
      }
      for (const auto& [name, other] : args.named) {
        if (name == key.as_string()) {
          type_error(fmt::format("got multiple values for keyword argument '{}'", name));
        }
      }
      args.named.emplace_back(key.as_string(), value);
    }
  }
  return args;
}

Value Interpreter::evaluate_call(const Expression& node, Value caller) {
  const Value callee = evaluate(*node.children[0]);
  Args args = evaluate_arguments(node);
  if (!caller.missing()) {
    args.named.emplace_back("caller", std::move(caller));
  }
  line_ = node.line;
  return call(callee, std::move(args));
}

Value Interpreter::evaluate_filter(const Expression& node, const Value* input) {
  const ExpressionPtr& child = node.children[0];
  const Value value = child == nullptr ? *input
                      : input != nullptr && child->kind == ExpressionKind::kFilter
                          ? evaluate_filter(*child, input)
                          : evaluate(*child);
  Args args = evaluate_arguments(node);
  line_ = node.line;
  return call_filter(node.name, *this, value, std::move(args));
}

Value Interpreter::evaluate_test(const Expression& node) {
  const Value value = evaluate(*node.children[0]);
  Args args = evaluate_arguments(node);
  line_ = node.line;
  return Value::boolean(call_test(node.name, *this, value, std::move(args)));
}

}  // namespace tessera::text::jinja

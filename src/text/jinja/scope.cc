// Which variable a name means. jinja2 compiles templates to Python functions and decides at compile
// time where a name lives: every scope (loop, macro, with, set block, call block, filter block)
// lists the names that it stores or reads, and says on entry where each begins: in the caller's
// context, as a copy of the variable around it, or unset. A macro called before a later `{% set %}`
// of its template therefore sees an unset variable, not the caller's. This file makes the same
// decisions. Source: pallets/jinja 3.1, idtracking and compiler.
#include "text/jinja/builtins.h"
#include "text/jinja/parser.h"

#include <fmt/format.h>

#include <map>
#include <set>

namespace tessera::text::jinja {
namespace {

/// A function that is being bound.
struct FunctionScope {
  Function* function;
  int depth;
  std::map<std::string, int> slots;  // "level name"
  uint64_t* work;                    // names copied for branches, over the whole template
};

constexpr uint64_t kMaxWork = 4'000'000;

struct Identifier {
  FunctionScope* function = nullptr;
  int slot = -1;

  auto operator<=>(const Identifier&) const = default;
};

struct Load {
  enum class Action { kParameter, kResolve, kAlias, kUndefined };
  Action action;
  std::string name;
  Identifier source;
};

struct Symbols {
  Symbols* parent;
  int level;
  FunctionScope* function;
  std::map<std::string, Identifier> refs{};
  std::map<Identifier, Load> loads{};
  std::set<std::string> stores{};

  Identifier define(const std::string& name, Load load) {
    const std::string key = std::to_string(level) + ' ' + name;
    const auto [it, added] = function->slots.emplace(key, function->function->slots);
    function->function->slots += added ? 1 : 0;
    const Identifier identifier{function, it->second};
    refs[name] = identifier;
    loads[identifier] = std::move(load);
    return identifier;
  }

  const Identifier* find(const std::string& name) const {
    for (const Symbols* scope = this; scope != nullptr; scope = scope->parent) {
      if (const auto it = scope->refs.find(name); it != scope->refs.end()) {
        return &it->second;
      }
    }
    return nullptr;
  }

  void store(const std::string& name) {
    stores.insert(name);
    if (refs.contains(name)) {
      return;
    }
    const Identifier* outer = parent != nullptr ? parent->find(name) : nullptr;
    define(name, outer != nullptr ? Load{Load::Action::kAlias, name, *outer}
                                  : Load{Load::Action::kUndefined, name, {}});
  }

  void load(const std::string& name) {
    if (find(name) == nullptr) {
      define(name, {Load::Action::kResolve, name, {}});
    }
  }

  Identifier declare(const std::string& name) {
    stores.insert(name);
    return define(name, {Load::Action::kParameter, name, {}});
  }

  /// Takes over what the branches of an `if` found: a name stored in one of them may be unset.
  void merge(const std::vector<Symbols>& branches) {
    std::set<std::string> stored;
    for (const Symbols& branch : branches) {
      stored.insert(branch.stores.begin(), branch.stores.end());
    }
    for (const std::string& name : stores) {
      stored.erase(name);
    }
    for (const Symbols& branch : branches) {
      for (const auto& [name, identifier] : branch.refs) {
        refs[name] = identifier;
      }
      for (const auto& [identifier, action] : branch.loads) {
        loads[identifier] = action;
      }
      stores.insert(branch.stores.begin(), branch.stores.end());
    }
    for (const std::string& name : stored) {
      const Identifier* outer = parent != nullptr ? parent->find(name) : nullptr;
      loads[*find(name)] = outer != nullptr ? Load{Load::Action::kAlias, name, *outer}
                                            : Load{Load::Action::kResolve, name, {}};
    }
  }
};

// ---- what a scope's statements read and store, inner scopes left out -------------------------

void find_reads(Symbols& symbols, const Expression& expression) {
  if (expression.kind == ExpressionKind::kName ||
      expression.kind == ExpressionKind::kNamespaceRef) {
    symbols.load(expression.name);
  }
  for_children(expression, [&](const Expression& child) { find_reads(symbols, child); });
}

void find_stores(Symbols& symbols, const Expression& target, bool as_parameter) {
  if (target.kind == ExpressionKind::kName) {
    if (as_parameter) {
      symbols.declare(target.name);
    } else {
      symbols.store(target.name);
    }
  } else if (target.kind == ExpressionKind::kNamespaceRef) {
    symbols.load(target.name);
  } else {
    for_children(target,
                 [&](const Expression& child) { find_stores(symbols, child, as_parameter); });
  }
}

void find_symbols(Symbols& symbols, const Statement& node);

void find_symbols(Symbols& symbols, const Block& body) {
  for (const StatementPtr& statement : body) {
    find_symbols(symbols, *statement);
  }
}

void find_in_if(Symbols& symbols, const Statement& node) {
  find_reads(symbols, *node.test);
  *symbols.function->work += symbols.refs.size() + symbols.loads.size();
  if (*symbols.function->work > kMaxWork) {
    throw EvalError{ErrorKind::kLimit, "the template has too many branches and names"};
  }
  std::vector<Symbols> branches(3, symbols);
  find_symbols(branches[0], node.body);
  for (const StatementPtr& alternative : node.alternatives) {
    find_in_if(branches[1], *alternative);
  }
  find_symbols(branches[2], node.otherwise);
  symbols.merge(branches);
}

void find_symbols(Symbols& symbols, const Statement& node) {
  switch (node.kind) {
    case StatementKind::kOutput:
    case StatementKind::kFor:
    case StatementKind::kCallBlock:
    case StatementKind::kFilterBlock:
      find_reads(symbols, *node.value);
      break;
    case StatementKind::kIf:
      find_in_if(symbols, node);
      break;
    case StatementKind::kSet:
      find_reads(symbols, *node.value);
      find_stores(symbols, *node.target, false);
      break;
    case StatementKind::kSetBlock:
      find_stores(symbols, *node.target, false);
      break;
    case StatementKind::kWith:
      for (const ExpressionPtr& value : node.defaults) {
        find_reads(symbols, *value);
      }
      break;
    case StatementKind::kMacro:
      symbols.store(node.text);
      break;
    case StatementKind::kData:
    case StatementKind::kBreak:
    case StatementKind::kContinue:
    case StatementKind::kGeneration:
      break;
  }
}

/// Finds which of some names are read before they are stored, inner scopes included.
class UndeclaredNames {
 public:
  explicit UndeclaredNames(std::set<std::string> names) : names_(std::move(names)) {}

  const std::set<std::string>& visit(const Block& body) {
    for (const StatementPtr& statement : body) {
      visit(*statement);
    }
    return found_;
  }

 private:
  void visit(const Expression& node, bool target) {
    if (node.kind == ExpressionKind::kName) {
      if (!target && names_.contains(node.name)) {
        found_.insert(node.name);
      } else if (target) {
        names_.erase(node.name);
      }
    }
    for_children(node, [&](const Expression& child) { visit(child, target); });
  }

  void visit(const ExpressionPtr& node, bool target) {
    if (node != nullptr) {
      visit(*node, target);
    }
  }

  void visit(const Statement& node) {
    if (node.kind == StatementKind::kFor) {
      visit(node.target, true);
      visit(node.value, false);
      visit(node.body);
      visit(node.otherwise);
      visit(node.test, false);
      return;
    }
    if (node.kind == StatementKind::kFilterBlock) {
      visit(node.body);
      visit(node.value, false);
      return;
    }
    visit(node.target, true);
    visit(node.value, false);
    visit(node.test, false);
    for (const ExpressionPtr& parameter : node.parameters) {
      visit(parameter, true);
    }
    for (const ExpressionPtr& value : node.defaults) {
      visit(value, false);
    }
    visit(node.body);
    for (const StatementPtr& alternative : node.alternatives) {
      visit(*alternative);
    }
    visit(node.otherwise);
  }

  std::set<std::string> names_;
  std::set<std::string> found_;
};

ExpressionPtr clone_target(const Expression& target) {
  auto copy = std::make_unique<Expression>();
  copy->kind = target.kind;
  copy->line = target.line;
  copy->name = target.name;
  for_children(target,
               [&](const Expression& child) { copy->children.push_back(clone_target(child)); });
  return copy;
}

// ---- binding ----------------------------------------------------------------------------------

class Binder {
 public:
  explicit Binder(int* line) : line_(*line) {}

  void run(Tree& tree) {
    uint64_t work = 0;
    FunctionScope function{&tree.root, 0, {}, &work};
    Symbols symbols{nullptr, 0, &function};
    find_symbols(symbols, tree.body);
    bind_block(tree.body, symbols, false);
    tree.root.loads = loads_of(symbols);
  }

 private:
  [[noreturn]] void fail(const std::string& message) {
    throw EvalError{ErrorKind::kOther, message};
  }

  static VariableRef reference(const Identifier& identifier, const FunctionScope& from) {
    return {from.depth - identifier.function->depth, identifier.slot};
  }

  static VariableRef reference(const Symbols& symbols, const std::string& name) {
    return reference(*symbols.find(name), *symbols.function);
  }

  static VariableLoads loads_of(const Symbols& symbols) {
    VariableLoads out;
    for (const auto& [identifier, load] : symbols.loads) {
      const VariableRef target = reference(identifier, *symbols.function);
      if (load.action == Load::Action::kResolve) {
        out.push_back({target, VariableLoad::From::kContext, load.name, {}});
      } else if (load.action == Load::Action::kAlias) {
        out.push_back(
            {target, VariableLoad::From::kVariable, "", reference(load.source, *symbols.function)});
      } else if (load.action == Load::Action::kUndefined) {
        out.push_back({target, VariableLoad::From::kNothing, "", {}});
      }
    }
    return out;
  }

  static std::vector<VariableRef> clears_of(const Symbols& symbols) {
    std::vector<VariableRef> out;
    for (const auto& [identifier, load] : symbols.loads) {
      out.push_back(reference(identifier, *symbols.function));
    }
    return out;
  }

  void bind_expression(Expression& node, const Symbols& symbols, bool soft) {
    line_ = node.line;
    if (node.kind == ExpressionKind::kName || node.kind == ExpressionKind::kNamespaceRef) {
      node.variable = reference(symbols, node.name);
    } else if (node.kind == ExpressionKind::kFilter && !soft && !is_filter(node.name)) {
      fail(fmt::format("No filter named '{}'", node.name));
    } else if (node.kind == ExpressionKind::kTest && !soft && !is_test(node.name)) {
      fail(fmt::format("No test named '{}'", node.name));
    }
    soft |= node.kind == ExpressionKind::kConditional;
    for_children(node, [&](Expression& child) { bind_expression(child, symbols, soft); });
  }

  void bind_target(Expression& node, const Symbols& symbols) {
    if (node.kind == ExpressionKind::kName && node.name == "loop" && loops_ > 0) {
      line_ = node.line;
      fail("Can't assign to special loop variable in for-loop target");
    }
    if (node.kind == ExpressionKind::kTuple) {
      for_children(node, [&](Expression& child) { bind_target(child, symbols); });
    } else {
      bind_expression(node, symbols, false);
    }
  }

  void bind_block(Block& body, const Symbols& symbols, bool soft) {
    for (const StatementPtr& statement : body) {
      bind_statement(*statement, const_cast<Symbols&>(symbols), soft);
    }
  }

  void bind_statement(Statement& node, Symbols& symbols, bool soft) {
    line_ = node.line;
    switch (node.kind) {
      case StatementKind::kOutput:
        bind_expression(*node.value, symbols, soft);
        break;
      case StatementKind::kIf:
        bind_if(node, symbols);
        break;
      case StatementKind::kFor:
        bind_for(node, symbols, soft);
        break;
      case StatementKind::kSet:
        bind_expression(*node.value, symbols, soft);
        bind_target(*node.target, symbols);
        break;
      case StatementKind::kSetBlock:
      case StatementKind::kFilterBlock:
        bind_captured(node, symbols);
        break;
      case StatementKind::kWith:
        bind_with(node, symbols, soft);
        break;
      case StatementKind::kMacro:
        node.variable = reference(symbols, node.text);
        bind_function(node, symbols);
        break;
      case StatementKind::kCallBlock:
        bind_function(node, symbols);
        bind_expression(*node.value, symbols, soft);
        break;
      case StatementKind::kGeneration:
        bind_function(node, symbols);
        break;
      case StatementKind::kData:
      case StatementKind::kBreak:
      case StatementKind::kContinue:
        break;
    }
  }

  void bind_if(Statement& node, Symbols& symbols) {
    bind_expression(*node.test, symbols, true);
    bind_block(node.body, symbols, true);
    for (const StatementPtr& alternative : node.alternatives) {
      bind_expression(*alternative->test, symbols, true);
      bind_block(alternative->body, symbols, true);
    }
    bind_block(node.otherwise, symbols, true);
  }

  void bind_for(Statement& node, Symbols& symbols, bool soft) {
    FunctionScope inner{nullptr, symbols.function->depth + 1, {}, symbols.function->work};
    FunctionScope* function = symbols.function;
    if (node.recursive) {
      node.function = std::make_unique<Function>();
      inner.function = node.function.get();
      function = &inner;
    }
    Symbols loop{&symbols, symbols.level + 1, function};
    Symbols otherwise{&symbols, symbols.level + 1, function};
    node.uses_loop = node.recursive || !UndeclaredNames({"loop"}).visit(node.body).empty();
    if (node.uses_loop) {
      node.variable = reference(loop.declare("loop"), *function);
    }
    find_stores(loop, *node.target, true);
    find_symbols(loop, node.body);
    find_symbols(otherwise, node.otherwise);
    ++loops_;
    bind_test(node, symbols);
    bind_expression(*node.value, symbols, soft);
    bind_target(*node.target, loop);
    bind_block(node.body, loop, false);
    bind_block(node.otherwise, otherwise, false);
    --loops_;
    node.loads = loads_of(loop);
    node.clears = clears_of(loop);
    node.otherwise_loads = loads_of(otherwise);
  }

  void bind_test(Statement& node, Symbols& symbols) {
    if (node.test == nullptr) {
      return;
    }
    node.test_function = std::make_unique<Function>();
    FunctionScope function{
        node.test_function.get(), symbols.function->depth + 1, {}, symbols.function->work};
    Symbols test{&symbols, symbols.level + 1, &function};
    find_stores(test, *node.target, true);
    find_reads(test, *node.test);
    node.test_target = clone_target(*node.target);
    bind_target(*node.test_target, test);
    bind_expression(*node.test, test, false);
    node.test_function->loads = loads_of(test);
  }

  void bind_captured(Statement& node, Symbols& symbols) {
    Symbols inner{&symbols, symbols.level + 1, symbols.function};
    find_symbols(inner, node.body);
    if (node.value != nullptr) {
      find_reads(inner, *node.value);
    }
    bind_block(node.body, inner, false);
    if (node.value != nullptr) {
      bind_expression(*node.value, inner, false);
    }
    if (node.target != nullptr) {
      bind_target(*node.target, symbols);
    }
    node.loads = loads_of(inner);
    node.clears = clears_of(inner);
  }

  void bind_with(Statement& node, Symbols& symbols, bool soft) {
    Symbols inner{&symbols, symbols.level + 1, symbols.function};
    for (const ExpressionPtr& target : node.parameters) {
      find_stores(inner, *target, true);
    }
    find_symbols(inner, node.body);
    for (size_t i = 0; i < node.parameters.size(); ++i) {
      const int loops = std::exchange(loops_, 0);  // `loop` may be a parameter
      bind_target(*node.parameters[i], inner);
      loops_ = loops;
      bind_expression(*node.defaults[i], symbols, soft);
    }
    bind_block(node.body, inner, false);
    node.loads = loads_of(inner);
    node.clears = clears_of(inner);
  }

  void bind_function(Statement& node, Symbols& symbols) {
    node.function = std::make_unique<Function>();
    Function& function = *node.function;
    FunctionScope scope{&function, symbols.function->depth + 1, {}, symbols.function->work};
    Symbols inner{&symbols, symbols.level + 1, &scope};
    const auto analyze = [&] {
      for (const ExpressionPtr& parameter : node.parameters) {
        find_stores(inner, *parameter, true);
      }
      for (const ExpressionPtr& value : node.defaults) {
        find_reads(inner, *value);
      }
      find_symbols(inner, node.body);
    };
    analyze();
    const std::set<std::string> used =
        UndeclaredNames({"caller", "kwargs", "varargs"}).visit(node.body);
    const auto declare = [&](const char* name, bool* uses, VariableRef* variable) {
      for (size_t i = 0; i < node.parameters.size(); ++i) {
        if (node.parameters[i]->name == name) {
          if (name == std::string_view("caller") && used.contains(name) &&
              i + node.defaults.size() < node.parameters.size()) {
            fail("the parameter 'caller' must have a default");
          }
          *uses = name == std::string_view("caller") && used.contains(name);
          return;
        }
      }
      if (used.contains(name)) {
        *uses = true;
        *variable = reference(inner.declare(name), scope);
      }
    };
    declare("caller", &function.uses_caller, &function.caller);
    declare("kwargs", &function.uses_kwargs, &function.kwargs);
    declare("varargs", &function.uses_varargs, &function.varargs);
    for (const ExpressionPtr& parameter : node.parameters) {
      function.parameters.push_back(reference(inner, parameter->name));
    }
    for (const ExpressionPtr& value : node.defaults) {
      bind_expression(*value, inner, false);
    }
    bind_block(node.body, inner, false);
    function.loads = loads_of(inner);
  }

  int& line_;
  int loops_ = 0;  // `for` statements around
};

}  // namespace

void bind(Tree& tree, int* line) {
  Binder(line).run(tree);
}

}  // namespace tessera::text::jinja

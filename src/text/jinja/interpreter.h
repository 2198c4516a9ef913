// Runs the syntax tree of a template.
#pragma once

#include "text/jinja/ast.h"
#include "text/jinja/value.h"

#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tessera::text::jinja {

class Namespace;

/// The variables of one call of a template function.
struct Activation {
  std::vector<Value> slots;
  std::shared_ptr<Activation> outer;
  bool captured = false;  // by a macro
};

class Interpreter {
 public:
  Interpreter(const Tree& tree, Dict context, Budget budget, std::tm now);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  /// The text of the template; throws EvalError, with `line()` the place.
  std::string run();

  int line() const { return line_; }
  Budget& budget() { return budget_; }
  const std::tm& now() const { return now_; }
  /// [begin, end) bytes of the output that `{% generation %}` blocks made.
  const std::vector<std::pair<size_t, size_t>>& generated() const { return generated_; }

  /// `value.name` and `value[key]` of templates: an Undefined where there is nothing.
  Value get_attribute(const Value& value, std::string_view name);
  Value get_item(const Value& value, const Value& key);
  Value call(const Value& callee, Args args);

  /// A namespace; the interpreter ends the cycles that it may take part in.
  Value make_namespace(Dict attributes);

 private:
  friend class Macro;
  friend class LoopContext;
  friend class TestedIterator;
  enum class Flow { kNext, kBreak, kContinue };

  Flow run_block(const Block& body);
  Flow run_statement(const Statement& node);
  Flow run_if(const Statement& node);
  Flow run_for(const Statement& node);
  Flow run_loop(const Statement& node,
                const Value& iterable,
                const Statement* recursive,
                int64_t depth,
                std::shared_ptr<Activation> home);
  std::string run_recursive(const Statement& node,
                            const Value& iterable,
                            int64_t depth,
                            std::shared_ptr<Activation> home);
  void run_set(const Statement& node);
  Flow run_captured(const Statement& node);
  Flow run_with(const Statement& node);
  void run_call_block(const Statement& node);
  void run_generation(const Statement& node);
  Value make_macro(const Statement& node);
  std::string run_macro(const Statement& node,
                        const List& arguments,
                        std::shared_ptr<Activation> home);

  Value evaluate(const Expression& node);
  Value evaluate_name(const Expression& node);
  Value evaluate_dict(const Expression& node);
  Value evaluate_compare(const Expression& node);
  Value evaluate_call(const Expression& node, Value caller);
  Value evaluate_filter(const Expression& node, const Value* input);
  Value evaluate_test(const Expression& node);
  Args evaluate_arguments(const Expression& node);
  bool compare_with(const std::string& sign, const Value& left, const Value& right);

  Value& variable(VariableRef reference);
  void assign(const Expression& target, const Value& value);
  Value read_target(const Expression& target);
  void enter(const VariableLoads& loads);
  void clear(const std::vector<VariableRef>& variables);
  Value context_value(const std::string& name) const;
  void write(std::string_view text);
  void write_result(const Value& value);

  const Tree& tree_;
  Dict context_;
  Budget budget_;
  std::tm now_;
  int line_ = 1;
  std::shared_ptr<Activation> activation_;
  std::string* out_ = nullptr;
  const std::string* root_out_ = nullptr;
  std::vector<std::pair<size_t, size_t>> generated_;
  // Kept to the end and emptied one by one: they may hold each other, in cycles or long chains.
  std::vector<std::shared_ptr<Activation>> captured_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

}  // namespace tessera::text::jinja

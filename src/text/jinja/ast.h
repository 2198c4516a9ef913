// The syntax tree of a template. Names are bound to variables of functions by text/jinja/scope.cc:
// the root, a macro, the body of a call block and a recursive loop are functions with variables of
// their own, that those inside may use.
#pragma once

#include "text/jinja/value.h"

#include <memory>
#include <string>
#include <vector>

namespace tessera::text::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;
struct Statement;
using StatementPtr = std::unique_ptr<Statement>;
using Block = std::vector<StatementPtr>;

/// A variable: `hops` functions outwards from the one that runs, then its slot.
struct VariableRef {
  int hops = 0;
  int slot = -1;
};

/// What a scope does to one of its variables when it is entered.
struct VariableLoad {
  enum class From { kContext, kVariable, kNothing };
  VariableRef target;
  From from;
  std::string name;    // kContext
  VariableRef source;  // kVariable
};
using VariableLoads = std::vector<VariableLoad>;

enum class ExpressionKind {
  kConstant,
  kName,
  kNamespaceRef,  // name.attribute as the target of `set`
  kTuple,
  kList,
  kDict,  // children: key, value, key, value …
  kAttribute,
  kItem,    // children: value, key
  kSlice,   // children: value, start, stop, step (null when left out)
  kCall,    // children: callee
  kFilter,  // children: value (null in a filter block); name
  kTest,    // children: value; name
  kBinary,  // name is the operator: + - * / // % **
  kAnd,
  kOr,
  kNot,
  kNegative,
  kPositive,
  kConcat,
  kCompare,      // children: first, then the operands of `operators`
  kConditional,  // children: then, condition, else (null when left out)
};

struct Expression {
  ExpressionKind kind;
  int line = 0;
  int depth = 1;
  std::string name;  // of names, attributes, filters, tests, operators
  Value constant;
  std::vector<ExpressionPtr> children;
  std::vector<std::string> operators;  // kCompare
  // Calls, filters and tests.
  std::vector<ExpressionPtr> arguments;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  ExpressionPtr star;       // *arguments
  ExpressionPtr star_star;  // **keywords
  VariableRef variable;     // kName, kNamespaceRef
};

enum class StatementKind {
  kOutput,
  kData,
  kIf,
  kFor,
  kBreak,
  kContinue,
  kSet,
  kSetBlock,
  kWith,
  kMacro,
  kCallBlock,
  kGeneration,
  kFilterBlock,
};

/// A function of the template: root, macro, body of a call block, recursive loop, loop filter.
struct Function {
  int slots = 0;
  VariableLoads loads;
  std::vector<VariableRef> parameters;
  bool uses_caller = false;
  bool uses_kwargs = false;
  bool uses_varargs = false;
  VariableRef caller, kwargs, varargs;
};

struct Statement {
  StatementKind kind;
  int line = 0;
  std::string text;                       // kData; name of a macro
  ExpressionPtr target;                   // kSet, kSetBlock, kFor
  ExpressionPtr value;                    // kOutput, kSet, kFor, kCallBlock (the call), filters
  ExpressionPtr test;                     // kIf, kFor
  std::vector<ExpressionPtr> parameters;  // of macros and call blocks; targets of kWith
  std::vector<ExpressionPtr> defaults;    // of the last parameters; values of kWith
  Block body;
  Block otherwise;                         // else
  std::vector<StatementPtr> alternatives;  // elif: kIf statements
  bool recursive = false;

  // Set by the binder.
  VariableRef variable;    // of a macro's name; `loop` of a loop that uses it
  bool uses_loop = false;  // kFor
  VariableLoads loads;     // on entering the body
  VariableLoads otherwise_loads;
  std::vector<VariableRef> clears;          // variables that end with the body
  std::unique_ptr<Function> function;       // kMacro, kCallBlock, kGeneration, recursive kFor
  std::unique_ptr<Function> test_function;  // kFor with a test
  ExpressionPtr test_target;                // the loop's target, in the test's function
};

struct Tree {
  Block body;
  Function root;
};

}  // namespace tessera::text::jinja

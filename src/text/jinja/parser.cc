// Recursive-descent parser of templates. Precedence from loose to tight: if-else, or, and, not,
// comparison, + -, ~, * / // %, **, unary signs, then attributes, calls, filters and tests; filters
// bind tighter than any operator. Source: pallets/jinja 3.1, parser.
#include "text/jinja/parser.h"

#include "text/jinja/operators.h"
#include "text/jinja/token_cursor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>

namespace tessera::text::jinja {
namespace {

constexpr int kMaxExpressionDepth = 400;

class Parser : private TokenCursor {
 public:
  Parser(std::vector<Token> tokens, int* line) : TokenCursor(std::move(tokens), line) {
    budget_.stack = static_cast<const char*>(__builtin_frame_address(0));
    budget_.stack_bytes = size_t{1} << 19;
  }

  Block run() {
    Block body = parse_block({});
    return body;
  }

 private:
  // ---- nodes ----------------------------------------------------------------------------------

  ExpressionPtr make(ExpressionKind kind, int line) {
    auto node = std::make_unique<Expression>();
    node->kind = kind;
    node->line = line;
    return node;
  }

  /// Every node passes here once its parts are known: bounds the depth of the tree.
  ExpressionPtr finish(ExpressionPtr node) {
    for_children(*node, [&](const Expression& child) {
      node->depth = std::max(node->depth, child.depth + 1);
    });
    if (node->depth > kMaxExpressionDepth) {
      throw EvalError{ErrorKind::kLimit,
                      fmt::format("an expression nested deeper than {}", kMaxExpressionDepth)};
    }
    return node;
  }

  ExpressionPtr make_binary(
      ExpressionKind kind, std::string name, ExpressionPtr left, ExpressionPtr right, int line) {
    auto node = make(kind, line);
    node->name = std::move(name);
    node->children.push_back(std::move(left));
    node->children.push_back(std::move(right));
    return finish(std::move(node));
  }

  ExpressionPtr make_unary(ExpressionKind kind, ExpressionPtr child, int line) {
    auto node = make(kind, line);
    node->children.push_back(std::move(child));
    return finish(std::move(node));
  }

  static StatementPtr make_statement(StatementKind kind, int line) {
    auto node = std::make_unique<Statement>();
    node->kind = kind;
    node->line = line;
    return node;
  }

  // ---- statements -----------------------------------------------------------------------------

  /// Statements until a tag of `ends`, whose name is then the current token; without `ends` until
  /// the template's end.
  Block parse_block(Words ends) {
    budget_.check_stack();
    Block body;
    while (true) {
      const int line = current().line;
      if (at(TokenType::kEnd)) {
        if (ends.size() > 0) {
          fail(fmt::format("Unexpected end of template. Looking for '{}'", *(ends.end() - 1)));
        }
        return body;
      }
      if (at(TokenType::kData)) {
        auto data = make_statement(StatementKind::kData, line);
        data->text = next().text;
        body.push_back(std::move(data));
      } else if (at(TokenType::kVariableBegin)) {
        next();
        auto output = make_statement(StatementKind::kOutput, line);
        output->value = parse_tuple(true, {}, false);
        if (!at(TokenType::kVariableEnd)) {
          unexpected("end of print statement");
        }
        next();
        body.push_back(std::move(output));
      } else {
        next();
        if (at_any(ends)) {
          return body;
        }
        parse_statement(body);
        expect_block_end();
      }
    }
  }

  /// The body of a tag: its `%}`, statements, and the end's name, which is returned and taken.
  std::string parse_body(Block& body, Words ends) {
    skip_operator(":");
    expect_block_end();
    body = parse_block(ends);
    return next().text;
  }

  void parse_statement(Block& out) {
    if (!at(TokenType::kName)) {
      fail("tag name expected");
    }
    const std::string name = current().text;
    if (name == "for") {
      out.push_back(parse_for());
    } else if (name == "if") {
      out.push_back(parse_if());
    } else if (name == "set") {
      out.push_back(parse_set());
    } else if (name == "macro") {
      out.push_back(parse_macro());
    } else if (name == "call") {
      out.push_back(parse_call_block());
    } else if (name == "filter") {
      out.push_back(parse_filter_block());
    } else if (name == "with") {
      out.push_back(parse_with());
    } else if (name == "print") {
      parse_print(out);
    } else if (name == "generation") {
      out.push_back(make_statement(StatementKind::kGeneration, next().line));
      parse_function_body(out.back()->body, {"endgeneration"});
    } else if (name == "break" || name == "continue") {
      if (loops_ == 0) {
        fail(fmt::format("'{}' outside a loop", name));
      }
      out.push_back(make_statement(
          name == "break" ? StatementKind::kBreak : StatementKind::kContinue, next().line));
    } else {
      unknown_tag(name);
    }
  }

  [[noreturn]] void unknown_tag(const std::string& name) {
    constexpr std::array<std::string_view, 6> kOther = {"block",  "extends", "include",
                                                        "import", "from",    "autoescape"};
    line_ = current().line;
    if (std::find(kOther.begin(), kOther.end(), name) != kOther.end()) {
      throw EvalError{ErrorKind::kUnsupported,
                      fmt::format("the tag '{}': a chat template is one file of text", name)};
    }
    fail(fmt::format("Encountered unknown tag '{}'", name));
  }

  /// What is inside a function cannot leave a loop around it.
  std::string parse_function_body(Block& body, Words ends) {
    const int loops = std::exchange(loops_, 0);
    std::string end = parse_body(body, ends);
    loops_ = loops;
    return end;
  }

  StatementPtr parse_for() {
    auto node = make_statement(StatementKind::kFor, next().line);
    node->target = parse_target(true, false, {"in"});
    expect_name("in");
    node->value = parse_tuple(false, {"recursive"}, false);
    if (skip_name("if")) {
      node->test = parse_expression();
    }
    node->recursive = skip_name("recursive");
    const int outer = std::exchange(loops_, node->recursive ? 1 : loops_ + 1);
    const std::string end = parse_body(node->body, {"else", "endfor"});
    loops_ = node->recursive ? 0 : outer;
    if (end == "else") {
      parse_body(node->otherwise, {"endfor"});
    }
    loops_ = outer;
    return node;
  }

  StatementPtr parse_if() {
    auto node = make_statement(StatementKind::kIf, next().line);
    Statement* branch = node.get();
    while (true) {
      branch->test = parse_tuple(false, {}, false);
      const std::string end = parse_body(branch->body, {"elif", "else", "endif"});
      if (end == "elif") {
        node->alternatives.push_back(make_statement(StatementKind::kIf, current().line));
        branch = node->alternatives.back().get();
        continue;
      }
      if (end == "else") {
        parse_body(node->otherwise, {"endif"});
      }
      return node;
    }
  }

  StatementPtr parse_set() {
    const int line = next().line;
    ExpressionPtr target = parse_target(true, true, {});
    const bool block = !skip_operator("=");
    auto node = make_statement(block ? StatementKind::kSetBlock : StatementKind::kSet, line);
    node->target = std::move(target);
    if (block) {
      if (at_operator("|")) {
        node->value = parse_filters(nullptr);
      }
      parse_body(node->body, {"endset"});
    } else {
      node->value = parse_tuple(true, {}, false);
    }
    return node;
  }

  StatementPtr parse_with() {
    auto node = make_statement(StatementKind::kWith, next().line);
    while (!at(TokenType::kBlockEnd)) {
      if (!node->parameters.empty()) {
        expect_operator(",");
      }
      node->parameters.push_back(parse_target(true, false, {}));
      expect_operator("=");
      node->defaults.push_back(parse_expression());
    }
    parse_body(node->body, {"endwith"});
    return node;
  }

  void parse_signature(Statement& node) {
    expect_operator("(");
    while (!at_operator(")")) {
      if (!node.parameters.empty()) {
        expect_operator(",");
      }
      node.parameters.push_back(parse_target(false, false, {}));
      if (skip_operator("=")) {
        node.defaults.push_back(parse_expression());
      } else if (!node.defaults.empty()) {
        fail("non-default argument follows default argument");
      }
    }
    next();
  }

  StatementPtr parse_macro() {
    auto node = make_statement(StatementKind::kMacro, next().line);
    node->text = parse_target(false, false, {})->name;
    parse_signature(*node);
    parse_function_body(node->body, {"endmacro"});
    return node;
  }

  StatementPtr parse_call_block() {
    auto node = make_statement(StatementKind::kCallBlock, next().line);
    if (at_operator("(")) {
      parse_signature(*node);
    }
    node->value = parse_expression();
    if (node->value->kind != ExpressionKind::kCall) {
      fail("expected call");
    }
    parse_function_body(node->body, {"endcall"});
    return node;
  }

  StatementPtr parse_filter_block() {
    auto node = make_statement(StatementKind::kFilterBlock, next().line);
    node->value = parse_filters(parse_filter(nullptr));
    parse_body(node->body, {"endfilter"});
    return node;
  }

  void parse_print(Block& out) {
    next();
    while (!at(TokenType::kBlockEnd)) {
      auto node = make_statement(StatementKind::kOutput, current().line);
      node->value = parse_expression();
      out.push_back(std::move(node));
      if (!at(TokenType::kBlockEnd)) {
        expect_operator(",");
      }
    }
  }

  // ---- targets --------------------------------------------------------------------------------

  /// The target of an assignment: a name, and where allowed a tuple or `namespace.attribute`.
  ExpressionPtr parse_target(bool with_tuple, bool with_namespace, Words ends) {
    const int line = current().line;
    if (!with_tuple) {
      auto node = make(ExpressionKind::kName, line);
      node->name = expect_name();
      check_target(*node);
      return node;
    }
    std::vector<ExpressionPtr> items;
    bool is_tuple = false;
    while (true) {
      if (at_tuple_end(ends)) {
        break;
      }
      items.push_back(parse_primary(with_namespace));
      if (!skip_operator(",")) {
        break;
      }
      is_tuple = true;
    }
    if (!is_tuple && items.empty()) {
      fail(fmt::format("Expected an expression, got '{}'", describe(current())));
    }
    ExpressionPtr node;
    if (is_tuple) {
      node = make(ExpressionKind::kTuple, line);
      node->children = std::move(items);
      node = finish(std::move(node));
    } else {
      node = std::move(items[0]);
    }
    check_target(*node);
    return node;
  }

  void check_target(const Expression& node) {
    if (node.kind == ExpressionKind::kTuple) {
      for_children(node, [this](const Expression& child) { check_target(child); });
      return;
    }
    constexpr std::array<std::string_view, 6> kConstants = {"true", "false", "none",
                                                            "True", "False", "None"};
    const bool name =
        node.kind == ExpressionKind::kName &&
        std::find(kConstants.begin(), kConstants.end(), node.name) == kConstants.end();
    if (!name && node.kind != ExpressionKind::kNamespaceRef) {
      fail("can't assign to this expression");
    }
  }

  bool at_tuple_end(Words ends) const {
    return at(TokenType::kVariableEnd) || at(TokenType::kBlockEnd) || at_operator(")") ||
           at_any(ends);
  }

  // ---- expressions ----------------------------------------------------------------------------

  ExpressionPtr parse_tuple(bool with_conditional, Words ends, bool in_parentheses) {
    const int line = current().line;
    std::vector<ExpressionPtr> items;
    bool is_tuple = false;
    while (!at_tuple_end(ends)) {
      items.push_back(with_conditional ? parse_expression() : parse_or());
      if (!at_operator(",")) {
        break;
      }
      next();
      is_tuple = true;
    }
    if (!is_tuple) {
      if (!items.empty()) {
        return std::move(items[0]);
      }
      if (!in_parentheses) {
        fail(fmt::format("Expected an expression, got '{}'", describe(current())));
      }
    }
    auto node = make(ExpressionKind::kTuple, line);
    node->children = std::move(items);
    return finish(std::move(node));
  }

  ExpressionPtr parse_expression() {
    budget_.check_stack();
    const int line = current().line;
    ExpressionPtr value = parse_or();
    while (skip_name("if")) {
      auto node = make(ExpressionKind::kConditional, line);
      node->children.push_back(std::move(value));
      node->children.push_back(parse_or());
      node->children.push_back(skip_name("else") ? parse_expression() : nullptr);
      value = finish(std::move(node));
    }
    return value;
  }

  ExpressionPtr parse_or() {
    const int line = current().line;
    ExpressionPtr left = parse_and();
    while (skip_name("or")) {
      left = make_binary(ExpressionKind::kOr, "or", std::move(left), parse_and(), line);
    }
    return left;
  }

  ExpressionPtr parse_and() {
    const int line = current().line;
    ExpressionPtr left = parse_not();
    while (skip_name("and")) {
      left = make_binary(ExpressionKind::kAnd, "and", std::move(left), parse_not(), line);
    }
    return left;
  }

  ExpressionPtr parse_not() {
    budget_.check_stack();
    const int line = current().line;
    if (skip_name("not")) {
      return make_unary(ExpressionKind::kNot, parse_not(), line);
    }
    return parse_compare();
  }

  ExpressionPtr parse_compare() {
    constexpr std::array<std::string_view, 6> kOperators = {"==", "!=", "<", "<=", ">", ">="};
    const int line = current().line;
    auto node = make(ExpressionKind::kCompare, line);
    node->children.push_back(parse_sum());
    while (true) {
      if (at(TokenType::kOperator) &&
          std::find(kOperators.begin(), kOperators.end(), current().text) != kOperators.end()) {
        node->operators.push_back(next().text);
      } else if (skip_name("in")) {
        node->operators.emplace_back("in");
      } else if (at_name("not") && ahead().type == TokenType::kName && ahead().text == "in") {
        next();
        next();
        node->operators.emplace_back("not in");
      } else {
        break;
      }
      node->children.push_back(parse_sum());
    }
    return node->operators.empty() ? std::move(node->children[0]) : finish(std::move(node));
  }

  ExpressionPtr parse_sum() {
    const int line = current().line;
    ExpressionPtr left = parse_concat();
    while (at_operator("+") || at_operator("-")) {
      const std::string sign = next().text;
      left = make_binary(ExpressionKind::kBinary, sign, std::move(left), parse_concat(), line);
    }
    return left;
  }

  ExpressionPtr parse_concat() {
    auto node = make(ExpressionKind::kConcat, current().line);
    node->children.push_back(parse_product());
    while (skip_operator("~")) {
      node->children.push_back(parse_product());
    }
    return node->children.size() == 1 ? std::move(node->children[0]) : finish(std::move(node));
  }

  ExpressionPtr parse_product() {
    const int line = current().line;
    ExpressionPtr left = parse_power();
    while (at_operator("*") || at_operator("/") || at_operator("//") || at_operator("%")) {
      const std::string sign = next().text;
      left = make_binary(ExpressionKind::kBinary, sign, std::move(left), parse_power(), line);
    }
    return left;
  }

  ExpressionPtr parse_power() {
    const int line = current().line;
    ExpressionPtr left = parse_unary(true);
    while (skip_operator("**")) {
      left = make_binary(ExpressionKind::kBinary, "**", std::move(left), parse_unary(true), line);
    }
    return left;
  }

  ExpressionPtr parse_unary(bool with_filter) {
    budget_.check_stack();
    const int line = current().line;
    ExpressionPtr node;
    if (skip_operator("-")) {
      node = make_unary(ExpressionKind::kNegative, parse_unary(false), line);
    } else if (skip_operator("+")) {
      node = make_unary(ExpressionKind::kPositive, parse_unary(false), line);
    } else {
      node = parse_primary(false);
    }
    node = parse_postfix(std::move(node));
    return with_filter ? parse_filters_and_tests(std::move(node)) : std::move(node);
  }

  ExpressionPtr make_constant(Value value, int line) {
    auto node = make(ExpressionKind::kConstant, line);
    node->constant = std::move(value);
    return node;
  }

  ExpressionPtr parse_primary(bool with_namespace) {
    const int line = current().line;
    switch (current().type) {
      case TokenType::kName:
        return parse_name(with_namespace);
      case TokenType::kString: {
        std::string text;
        while (at(TokenType::kString)) {
          text += next().text;
        }
        return make_constant(Value::string(std::move(text)), line);
      }
      case TokenType::kInteger:
        return make_constant(Value::integer(next().integer), line);
      case TokenType::kFloat:
        return make_constant(Value::number(next().number), line);
      default:
        break;
    }
    if (skip_operator("(")) {
      ExpressionPtr node = parse_tuple(true, {}, true);
      expect_operator(")");
      return node;
    }
    if (at_operator("[")) {
      return parse_list();
    }
    if (at_operator("{")) {
      return parse_dict();
    }
    fail(fmt::format("unexpected '{}'", describe(current())));
  }

  ExpressionPtr parse_name(bool with_namespace) {
    const Token token = next();
    if (token.text == "true" || token.text == "True" || token.text == "false" ||
        token.text == "False") {
      return make_constant(Value::boolean((token.text[0] | 0x20) == 't'), token.line);
    }
    if (token.text == "none" || token.text == "None") {
      return make_constant(Value::none(), token.line);
    }
    const bool reference = with_namespace && skip_operator(".");
    auto node = make(reference ? ExpressionKind::kNamespaceRef : ExpressionKind::kName, token.line);
    node->name = token.text;
    if (reference) {
      node->constant = Value::string(expect_name());
    }
    return node;
  }

  ExpressionPtr parse_list() {
    auto node = make(ExpressionKind::kList, next().line);
    while (!at_operator("]")) {
      if (!node->children.empty()) {
        expect_operator(",");
        if (at_operator("]")) {
          break;
        }
      }
      node->children.push_back(parse_expression());
    }
    next();
    return finish(std::move(node));
  }

  ExpressionPtr parse_dict() {
    auto node = make(ExpressionKind::kDict, next().line);
    while (!at_operator("}")) {
      if (!node->children.empty()) {
        expect_operator(",");
        if (at_operator("}")) {
          break;
        }
      }
      node->children.push_back(parse_expression());
      expect_operator(":");
      node->children.push_back(parse_expression());
    }
    next();
    return finish(std::move(node));
  }

  ExpressionPtr parse_postfix(ExpressionPtr node) {
    while (true) {
      if (at_operator(".") || at_operator("[")) {
        node = parse_subscript(std::move(node));
      } else if (at_operator("(")) {
        node = parse_call(std::move(node));
      } else {
        return node;
      }
    }
  }

  ExpressionPtr parse_filters_and_tests(ExpressionPtr node) {
    while (true) {
      if (at_operator("|")) {
        node = parse_filters(std::move(node));
      } else if (at_name("is")) {
        node = parse_test(std::move(node));
      } else if (at_operator("(")) {
        node = parse_call(std::move(node));
      } else {
        return node;
      }
    }
  }

  ExpressionPtr parse_subscript(ExpressionPtr value) {
    const Token token = next();
    if (token.text == ".") {
      const Token attribute = next();
      if (attribute.type == TokenType::kName) {
        auto node = make(ExpressionKind::kAttribute, token.line);
        node->name = attribute.text;
        node->children.push_back(std::move(value));
        return finish(std::move(node));
      }
      if (attribute.type != TokenType::kInteger) {
        fail("expected name or number");
      }
      return make_binary(ExpressionKind::kItem, "", std::move(value),
                         make_constant(Value::integer(attribute.integer), token.line), token.line);
    }
    std::vector<ExpressionPtr> keys;
    while (!at_operator("]")) {
      if (!keys.empty()) {
        expect_operator(",");
      }
      keys.push_back(parse_key());
    }
    next();
    const bool sliced = std::any_of(keys.begin(), keys.end(), [](const ExpressionPtr& key) {
      return key->kind == ExpressionKind::kSlice;
    });
    if (keys.size() == 1 && sliced) {
      keys[0]->children[0] = std::move(value);
      return finish(std::move(keys[0]));
    }
    if (sliced) {
      fail("a slice among several keys");
    }
    if (keys.size() == 1) {
      return make_binary(ExpressionKind::kItem, "", std::move(value), std::move(keys[0]),
                         token.line);
    }
    auto tuple = make(ExpressionKind::kTuple, token.line);
    tuple->children = std::move(keys);
    return make_binary(ExpressionKind::kItem, "", std::move(value), finish(std::move(tuple)),
                       token.line);
  }

  /// A key between brackets, or a slice, whose first child is then left to the caller.
  ExpressionPtr parse_key() {
    auto node = make(ExpressionKind::kSlice, current().line);
    node->children.resize(4);
    if (!at_operator(":")) {
      ExpressionPtr first = parse_expression();
      if (!at_operator(":")) {
        return first;
      }
      node->children[1] = std::move(first);
    }
    next();
    const auto at_end = [this] { return at_operator("]") || at_operator(","); };
    if (!at_operator(":") && !at_end()) {
      node->children[2] = parse_expression();
    }
    if (skip_operator(":") && !at_end()) {
      node->children[3] = parse_expression();
    }
    return node;
  }

  void parse_arguments(Expression& node) {
    expect_operator("(");
    const auto ensure = [this](bool condition) {
      if (!condition) {
        fail("invalid syntax for function call expression");
      }
    };
    for (bool first = true; !at_operator(")"); first = false) {
      if (!first) {
        expect_operator(",");
        if (at_operator(")")) {
          break;
        }
      }
      if (skip_operator("*")) {
        ensure(node.star == nullptr && node.star_star == nullptr);
        node.star = parse_expression();
      } else if (skip_operator("**")) {
        ensure(node.star_star == nullptr);
        node.star_star = parse_expression();
      } else if (at(TokenType::kName) && ahead().type == TokenType::kOperator &&
                 ahead().text == "=") {
        ensure(node.star_star == nullptr);
        std::string name = next().text;
        next();
        for (const auto& [other, value] : node.keywords) {
          if (other == name) {
            fail(fmt::format("keyword argument repeated: {}", name));
          }
        }
        node.keywords.emplace_back(std::move(name), parse_expression());
      } else {
        ensure(node.star == nullptr && node.star_star == nullptr && node.keywords.empty());
        node.arguments.push_back(parse_expression());
      }
    }
    next();
  }

  ExpressionPtr parse_call(ExpressionPtr callee) {
    auto node = make(ExpressionKind::kCall, current().line);
    node->children.push_back(std::move(callee));
    parse_arguments(*node);
    return finish(std::move(node));
  }

  std::string parse_dotted_name() {
    std::string name = expect_name();
    while (skip_operator(".")) {
      name += '.';
      name += expect_name();
    }
    return name;
  }

  /// One filter, after its "|".
  ExpressionPtr parse_filter(ExpressionPtr value) {
    auto node = make(ExpressionKind::kFilter, current().line);
    node->name = parse_dotted_name();
    node->children.push_back(std::move(value));
    if (at_operator("(")) {
      parse_arguments(*node);
    }
    return finish(std::move(node));
  }

  ExpressionPtr parse_filters(ExpressionPtr value) {
    while (skip_operator("|")) {
      value = parse_filter(std::move(value));
    }
    return value;
  }

  ExpressionPtr parse_test(ExpressionPtr value) {
    const int line = next().line;
    const bool negated = skip_name("not");
    auto node = make(ExpressionKind::kTest, line);
    node->name = parse_dotted_name();
    node->children.push_back(std::move(value));
    const bool literal = at(TokenType::kString) || at(TokenType::kInteger) ||
                         at(TokenType::kFloat) || at_operator("[") || at_operator("{");
    if (at_operator("(")) {
      parse_arguments(*node);
    } else if (literal || (at(TokenType::kName) && !at_any({"else", "or", "and"}))) {
      if (at_name("is")) {
        fail("You cannot chain multiple tests with is");
      }
      node->arguments.push_back(parse_postfix(parse_primary(false)));
    }
    ExpressionPtr test = finish(std::move(node));
    return negated ? make_unary(ExpressionKind::kNot, std::move(test), line) : std::move(test);
  }

  int loops_ = 0;  // around the current statement
  Budget budget_;
};

}  // namespace

Block parse(std::string_view source, int* line) {
  return Parser(tokenize(source, line), line).run();
}

}  // namespace tessera::text::jinja

// The parser's place in the tokens of a template.
#pragma once

#include "text/jinja/lexer.h"
#include "text/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::text::jinja {

using Words = std::initializer_list<std::string_view>;

class TokenCursor {
 public:
  /// `*line` follows the tokens.
  TokenCursor(std::vector<Token> tokens, int* line) : tokens_(std::move(tokens)), line_(*line) {}

  const Token& current() const { return tokens_[position_]; }
  const Token& ahead() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }

  Token next() {
    Token token = current();
    line_ = token.line;
    if (position_ + 1 < tokens_.size()) {
      ++position_;
    }
    return token;
  }

  bool at(TokenType type) const { return current().type == type; }
  bool at_operator(std::string_view sign) const {
    return at(TokenType::kOperator) && current().text == sign;
  }
  bool at_name(std::string_view name) const {
    return at(TokenType::kName) && current().text == name;
  }
  bool at_any(Words names) const {
    return at(TokenType::kName) &&
           std::find(names.begin(), names.end(), current().text) != names.end();
  }

  bool skip_operator(std::string_view sign) {
    if (!at_operator(sign)) {
      return false;
    }
    next();
    return true;
  }

  bool skip_name(std::string_view name) {
    if (!at_name(name)) {
      return false;
    }
    next();
    return true;
  }

  static std::string describe(const Token& token) {
    switch (token.type) {
      case TokenType::kData:
        return "template data / text";
      case TokenType::kVariableBegin:
        return "begin of print statement";
      case TokenType::kVariableEnd:
        return "end of print statement";
      case TokenType::kBlockBegin:
        return "begin of statement block";
      case TokenType::kBlockEnd:
        return "end of statement block";
      case TokenType::kString:
        return "string";
      case TokenType::kEnd:
        return "end of template";
      default:
        return token.text;
    }
  }

  [[noreturn]] void fail(const std::string& message) {
    line_ = current().line;
    throw EvalError{ErrorKind::kOther, message};
  }

  [[noreturn]] void unexpected(std::string_view wanted) {
    fail(fmt::format("expected '{}', got '{}'", wanted, describe(current())));
  }

  void expect_operator(std::string_view sign) {
    if (!skip_operator(sign)) {
      unexpected(sign);
    }
  }

  std::string expect_name() {
    if (!at(TokenType::kName)) {
      unexpected("name");
    }
    return next().text;
  }

  void expect_name(std::string_view name) {
    if (!skip_name(name)) {
      unexpected(name);
    }
  }

  void expect_block_end() {
    if (!at(TokenType::kBlockEnd)) {
      unexpected("end of statement block");
    }
    next();
  }

 private:
  std::vector<Token> tokens_;
  size_t position_ = 0;

 protected:
  int& line_;
};

}  // namespace tessera::text::jinja

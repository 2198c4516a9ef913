// Tokens of a template, with jinja2's white-space rules for trim_blocks and lstrip_blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::text::jinja {

enum class TokenType {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenType type;
  int line;
  std::string text;  // of a string its content, of an operator its signs
  int64_t integer = 0;
  double number = 0;
};

/// Splits a template; throws EvalError and sets `*line` where the template is malformed.
std::vector<Token> tokenize(std::string_view source, int* line);

}  // namespace tessera::text::jinja

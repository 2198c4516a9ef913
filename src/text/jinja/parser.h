// Syntax tree of a template.
#pragma once

#include "text/jinja/ast.h"

#include <string_view>

namespace tessera::text::jinja {

/// Parses a template, statements of jinja2 with loop controls and the `generation` tag. Throws
/// EvalError and sets `*line`.
Block parse(std::string_view source, int* line);

/// Binds the names of a tree: fills in its variables, and checks filters and tests.
void bind(Tree& tree, int* line);

/// Calls `body` for the direct sub-expressions, in jinja2's order of fields.
template <class Body>
void for_children(const Expression& expression, Body&& body) {
  for (const ExpressionPtr& child : expression.children) {
    if (child != nullptr) {
      body(*child);
    }
  }
  for (const ExpressionPtr& argument : expression.arguments) {
    body(*argument);
  }
  for (const auto& [name, argument] : expression.keywords) {
    body(*argument);
  }
  for (const ExpressionPtr* star : {&expression.star, &expression.star_star}) {
    if (*star != nullptr) {
      body(**star);
    }
  }
}

}  // namespace tessera::text::jinja

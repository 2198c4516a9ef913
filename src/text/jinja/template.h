// Templates of the Jinja language, as jinja2 3.1 renders them in transformers' environment for chat
// templates: trim_blocks, lstrip_blocks, no HTML escaping, loop controls, the `generation` tag,
// an immutable sandbox, `raise_exception`, `strftime_now`, Python's `tojson`.
//
// Left out, with an error that says so: tags that need other templates (block, extends, include,
// import, autoescape), integers beyond 64 bits, bytes, the filters pprint, random, striptags,
// urlize, wordwrap and xmlattr, the global lipsum.
#pragma once

#include "io/json.h"

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::text {

/// What one rendering may cost; a template beyond it is an error.
struct TemplateLimits {
  uint64_t steps = 20'000'000;     // nodes, elements and 16-byte pieces of text
  size_t text = size_t{32} << 20;  // bytes of the output, and of any string on the way
};

struct RenderedTemplate {
  std::string text;
  /// [begin, end) bytes that stand in `{% generation %}` blocks.
  std::vector<std::pair<size_t, size_t>> generated;
};

/// A parsed template. Rendering is thread-safe.
///
///   const Template hello = Template::parse("Hello {{ name | title }}!", "hello.jinja");
///   hello.render({{"name", "world"}}).text;  // "Hello World!"
class Template {
 public:
  /// `name` stands in errors. Throws CorruptFile with the line for a malformed template,
  /// Unsupported for what is left out (see above).
  static Template parse(std::string_view source, std::string name);

  /// Fills in `variables`, an object. `now` is what `strftime_now` shows (default: the local time).
  /// Throws InvalidArgument with the line when the template raises or misuses a value.
  RenderedTemplate render(const io::OrderedJson& variables,
                          std::optional<std::tm> now = std::nullopt,
                          TemplateLimits limits = {}) const;

  const std::string& source() const;

 private:
  struct Data;
  explicit Template(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

  std::shared_ptr<const Data> data_;
};

}  // namespace tessera::text

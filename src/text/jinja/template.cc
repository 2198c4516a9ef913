// The outside of the template engine: JSON becomes values, exceptions of the template become errors
// that name the template and the line.
#include "text/jinja/template.h"

#include "core/error.h"
#include "core/strings.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"

namespace tessera::text {

using namespace jinja;  // NOLINT(google-build-using-namespace): its outer face

struct Template::Data {
  std::string name;
  std::string source;
  Tree tree;
};

namespace {

constexpr size_t kMaxSource = size_t{4} << 20;

[[noreturn]] void rethrow(const EvalError& error, const std::string& name, int line, bool parsing) {
  switch (error.kind) {
    case ErrorKind::kUnsupported:
      throw Unsupported("{}, line {}: not supported: {}", name, line, error.message);
    case ErrorKind::kRaised:
      throw InvalidArgument("{} (raised by {}, line {})", error.message, name, line);
    default:
      break;
  }
  if (parsing) {
    throw CorruptFile("{}, line {}: {}", name, line, error.message);
  }
  throw InvalidArgument("{}, line {}: {}", name, line, error.message);
}

Value to_value(const io::OrderedJson& json) {
  switch (json.type()) {
    case io::OrderedJson::value_t::null:
      return Value::none();
    case io::OrderedJson::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case io::OrderedJson::value_t::number_integer:
      return Value::integer(json.get<int64_t>());
    case io::OrderedJson::value_t::number_unsigned:
      TESSERA_CHECK(json.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX), InvalidArgument,
                    "{}: an integer beyond 64 bits", json.dump());
      return Value::integer(json.get<int64_t>());
    case io::OrderedJson::value_t::number_float:
      return Value::number(json.get<double>());
    case io::OrderedJson::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      return Value::string(utf8_lossy(text));
    }
    case io::OrderedJson::value_t::array: {
      List items;
      items.reserve(json.size());
      for (const io::OrderedJson& item : json) {
        items.push_back(to_value(item));
      }
      return Value::list(std::move(items));
    }
    case io::OrderedJson::value_t::object: {
      Dict dict;
      for (const auto& [key, item] : json.items()) {
        dict.set(utf8_lossy(key), to_value(item));
      }
      return Value::dict(std::move(dict));
    }
    default:
      break;
  }
  throw InvalidArgument("a template's variables: found {}, expected JSON", json.type_name());
}

}  // namespace

Template Template::parse(std::string_view source, std::string name) {
  TESSERA_CHECK(source.size() <= kMaxSource, CorruptFile, "{}: {} bytes, a template has at most {}",
                name, source.size(), kMaxSource);
  for (size_t i = 0; i < source.size();) {
    const int length = utf8_length(source.substr(i));
    TESSERA_CHECK(length > 0, CorruptFile, "{}: byte {} is not UTF-8", name, i);
    i += static_cast<size_t>(length);
  }
  auto data = std::make_shared<Data>();
  data->name = std::move(name);
  data->source = source;
  int line = 1;
  try {
    data->tree.body = jinja::parse(source, &line);
    bind(data->tree, &line);
  } catch (const EvalError& error) {
    rethrow(error, data->name, line, true);
  }
  return Template(std::move(data));
}

RenderedTemplate Template::render(const io::OrderedJson& variables,
                                  std::optional<std::tm> now,
                                  TemplateLimits limits) const {
  TESSERA_CHECK(variables.is_object() || variables.is_null(), InvalidArgument,
                "a template's variables: found {}, expected an object", variables.type_name());
  if (!now) {
    const std::time_t seconds = std::time(nullptr);
    now.emplace();
    localtime_r(&seconds, &*now);
  }
  int line = 1;
  try {
    Dict context;
    for (const auto& [key, item] : variables.items()) {
      context.set(utf8_lossy(key), to_value(item));
    }
    Interpreter interpreter(data_->tree, std::move(context),
                            {.steps = limits.steps, .text = limits.text}, *now);
    try {
      RenderedTemplate out;
      out.text = interpreter.run();
      out.generated = interpreter.generated();
      return out;
    } catch (const EvalError&) {
      line = interpreter.line();
      throw;
    }
  } catch (const EvalError& error) {
    rethrow(error, data_->name, line, false);
  }
}

const std::string& Template::source() const {
  return data_->source;
}

}  // namespace tessera::text

// YAML is read by yaml-cpp and becomes JSON at once: nothing deeper sees it. Plain scalars follow
// YAML 1.2's core schema (true/false, null, ~, integers, decimal numbers); everything quoted is
// text.
#include "train/options.h"

#include "core/error.h"
#include "core/strings.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace tessera::train {
namespace {

constexpr int kMaxDepth = 64;
constexpr int64_t kMaxNodes = 100000;

template <class Number>
std::optional<Number> parse_number(const std::string& text) {
  Number value{};
  const char* begin = text.data() + (text.size() > 1 && text[0] == '+' ? 1 : 0);
  const char* end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(begin, end, value);
  return failed == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

io::Json scalar(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") {  // quoted
    return text;
  }
  if (text == "true" || text == "false") {
    return text == "true";
  }
  if (text.empty() || text == "~" || text == "null") {
    return nullptr;
  }
  if (const auto integer = parse_number<int64_t>(text)) {
    return *integer;
  }
  const bool numeric = text.find_first_of("0123456789") != std::string::npos &&
                       text.find_first_not_of("0123456789+-.eE") == std::string::npos;
  if (const auto number = numeric ? parse_number<double>(text) : std::nullopt) {
    return *number;
  }
  return text;
}

struct Converter {
  std::string source;
  int64_t nodes = 0;

  io::Json convert(const YAML::Node& node, int depth) {
    TESSERA_CHECK(depth <= kMaxDepth && ++nodes <= kMaxNodes, CorruptFile,
                  "{}: more than {} levels or {} values", source, kMaxDepth, kMaxNodes);
    switch (node.Type()) {
      case YAML::NodeType::Scalar:
        return scalar(node);
      case YAML::NodeType::Sequence: {
        io::Json list = io::Json::array();
        for (const YAML::Node& item : node) {
          list.push_back(convert(item, depth + 1));
        }
        return list;
      }
      case YAML::NodeType::Map: {
        io::Json map = io::Json::object();
        for (const auto& item : node) {
          TESSERA_CHECK(item.first.IsScalar(), CorruptFile,
                        "{}:{}: a key must be a word, not a list or map", source,
                        item.first.Mark().line + 1);
          const std::string& key = item.first.Scalar();
          TESSERA_CHECK(!map.contains(key), CorruptFile, "{}:{}: the key '{}' is there twice",
                        source, item.first.Mark().line + 1, key);
          map[key] = convert(item.second, depth + 1);
        }
        return map;
      }
      default:
        return nullptr;
    }
  }
};

// Text that a YAML reader would take for something else is quoted.
std::string yaml_scalar(const io::OrderedJson& value) {
  if (!value.is_string()) {
    return value.dump();
  }
  const auto& text = value.get_ref<const std::string&>();
  const bool plain = !text.empty() && std::isalpha(static_cast<unsigned char>(text.front())) != 0 &&
                     text.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./") ==
                         std::string::npos &&
                     text != "true" && text != "false" && text != "null";
  return plain ? text : value.dump(-1, ' ', false, io::OrderedJson::error_handler_t::replace);
}

bool is_simple(const io::OrderedJson& value) {
  return !value.is_structured() || value.empty();
}

void write_yaml(const io::OrderedJson& value, int indent, std::string& out) {
  const std::string margin(static_cast<size_t>(indent), ' ');
  const auto put = [&](const std::string& head, const io::OrderedJson& item) {
    const bool flat = item.is_array() && std::all_of(item.begin(), item.end(), is_simple);
    if (is_simple(item)) {
      out += margin + head + " " + yaml_scalar(item) + "\n";
    } else if (flat) {
      std::vector<std::string> parts;
      for (const io::OrderedJson& part : item) {
        parts.push_back(yaml_scalar(part));
      }
      out += margin + head + " [" + join(parts, ", ") + "]\n";
    } else {
      out += margin + head + "\n";
      write_yaml(item, indent + 2, out);
    }
  };
  if (value.is_object()) {
    for (const auto& [key, item] : value.items()) {
      put(yaml_scalar(io::OrderedJson(key)) + ":", item);
    }
  } else {
    for (const io::OrderedJson& item : value) {
      put("-", item);
    }
  }
}

std::string quoted(std::span<const std::string> words) {
  return join(words, ", ");
}

}  // namespace

io::Json parse_yaml(std::string_view text, std::string_view source) {
  try {
    Converter converter{std::string(source)};
    return converter.convert(YAML::Load(std::string(text)), 0);
  } catch (const YAML::Exception& error) {
    throw CorruptFile("{}:{}:{}: not valid YAML: {}", source, error.mark.line + 1,
                      error.mark.column + 1, error.msg);
  }
}

std::string to_yaml(const io::OrderedJson& value) {
  std::string out;
  write_yaml(value, 0, out);
  return out;
}

void apply_override(io::Json& root, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  TESSERA_CHECK(equals != std::string_view::npos && equals > 0, InvalidArgument,
                "'{}' is not key=value; example: optimizer.lr=1e-3", assignment);
  const std::string_view path = assignment.substr(0, equals);
  io::Json* place = &root;
  for (const std::string& word : split(path, '.')) {
    TESSERA_CHECK(!word.empty(), InvalidArgument, "'{}': empty name in the key", assignment);
    if (place->is_null()) {
      *place = io::Json::object();
    }
    TESSERA_CHECK(place->is_object(), InvalidArgument,
                  "'{}': the part before '{}' is a value, not a section", assignment, word);
    place = &(*place)[word];
  }
  *place = parse_yaml(assignment.substr(equals + 1), path);
}

struct Options::Node {
  io::Json value;
  std::string source;             // the file
  std::string path;               // dotted, "" at the root
  std::vector<std::string> read;  // keys in the order of reading
  io::OrderedJson resolved = io::OrderedJson::object();
  std::map<std::string, std::shared_ptr<Node>, std::less<>> sections;
};

Options::Options(io::Json value, std::string source) : node_(std::make_shared<Node>()) {
  node_->source = std::move(source);
  set_value(std::move(value));
}

void Options::set_value(io::Json value) const {
  if (value.is_null()) {
    value = io::Json::object();
  }
  TESSERA_CHECK(value.is_object(), InvalidArgument, "{}: must be a map of options, found {}",
                where(), value.dump());
  node_->value = std::move(value);
}

std::string Options::where() const {
  return node_->path.empty() ? node_->source : node_->source + ": " + node_->path;
}

std::string Options::where(std::string_view key) const {
  return node_->source + ": " + (node_->path.empty() ? "" : node_->path + ".") + std::string(key);
}

const io::Json* Options::find(std::string_view key) const {
  const auto found = node_->value.find(std::string(key));
  return found == node_->value.end() || found->is_null() ? nullptr : &*found;
}

void Options::note(std::string_view key, io::OrderedJson value) const {
  auto& read = node_->read;
  if (std::find(read.begin(), read.end(), key) == read.end()) {
    read.emplace_back(key);
  }
  node_->resolved[std::string(key)] = std::move(value);
}

bool Options::has(std::string_view key) const {
  return find(key) != nullptr;
}

bool Options::boolean(std::string_view key, bool fallback) const {
  const io::Json* value = find(key);
  TESSERA_CHECK(value == nullptr || value->is_boolean(), InvalidArgument,
                "{}: must be true or false, found {}", where(key), value->dump());
  const bool result = value == nullptr ? fallback : value->get<bool>();
  note(key, result);
  return result;
}

int64_t Options::integer(std::string_view key, int64_t fallback, Range range) const {
  const io::Json* value = find(key);
  int64_t result = fallback;
  if (value != nullptr) {
    // 1e5 is a number to YAML; people mean an integer.
    const double number = value->is_number() ? value->get<double>() : std::nan("");
    TESSERA_CHECK(number == std::floor(number) && number >= range.low && number <= range.high,
                  InvalidArgument, "{}: must be an integer in {} … {}, found {}", where(key),
                  range.low, range.high, value->dump());
    result = value->is_number_integer() ? value->get<int64_t>() : static_cast<int64_t>(number);
  }
  note(key, result);
  return result;
}

double Options::number(std::string_view key, double fallback, Range range) const {
  const io::Json* value = find(key);
  double result = fallback;
  if (value != nullptr) {
    result = value->is_number() ? value->get<double>() : std::nan("");
    TESSERA_CHECK(result >= range.low && result <= range.high, InvalidArgument,
                  "{}: must be a number in {} … {}, found {}", where(key), range.low, range.high,
                  value->dump());
  }
  note(key, result);
  return result;
}

std::string Options::string(std::string_view key, std::string_view fallback) const {
  const io::Json* value = find(key);
  TESSERA_CHECK(value == nullptr || value->is_string() || value->is_number(), InvalidArgument,
                "{}: must be text, found {}", where(key), value->dump());
  std::string result(fallback);
  if (value != nullptr) {
    result = value->is_string() ? value->get<std::string>() : value->dump();
  }
  note(key, result);
  return result;
}

std::string Options::choice(std::string_view key,
                            std::string_view fallback,
                            std::span<const std::string> choices) const {
  std::string result = string(key, fallback);
  if (std::find(choices.begin(), choices.end(), result) == choices.end()) {
    const auto near = closest_match(result, choices);
    throw InvalidArgument("{}: '{}' is not known{}; known: {}", where(key), result,
                          near ? ", did you mean '" + *near + "'?" : "", quoted(choices));
  }
  return result;
}

std::vector<io::Json> Options::list(std::string_view key) const {
  const io::Json* value = find(key);
  std::vector<io::Json> result;
  if (value != nullptr && value->is_array()) {
    result.assign(value->begin(), value->end());
  } else if (value != nullptr) {
    result.push_back(*value);
  }
  note(key, io::OrderedJson(io::Json(result)));
  return result;
}

io::Json Options::raw(std::string_view key) const {
  const io::Json* value = find(key);
  if (value == nullptr) {
    note(key, nullptr);
    return nullptr;
  }
  note(key, io::OrderedJson(*value));
  return *value;
}

Options Options::section(std::string_view key) const {
  const auto found = node_->sections.find(key);
  if (found != node_->sections.end()) {
    return Options(found->second);
  }
  const io::Json* value = find(key);
  Options below(io::Json::object(), node_->source);
  below.node_->path = (node_->path.empty() ? "" : node_->path + ".") + std::string(key);
  below.set_value(value == nullptr ? io::Json::object() : *value);
  note(key, nullptr);
  node_->sections.emplace(std::string(key), below.node_);
  return below;
}

std::vector<std::string> Options::keys() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : node_->value.items()) {
    names.push_back(name);
  }
  return names;
}

void Options::finish() const {
  for (const auto& [name, value] : node_->value.items()) {
    const auto& read = node_->read;
    if (std::find(read.begin(), read.end(), name) == read.end()) {
      const auto near = closest_match(name, read);
      throw InvalidArgument("{}: unknown key '{}'{}; known: {}", where(), name,
                            near ? ", did you mean '" + *near + "'?" : "", quoted(read));
    }
  }
  for (const auto& [name, below] : node_->sections) {
    Options(below).finish();
  }
}

io::OrderedJson Options::resolved() const {
  io::OrderedJson result = node_->resolved;
  for (const auto& [name, below] : node_->sections) {
    result[name] = Options(below).resolved();
  }
  return result;
}

}  // namespace tessera::train

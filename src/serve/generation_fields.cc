// A model without controls (ModelCard) refuses what it cannot take, unless the value changes
// nothing: clients send their defaults.
#include "serve/generation_fields.h"

#include "io/json_text.h"

#include <fmt/format.h>

#include <charconv>
#include <random>

namespace tessera::serve {
namespace {

constexpr size_t kMaxStops = 16;
constexpr size_t kMaxStopBytes = 1024;
constexpr size_t kMaxBiases = 4096;
constexpr size_t kMaxGrammar = 256 << 10;  // bytes

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

std::vector<std::pair<int64_t, double>> read_bias(const JsonFields& fields) {
  std::vector<std::pair<int64_t, double>> biases;
  const io::Json* object = fields.object("logit_bias");
  if (object == nullptr) {
    return biases;
  }
  if (object->size() > kMaxBiases) {
    fields.fail("logit_bias", fmt::format("an object of at most {} ids", kMaxBiases));
  }
  for (const auto& [key, value] : object->items()) {
    int64_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    const bool whole = error == std::errc() && end == key.data() + key.size() && id >= 0;
    const double bias = value.is_number() ? value.get<double>() : std::nan("");
    if (!whole || !(bias >= -100 && bias <= 100)) {
      fields.fail("logit_bias", "an object of token ids with numbers of -100 to 100");
    }
    biases.emplace_back(id, bias);
  }
  return biases;
}

Sampling read_sampling(const JsonFields& fields, const ModelCard& card) {
  Sampling sampling;
  const auto controlled = [&](const char* name, double least, double most, double off) {
    const std::optional<double> value = fields.number(name, least, most);
    if (value.value_or(off) != off) {
      need_controls(fields, name, card);
    }
    return value;
  };
  sampling.temperature = fields.number("temperature", 0, 2);
  sampling.top_p = fields.number("top_p", 0, 1);
  if (sampling.top_p == 0.0) {  // the most likely token alone
    sampling.top_p = 1e-6;
  }
  sampling.top_k = fields.integer("top_k", -1, kMaxTokens);
  if (sampling.top_k == -1) {  // off, as some clients write it
    sampling.top_k = 0;
  }
  sampling.min_p = controlled("min_p", 0, 1, 0);
  sampling.typical_p = controlled("typical_p", 1e-6, 1, 1);
  sampling.repetition_penalty = controlled("repetition_penalty", 0.01, 100, 1);
  sampling.frequency_penalty = controlled("frequency_penalty", -2, 2, 0);
  sampling.presence_penalty = controlled("presence_penalty", -2, 2, 0);
  sampling.logit_bias = read_bias(fields);
  if (!sampling.logit_bias.empty()) {
    need_controls(fields, "logit_bias", card);
  }
  sampling.guidance = fields.number("guidance", 0, 100);
  sampling.seed = read_seed(fields);
  return sampling;
}

std::vector<std::string> read_stop(const JsonFields& fields) {
  const io::Json* value = fields.find("stop");
  std::vector<std::string> stops;
  if (value == nullptr) {
    return stops;
  }
  if (!value->is_string() && !value->is_array()) {
    fields.fail("stop", "a string or an array of strings");
  }
  const io::Json list = value->is_array() ? *value : io::Json::array({*value});
  for (const io::Json& item : list) {
    if (!item.is_string() || item.get_ref<const std::string&>().size() > kMaxStopBytes) {
      fields.fail("stop", fmt::format("an array of strings of at most {} bytes", kMaxStopBytes));
    }
    if (!item.get_ref<const std::string&>().empty()) {
      stops.push_back(item.get<std::string>());
    }
  }
  if (stops.size() > kMaxStops) {
    fields.fail("stop", fmt::format("at most {} strings", kMaxStops));
  }
  return stops;
}

// ---- what the text must be ----

Constraint schema_constraint(const io::OrderedJson& schema, const std::string& param) {
  if (!schema.is_object() && !schema.is_boolean()) {
    throw bad_request(param, fmt::format("'{}' must be a JSON Schema, an object", param));
  }
  return {Constraint::Kind::kJsonSchema, schema.dump()};
}

// {"type": "text" | "json_object" | "json_schema", "json_schema": {"name", "schema", "strict"}};
// llama.cpp's clients put "schema" beside "json_object".
Constraint read_format(const JsonFields& fields, const RequestContext& context) {
  const io::Json* object = fields.object("response_format");
  if (object == nullptr) {
    return {};
  }
  const JsonFields format(*object, fields.name_of("response_format"));
  const std::string type = format.required_text("type");
  if (type == "text") {
    return {};
  }
  if (type != "json_object" && type != "json_schema") {
    format.fail("type", "text, json_object or json_schema");
  }
  need_controls(fields, "response_format", context.card);
  const io::OrderedJson ordered = ordered_member(fields, "response_format", context);
  if (type == "json_object") {
    const auto schema = ordered.find("schema");
    return schema == ordered.end() || schema->is_null()
               ? Constraint{Constraint::Kind::kJsonObject}
               : schema_constraint(*schema, format.name_of("schema"));
  }
  const io::Json* wanted = format.object("json_schema");
  if (wanted == nullptr) {
    format.fail("json_schema", "an object with 'name' and 'schema'");
  }
  const JsonFields inner(*wanted, format.name_of("json_schema"));
  inner.required_text("name");
  inner.flag("strict");  // schemas are always followed
  if (inner.find("schema") == nullptr) {
    inner.fail("schema", "a JSON Schema, an object");
  }
  return schema_constraint(ordered["json_schema"]["schema"], inner.name_of("schema"));
}

// A schema, or its text.
Constraint read_guided_json(const JsonFields& fields, const RequestContext& context) {
  const io::Json* value = fields.find("guided_json");
  if (value == nullptr) {
    return {};
  }
  if (!value->is_string()) {
    return schema_constraint(ordered_member(fields, "guided_json", context), "guided_json");
  }
  if (value->get_ref<const std::string&>().size() > kMaxOrderedBytes) {
    fields.fail("guided_json", fmt::format("at most {} bytes", kMaxOrderedBytes));
  }
  try {
    return schema_constraint(
        io::parse_small_json(value->get_ref<const std::string&>(), "'guided_json'"), "guided_json");
  } catch (const Error& error) {
    throw bad_request("guided_json", error.what());
  }
}

Constraint read_constraint(const JsonFields& fields, const RequestContext& context) {
  std::vector<std::pair<const char*, Constraint>> given;
  const auto add = [&](const char* name, Constraint constraint) {
    if (constraint.kind == Constraint::Kind::kNone) {
      return;
    }
    need_controls(fields, name, context.card);
    if (constraint.text.size() > kMaxGrammar) {
      fields.fail(name, fmt::format("at most {} bytes", kMaxGrammar));
    }
    given.emplace_back(name, std::move(constraint));
  };
  const auto text = [&](const char* name, Constraint::Kind kind) {
    std::string rules = fields.text(name).value_or("");
    add(name, rules.empty() ? Constraint{} : Constraint{kind, std::move(rules)});
  };
  add("response_format", read_format(fields, context));
  text("grammar", Constraint::Kind::kGrammar);
  text("guided_grammar", Constraint::Kind::kGrammar);
  text("guided_regex", Constraint::Kind::kRegex);
  add("guided_json", read_guided_json(fields, context));
  if (given.size() > 1) {
    throw bad_request(given[1].first, fmt::format("'{}' and '{}' exclude each other",
                                                  given[0].first, given[1].first));
  }
  return given.empty() ? Constraint{} : std::move(given[0].second);
}

}  // namespace

bool is_empty(const io::Json* value) {
  return value == nullptr || (value->is_structured() && value->empty());
}

uint64_t read_seed(const JsonFields& fields) {
  const std::optional<int64_t> seed = fields.integer("seed", INT64_MIN, INT64_MAX);
  return seed.has_value() ? static_cast<uint64_t>(*seed) : random_seed();
}

io::OrderedJson ordered_member(const JsonFields& fields,
                               const char* name,
                               const RequestContext& context) {
  const io::Json& value = *fields.find(name);
  const std::string_view text = io::member_text(context.body, name);
  if (text.size() > kMaxOrderedBytes) {
    fields.fail(name, fmt::format("at most {} bytes", kMaxOrderedBytes));
  }
  try {
    // Without the text, or with a name in escapes, the keys are sorted.
    return text.empty() || io::parse_json(text, name) != value
               ? io::parse_small_json(value.dump(), name)
               : io::parse_small_json(text, name);
  } catch (const Error& error) {
    throw bad_request(fields.name_of(name), error.what());
  }
}

void need_controls(const JsonFields& fields, const char* name, const ModelCard& card) {
  if (!card.controls) {
    throw not_supported(fields.name_of(name),
                        fmt::format("this model does not take '{}'; leave it out", name));
  }
}

void read_common(const JsonFields& fields, const RequestContext& context, GenerationCall& call) {
  call.model = fields.text("model").value_or("");
  call.request.sampling = read_sampling(fields, context.card);
  call.request.constraint = read_constraint(fields, context);
  call.stop = read_stop(fields);
  call.choices = fields.integer("n", 1, kMaxChoices).value_or(1);
  call.stream = fields.flag("stream").value_or(false);
  if (const io::Json* options = fields.object("stream_options"); options != nullptr) {
    call.include_usage =
        JsonFields(*options, "stream_options").flag("include_usage").value_or(false);
  }
  call.request.max_new_tokens = fields.integer("max_tokens", 0, kMaxTokens).value_or(0);
}

}  // namespace tessera::serve

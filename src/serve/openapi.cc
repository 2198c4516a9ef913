// The description of the routes (OpenAPI 3.1): every route of the table, with the fields that are
// read.
#include "io/json.h"
#include "serve/openai.h"
#include "serve/openai_answer.h"
#include "serve/openai_routes.h"

namespace tessera::serve {
namespace {

using Json = io::OrderedJson;

Json of_type(const char* type) {
  return {{"type", type}};
}

Json nullable(Json schema) {
  return {{"anyOf", Json::array({std::move(schema), of_type("null")})}};
}

Json number(double least, double most) {
  return nullable({{"type", "number"}, {"minimum", least}, {"maximum", most}});
}

Json integer(int64_t least, int64_t most) {
  return nullable({{"type", "integer"}, {"minimum", least}, {"maximum", most}});
}

Json text() {
  return of_type("string");
}

Json list_of(Json items) {
  return {{"type", "array"}, {"items", std::move(items)}};
}

Json choice(std::initializer_list<const char*> names) {
  Json values = Json::array();
  for (const char* name : names) {
    values.push_back(name);
  }
  return {{"type", "string"}, {"enum", values}};
}

Json object(Json properties, std::initializer_list<const char*> required = {}) {
  Json schema = {{"type", "object"}, {"properties", std::move(properties)}};
  for (const char* name : required) {
    schema["required"].push_back(name);
  }
  return schema;
}

Json response_format() {
  return object({{"type", choice({"text", "json_object", "json_schema"})},
                 {"json_schema", nullable(object({{"name", text()},
                                                  {"schema", of_type("object")},
                                                  {"strict", nullable(of_type("boolean"))}},
                                                 {"name", "schema"}))}},
                {"type"});
}

Json sampling_fields() {
  constexpr int64_t kMost = int64_t{1} << 30;
  return {{"model", nullable(text())},
          {"temperature", number(0, 2)},
          {"top_p", number(0, 1)},
          {"top_k", integer(-1, kMost)},
          {"min_p", number(0, 1)},
          {"typical_p", number(0, 1)},
          {"repetition_penalty", number(0.01, 100)},
          {"frequency_penalty", number(-2, 2)},
          {"presence_penalty", number(-2, 2)},
          {"logit_bias", nullable({{"type", "object"},
                                   {"additionalProperties",
                                    {{"type", "number"}, {"minimum", -100}, {"maximum", 100}}}})},
          {"response_format", nullable(response_format())},
          {"grammar", nullable(text())},
          {"guided_grammar", nullable(text())},
          {"guided_regex", nullable(text())},
          {"guided_json", nullable({{"anyOf", Json::array({of_type("object"), text()})}})},
          {"guidance", number(0, 100)},
          {"seed", nullable(of_type("integer"))},
          {"n", integer(1, 16)},
          {"max_tokens", integer(0, kMost)},
          {"stop", nullable({{"anyOf", Json::array({text(), list_of(text())})}})},
          {"stream", nullable(of_type("boolean"))},
          {"stream_options", nullable(object({{"include_usage", nullable(of_type("boolean"))}}))}};
}

Json content_part() {
  const Json sound = object({{"data", text()}, {"format", nullable(text())}}, {"data"});
  return object({{"type", choice({"text", "image_url", "input_audio", "input_music"})},
                 {"text", text()},
                 {"image_url", object({{"url", text()}}, {"url"})},
                 {"input_audio", sound},
                 {"input_music", sound}},
                {"type"});
}

Json function_of(Json properties, std::initializer_list<const char*> required) {
  return object(
      {{"type", choice({"function"})}, {"function", object(std::move(properties), required)}},
      {"function"});
}

Json message() {
  Json call = function_of({{"name", text()}, {"arguments", text()}}, {"name"});
  call["properties"]["id"] = nullable(text());
  return object({{"role", choice({"system", "developer", "user", "assistant", "tool"})},
                 {"content", nullable({{"anyOf", Json::array({text(), list_of(content_part())})}})},
                 {"tool_calls", nullable(list_of(std::move(call)))},
                 {"reasoning_content", nullable(text())},
                 {"tool_call_id", nullable(text())},
                 {"name", nullable(text())}},
                {"role"});
}

Json template_body() {
  const Json tool = function_of({{"name", text()},
                                 {"description", nullable(text())},
                                 {"parameters", nullable(of_type("object"))},
                                 {"strict", nullable(of_type("boolean"))}},
                                {"name"});
  const Json named = function_of({{"name", text()}}, {"name"});
  const Json mode = choice({"none", "auto", "required"});
  return object({{"model", nullable(text())},
                 {"messages", list_of(message())},
                 {"tools", nullable(list_of(tool))},
                 {"tool_choice", nullable({{"anyOf", Json::array({mode, named})}})},
                 {"parallel_tool_calls", nullable(of_type("boolean"))},
                 {"chat_template_kwargs", nullable(of_type("object"))},
                 {"add_generation_prompt", nullable(of_type("boolean"))},
                 {"continue_final_message", nullable(of_type("boolean"))}},
                {"messages"});
}

Json chat_body() {
  Json fields = sampling_fields();
  fields.update(template_body()["properties"]);
  fields["max_completion_tokens"] = integer(0, int64_t{1} << 30);
  fields["logprobs"] = nullable(of_type("boolean"));
  fields["top_logprobs"] = integer(0, 20);
  fields["reasoning_format"] = nullable(choice({"auto", "deepseek", "none"}));
  fields["modalities"] = nullable(list_of(choice({"text", "image", "audio", "music"})));
  fields["audio"] = nullable(
      object({{"voice", nullable(text())},
              {"format", nullable(choice({"wav", "pcm", "pcm16", "flac", "mp3", "opus"}))}}));
  return object(std::move(fields), {"messages"});
}

Json prompts() {
  const Json ids = list_of(of_type("integer"));
  return {{"anyOf", Json::array({text(), list_of(text()), ids, list_of(ids)})}};
}

Json completion_body() {
  Json fields = sampling_fields();
  fields["prompt"] = prompts();
  fields["echo"] = nullable(of_type("boolean"));
  fields["logprobs"] = integer(0, 20);
  return object(std::move(fields), {"prompt"});
}

Json speech_body() {
  return object({{"model", nullable(text())},
                 {"input", text()},
                 {"voice", nullable(text())},
                 {"response_format", nullable(choice({"wav", "pcm", "flac", "mp3", "opus"}))},
                 {"stream_format", nullable(choice({"audio", "sse"}))},
                 {"seed", nullable(of_type("integer"))}},
                {"input"});
}

Json image_body() {
  return object({{"model", nullable(text())},
                 {"prompt", text()},
                 {"n", integer(1, 10)},
                 {"size", nullable(text())},
                 {"response_format", nullable(choice({"b64_json"}))},
                 {"seed", nullable(of_type("integer"))},
                 {"guidance", number(0, 100)}},
                {"prompt"});
}

Json transcription_body() {
  return object({{"file", {{"type", "string"}, {"format", "binary"}}},
                 {"model", text()},
                 {"response_format", choice({"json", "text"})},
                 {"temperature", text()},
                 {"stream", text()}},
                {"file"});
}

/// The body of a route; null where there is none.
Json body_of(RouteId id) {
  switch (id) {
    case RouteId::kChat:
      return chat_body();
    case RouteId::kCompletion:
      return completion_body();
    case RouteId::kSpeech:
      return speech_body();
    case RouteId::kImages:
      return image_body();
    case RouteId::kTranscription:
      return transcription_body();
    case RouteId::kTokenize:
      return object({{"model", nullable(text())},
                     {"prompt", text()},
                     {"add_special_tokens", nullable(of_type("boolean"))}},
                    {"prompt"});
    case RouteId::kDetokenize:
      return object({{"model", nullable(text())}, {"tokens", list_of(of_type("integer"))}},
                    {"tokens"});
    case RouteId::kTemplate:
      return template_body();
    case RouteId::kEmbeddings:
      return object({{"model", nullable(text())},
                     {"input", prompts()},
                     {"encoding_format", nullable(choice({"float", "base64"}))}},
                    {"input"});
    default:
      return nullptr;
  }
}

/// Media types of a route's good answers.
std::vector<const char*> types_of(RouteId id) {
  switch (id) {
    case RouteId::kChat:
    case RouteId::kCompletion:
      return {"application/json", "text/event-stream"};
    case RouteId::kSpeech:
      return {"audio/wav",  "audio/pcm", "audio/flac",
              "audio/mpeg", "audio/ogg", "text/event-stream"};
    case RouteId::kTranscription:
      return {"application/json", "text/plain", "text/event-stream"};
    case RouteId::kMetrics:
      return {"text/plain"};
    default:
      return {"application/json"};
  }
}

Json operation_of(const Route& route) {
  Json operation = {{"summary", route.summary}};
  if (route.open_to_all) {
    operation["security"] = Json::array();
  }
  if (route.path.ends_with("{id}")) {
    operation["parameters"] =
        Json::array({{{"name", "id"}, {"in", "path"}, {"required", true}, {"schema", text()}}});
  }
  if (const Json body = body_of(route.id); !body.is_null()) {
    const char* type =
        route.id == RouteId::kTranscription ? "multipart/form-data" : "application/json";
    operation["requestBody"] = {{"required", true}, {"content", {{type, {{"schema", body}}}}}};
  }
  Json content = Json::object();
  for (const char* type : types_of(route.id)) {
    content[type] = Json::object();
  }
  const Json error = {{"$ref", "#/components/responses/Error"}};
  operation["responses"]["200"] = {{"description", "the answer"}, {"content", content}};
  operation["responses"]["4XX"] = error;
  operation["responses"]["5XX"] = error;
  return operation;
}

Json error_schema() {
  return object({{"error", object({{"message", text()},
                                   {"type", text()},
                                   {"param", nullable(text())},
                                   {"code", nullable(text())}},
                                  {"message", "type", "param", "code"})}},
                {"error"});
}

}  // namespace

std::string openapi_json(const std::string& version) {
  Json paths = Json::object();
  for (const Route& route : routes()) {
    const char* method = route.method == "GET" ? "get" : "post";
    paths[std::string(route.path)][method] = operation_of(route);
  }
  const Json error = {{"description", "what was wrong"},
                      {"content", {{"application/json", {{"schema", error_schema()}}}}}};
  const Json key = {{"type", "http"}, {"scheme", "bearer"}};
  return dump(
      {{"openapi", "3.1.0"},
       {"info", {{"title", "tessera"}, {"version", version}}},
       {"paths", std::move(paths)},
       {"security", Json::array({Json::object(), {{"key", Json::array()}}})},
       {"components", {{"responses", {{"Error", error}}}, {"securitySchemes", {{"key", key}}}}}});
}

}  // namespace tessera::serve

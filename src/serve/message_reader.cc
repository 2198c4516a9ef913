// Parts of our own: "input_music", `images` and `music` of answers. What a format has no place for
// goes elsewhere: system words before the user's. Every error names its field.
#include "serve/message_reader.h"

#include "io/json_text.h"
#include "serve/generation_fields.h"

#include <fmt/format.h>

#include <map>

namespace tessera::serve {
namespace {

class MessageReader {
 public:
  explicit MessageReader(const RequestContext& context) : context_(context) {}

  std::vector<Message> read(const io::Json& list) {
    std::string system;  // waits for the next message of the user
    std::vector<Message> messages;
    for (size_t i = 0; i < list.size(); ++i) {
      const JsonFields fields(list[i], fmt::format("messages[{}]", i));
      const std::string role = fields.required_text("role");
      if (role == "system" || role == "developer") {
        if (context_.card.system) {
          messages.push_back(content(fields));
          messages.back().role = Role::kSystem;
          continue;
        }
        for (const Part& part : content(fields).parts) {
          const auto* text = std::get_if<std::string>(&part.content);
          if (text == nullptr) {
            throw bad_request(fields.name_of("content"), "a system message holds text alone");
          }
          system += (system.empty() || text->empty() ? "" : "\n") + *text;
        }
      } else if (role == "user") {
        Message message = content(fields);
        put_before(std::exchange(system, {}), message);
        messages.push_back(std::move(message));
      } else if (role == "assistant") {
        messages.push_back(assistant(fields));
      } else if (role == "tool") {
        messages.push_back(tool_result(fields));
      } else if (role == "function") {
        throw not_supported(fields.name_of("role"), "'function' is not supported; use 'tool'");
      } else {
        throw bad_request(fields.name_of("role"),
                          fmt::format("'{}' must be system, developer, user, assistant or tool",
                                      fields.name_of("role")));
      }
    }
    if (messages.empty()) {
      throw bad_request("messages", "'messages' must hold one of the user's");
    }
    return messages;
  }

 private:
  // A model's format may know no system role: what it says goes before the user's words.
  static void put_before(std::string system, Message& message) {
    if (system.empty()) {
      return;
    }
    for (Part& part : message.parts) {
      if (auto* text = std::get_if<std::string>(&part.content)) {
        *text = system + "\n" + *text;
        return;
      }
    }
    message.parts.push_back(Part::text(std::move(system)));
  }

  Message content(const JsonFields& fields) {
    Message message;
    const io::Json* value = fields.find("content");
    if (value == nullptr) {
      throw bad_request(fields.name_of("content"),
                        fmt::format("'{}' is missing", fields.name_of("content")));
    }
    if (value->is_string()) {
      message.parts.push_back(Part::text(value->get<std::string>()));
      return message;
    }
    if (!value->is_array()) {
      fields.fail("content", "a string or an array of parts");
    }
    for (size_t i = 0; i < value->size(); ++i) {
      message.parts.push_back(
          part((*value)[i], fmt::format("{}[{}]", fields.name_of("content"), i)));
    }
    return message;
  }

  // An answer of before, in the form that answers have: content, audio, and our images and music.
  Message assistant(const JsonFields& fields) {
    Message message;
    if (fields.find("content") != nullptr) {
      message = content(fields);
    }
    message.role = Role::kAssistant;
    message.calls = calls(fields);
    message.thoughts = fields.text("reasoning_content").value_or("");
    if (message.thoughts.empty()) {
      message.thoughts = fields.text("reasoning").value_or("");
    }
    if (const io::Json* images = fields.array("images"); images != nullptr) {
      for (size_t i = 0; i < images->size(); ++i) {
        message.parts.push_back(
            part((*images)[i], fmt::format("{}[{}]", fields.name_of("images"), i)));
      }
    }
    for (const auto& [name, modality] :
         {std::pair("audio", Modality::kSpeech), std::pair("music", Modality::kMusic)}) {
      if (const io::Json* sound = fields.object(name); sound != nullptr) {
        message.parts.push_back(earlier_sound(JsonFields(*sound, fields.name_of(name)), modality));
      }
    }
    std::erase_if(message.parts, [](const Part& p) {
      const auto* text = std::get_if<std::string>(&p.content);
      return text != nullptr && text->empty();
    });
    if (message.parts.empty() && message.calls.empty() && message.thoughts.empty()) {
      throw bad_request(fields.name_of("content"),
                        fmt::format("'{}' is empty", fields.name_of("content")));
    }
    return message;
  }

  void need_tools(const std::string& param) const {
    if (!context_.card.tools.has_value()) {
      throw not_supported(param, "this model has no format for tools");
    }
  }

  std::vector<ToolCall> calls(const JsonFields& fields) {
    std::vector<ToolCall> result;
    const io::Json* list = fields.array("tool_calls");
    if (is_empty(list)) {
      return result;
    }
    need_tools(fields.name_of("tool_calls"));
    for (size_t i = 0; i < list->size(); ++i) {
      const JsonFields call((*list)[i], fmt::format("{}[{}]", fields.name_of("tool_calls"), i));
      const io::Json* object = call.object("function");
      if (object == nullptr) {
        call.fail("function", "an object with 'name' and 'arguments'");
      }
      const JsonFields function(*object, call.name_of("function"));
      result.push_back({.id = call.text("id").value_or(""),
                        .name = function.required_text("name"),
                        .arguments = function.text("arguments").value_or("")});
      if (!result.back().id.empty()) {
        names_.try_emplace(result.back().id, result.back().name);
      }
      std::string& arguments = result.back().arguments;
      argument_bytes_ += arguments.size();
      if (argument_bytes_ > kMaxOrderedBytes) {
        function.fail("arguments", fmt::format("at most {} bytes in all calls", kMaxOrderedBytes));
      }
      if (arguments.find_first_not_of(" \t\r\n") == std::string::npos) {
        arguments = "{}";
      }
      try {
        if (!io::parse_small_json(arguments, "'arguments'").is_object()) {
          throw CorruptFile("'arguments': no JSON object");
        }
      } catch (const Error& error) {
        throw bad_request(function.name_of("arguments"), error.what());
      }
    }
    return result;
  }

  // What a function returned. Some templates print its name, which the call tells.
  Message tool_result(const JsonFields& fields) {
    need_tools(fields.name_of("role"));
    Message message = content(fields);
    message.role = Role::kTool;
    message.call_id = fields.text("tool_call_id").value_or("");
    message.name = fields.text("name").value_or("");
    const auto known = names_.find(message.call_id);
    if (message.name.empty() && known != names_.end()) {
      message.name = known->second;
    }
    return message;
  }

  Part earlier_sound(const JsonFields& fields, Modality modality) {
    count(modality, fields.name_of("id"));
    if (fields.find("data") != nullptr) {
      return {modality, sound(fields), {}};
    }
    const std::string id = fields.required_text("id");
    std::optional<Audio> found = context_.earlier_sound ? context_.earlier_sound(id) : std::nullopt;
    if (!found.has_value()) {
      throw bad_request(fields.name_of("id"),
                        "this sound is not remembered any more; send its 'data' instead",
                        "audio_not_found");
    }
    return {modality, std::move(*found), {}};
  }

  Part part(const io::Json& json, const std::string& path) {
    const JsonFields fields(json, path);
    const std::string type = fields.required_text("type");
    if (type == "text" || type == "output_text" || type == "input_text") {
      return Part::text(fields.required_text("text"));
    }
    if (type == "image_url") {
      count(Modality::kImage, path);
      return {Modality::kImage, picture(fields), {}};
    }
    if (type == "input_audio" || type == "input_music") {
      const Modality modality = type == "input_audio" ? Modality::kSpeech : Modality::kMusic;
      count(modality, path);
      const io::Json* object = fields.object(type.c_str());
      if (object == nullptr) {
        fields.fail(type, "an object with 'data' and 'format'");
      }
      return {modality, sound(JsonFields(*object, fields.name_of(type))), {}};
    }
    if (type == "video_url" || type == "input_video" || type == "audio_url" || type == "file" ||
        type == "input_file") {
      throw not_supported(fields.name_of("type"), fmt::format("parts of type '{}' are not "
                                                              "supported",
                                                              type));
    }
    throw bad_request(fields.name_of("type"),
                      fmt::format("'{}' must be text, image_url, input_audio or input_music",
                                  fields.name_of("type")));
  }

  // {"image_url": {"url": …}}, or the URL itself.
  Image picture(const JsonFields& fields) const {
    const io::Json* value = fields.find("image_url");
    const std::string name = fields.name_of("image_url");
    const std::string url = value != nullptr && value->is_object()
                                ? JsonFields(*value, name).required_text("url")
                                : fields.required_text("image_url");
    const std::string param = value->is_object() ? name + ".url" : name;
    return read_picture(read_url(url, context_.media, param), context_.media, param);
  }

  Audio sound(const JsonFields& fields) const {
    const std::string data = fields.required_text("data");
    fields.text("format");  // the content decides
    const std::string param = fields.name_of("data");
    const std::optional<std::string> bytes = decode_base64(data);
    if (!bytes.has_value()) {
      throw bad_request(param, fmt::format("'{}' is no valid base64", param), "invalid_base64");
    }
    return read_sound(*bytes, context_.media, param);
  }

  void count(Modality modality, const std::string& path) {
    if (!context_.card.takes(modality)) {
      throw not_supported(path,
                          fmt::format("this model does not take {}", modality_name(modality)));
    }
    if (++media_ > context_.media.items) {
      throw bad_request(path,
                        fmt::format("a request holds at most {} media", context_.media.items));
    }
  }

  const RequestContext& context_;
  std::map<std::string, std::string>
      names_;                  // of the functions of earlier calls, by the calls' ids
  size_t argument_bytes_ = 0;  // of all calls
  size_t media_ = 0;
};

}  // namespace

std::vector<Message> read_messages(const io::Json& list, const RequestContext& context) {
  return MessageReader(context).read(list);
}

}  // namespace tessera::serve

// `tessera tokenize`: ids of text and text of ids, line by line, in order; prompts of
// conversations.
#include "cli/commands.h"
#include "core/error.h"
#include "core/strings.h"
#include "io/hub.h"
#include "io/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

#include <cstdio>
#include <iostream>
#include <iterator>

namespace tessera::cli {
namespace {

std::string one_line(const text::Tokenizer& tokenizer,
                     const TokenizeOptions& options,
                     const std::string& line,
                     uint64_t number) {
  const std::string where = fmt::format("line {}", number);
  if (!options.decode) {
    std::string content = line;
    if (options.json) {
      const io::Json value = io::parse_json(line, where);
      TESSERA_CHECK(value.is_string(), InvalidArgument, "{}: expected a JSON string, found {}",
                    where, value.type_name());
      content = value.get<std::string>();
    }
    const std::vector<int32_t> ids = tokenizer.encode(content, !options.no_special);
    if (options.json) {
      return io::Json(ids).dump();
    }
    std::string out;
    for (const int32_t id : ids) {
      out += (out.empty() ? "" : " ") + std::to_string(id);
    }
    return out;
  }
  // Ids come as a JSON list, or plainly with spaces between.
  std::string list = line;
  if (!options.json && trim(line).find('[') != 0) {
    list = "[" + join(split(trim(line), ' '), ",") + "]";
  }
  const io::Json value = io::parse_json(list, where);
  TESSERA_CHECK(value.is_array(), InvalidArgument, "{}: expected a JSON list of ids, found {}",
                where, value.type_name());
  std::vector<int32_t> ids;
  for (const io::Json& id : value) {
    TESSERA_CHECK(
        id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() <= INT32_MAX,
        InvalidArgument, "{}: '{}' is not an id", where, id.dump());
    ids.push_back(id.get<int32_t>());
  }
  const std::string content = tokenizer.decode(ids);
  return options.json ? io::Json(content).dump(-1, ' ', true, io::Json::error_handler_t::replace)
                      : content;
}

constexpr uint64_t kMaxChatFile = uint64_t{256} << 20;

/// A list of messages, or an object with more.
text::ChatRequest parse_chat(const io::OrderedJson& json) {
  text::ChatRequest request;
  if (!json.is_object()) {
    request.messages = json;
    return request;
  }
  for (const auto& [key, value] : json.items()) {
    if (key == "messages" || key == "tools" || key == "documents") {
      (key == "messages" ? request.messages
       : key == "tools"  ? request.tools
                         : request.documents) = value;
    } else if (key == "add_generation_prompt") {
      TESSERA_CHECK(value.is_boolean(), InvalidArgument, "{}: found {}, expected true or false",
                    key, value.dump());
      request.add_generation_prompt = value.get<bool>();
    } else if (key == "continue_final_message") {
      TESSERA_CHECK(value.is_boolean() || value.is_string(), InvalidArgument,
                    "{}: found {}, expected true, false or the name of a field", key, value.dump());
      if (value.is_string()) {
        request.continue_final_message = value.get<std::string>();
      } else if (value.get<bool>()) {
        request.continue_final_message = "content";
      }
    } else if (key == "template") {
      TESSERA_CHECK(value.is_string(), InvalidArgument, "{}: found {}, expected a name", key,
                    value.dump());
      request.name = value.get<std::string>();
    } else {
      request.extra[key] = value;
    }
  }
  return request;
}

/// The prompt of a conversation, or with --json its ids.
std::string chat_line(const TokenizeOptions& options) {
  const io::fs::path folder = io::resolve_model(options.model);
  const std::string source = options.chat == "-" ? "stdin" : options.chat;
  const std::string content =
      options.chat == "-"
          ? std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>())
          : io::read_file(options.chat, kMaxChatFile);
  const text::ChatRequest request = parse_chat(io::parse_ordered_json(content, source));
  const std::string prompt = text::ChatTemplate::from_folder(folder).render(request).text;
  return options.json ? io::Json(text::load_tokenizer(folder)->encode(prompt, false)).dump()
                      : prompt;
}

}  // namespace

int run_tokenize(const TokenizeOptions& options) {
  if (!options.chat.empty()) {
    TESSERA_CHECK(options.texts.empty() && !options.decode, InvalidArgument,
                  "--chat goes with neither --text nor --decode");
    const std::string out = chat_line(options) + "\n";
    TESSERA_CHECK(
        std::fwrite(out.data(), 1, out.size(), stdout) == out.size() && std::fflush(stdout) == 0,
        Io, "stdout: cannot be written");
    return 0;
  }
  const auto tokenizer = text::load_tokenizer(io::resolve_model(options.model));
  uint64_t number = 0;
  const auto print = [&](const std::string& line) {
    const std::string out = one_line(*tokenizer, options, line, ++number) + "\n";
    TESSERA_CHECK(std::fwrite(out.data(), 1, out.size(), stdout) == out.size(), Io,
                  "stdout: cannot be written");
  };
  if (!options.texts.empty()) {
    for (const std::string& content : options.texts) {
      print(options.json && !options.decode ? io::Json(content).dump() : content);
    }
  } else {
    for (std::string line; std::getline(std::cin, line);) {
      print(line);
    }
  }
  TESSERA_CHECK(std::fflush(stdout) == 0, Io, "stdout: cannot be written");
  return 0;
}

}  // namespace tessera::cli

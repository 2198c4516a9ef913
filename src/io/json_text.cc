// All scan the text once and build nothing.
#include "io/json_text.h"

#include "core/error.h"

#include <algorithm>
#include <vector>

namespace tessera::io {
namespace {

constexpr size_t kMaxMembers = 4096;

void check_members(std::string_view text, std::string_view source) {
  std::vector<size_t> members = {0};  // of the objects and arrays that are open
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      i = string_end(text, i) - 1;
    } else if (c == '{' || c == '[') {
      members.push_back(0);
    } else if ((c == '}' || c == ']') && members.size() > 1) {
      members.pop_back();
    } else if (c == ':') {
      TESSERA_CHECK(++members.back() <= kMaxMembers, CorruptFile,
                    "{}: an object with more than {} members", source, kMaxMembers);
    }
  }
}

}  // namespace

size_t string_end(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    at += text[at] == '\\' ? 1 : 0;
  }
  return std::min(at + 1, text.size());
}

OrderedJson parse_small_json(std::string_view text, std::string_view source) {
  check_members(text, source);
  return parse_ordered_json(text, source);
}

std::string_view member_text(std::string_view object, std::string_view name) {
  constexpr std::string_view kSpace = " \t\r\n";
  std::string_view found;
  std::string_view key;
  size_t value = 0;  // where the value of `key` begins
  int depth = 0;
  for (size_t at = 0; at < object.size();) {
    const char c = object[at];
    if (depth == 1 && (c == ',' || c == '}')) {
      if (value > 0 && key == name) {
        found = object.substr(value, object.find_last_not_of(kSpace, at - 1) + 1 - value);
      }
      value = 0;
    }
    depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
    if (c == '"') {
      const size_t end = string_end(object, at);
      if (depth == 1 && value == 0) {
        key = object.substr(at + 1, end - at - 2);
      }
      at = end;
      continue;
    }
    ++at;
    if (depth == 1 && c == ':') {
      value = std::min(object.find_first_not_of(kSpace, at), object.size());
    }
  }
  return found;
}

}  // namespace tessera::io

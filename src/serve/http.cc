// Requests apart from their sockets: headers, targets (RFC 3986, RFC 9110).
#include "serve/http.h"

#include <algorithm>
#include <cctype>

namespace tessera::serve {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Percent escapes, and "+" as a space in queries. Nothing for broken ones and for NUL.
std::optional<std::string> unescape(std::string_view text, bool query) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0 || (high == 0 && low == 0)) {
        return std::nullopt;
      }
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += query && text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  };
  for (const auto& [key, value] : headers) {
    if (std::equal(key.begin(), key.end(), name.begin(), name.end(), same)) {
      return value;
    }
  }
  return {};
}

bool parse_target(std::string_view target, HttpRequest& request) {
  if (target.empty() || target.front() != '/' ||
      std::any_of(target.begin(), target.end(), [](unsigned char c) { return c <= ' '; })) {
    return false;
  }
  const size_t mark = std::min(target.find('?'), target.size());
  std::optional<std::string> path = unescape(target.substr(0, mark), false);
  if (!path.has_value()) {
    return false;
  }
  request.path = std::move(*path);
  for (size_t begin = mark + 1; begin < target.size();) {
    const size_t end = std::min(target.find('&', begin), target.size());
    const std::string_view item = target.substr(begin, end - begin);
    const size_t equals = std::min(item.find('='), item.size());
    std::optional<std::string> key = unescape(item.substr(0, equals), true);
    std::optional<std::string> value =
        unescape(item.substr(std::min(equals + 1, item.size())), true);
    if (!key.has_value() || !value.has_value()) {
      return false;
    }
    request.query.insert_or_assign(std::move(*key), std::move(*value));
    begin = end + 1;
  }
  return true;
}

std::string_view http_reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    default:
      return "";
  }
}

}  // namespace tessera::serve

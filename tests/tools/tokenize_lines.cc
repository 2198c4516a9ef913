// Test tool: JSON strings on stdin, one a line, to lists of ids; with --decode the other way round.
//   tokenize_lines FOLDER [--decode] < lines
#include "core/error.h"
#include "io/json.h"
#include "text/tokenizer.h"

#include <cstdio>
#include <iostream>
#include <string>

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: tokenize_lines FOLDER [--decode] < lines\n", stderr);
    return 2;
  }
  try {
    const auto tokenizer = tessera::text::load_tokenizer(argv[1]);
    const bool decode = argc > 2 && std::string_view(argv[2]) == "--decode";
    std::string line;
    while (std::getline(std::cin, line)) {
      const auto json = tessera::io::parse_json(line, "stdin");
      const tessera::io::Json out =
          decode ? tessera::io::Json(tokenizer->decode(json.get<std::vector<int32_t>>()))
                 : tessera::io::Json(tokenizer->encode(json.get<std::string>()));
      std::cout << out.dump() << '\n';
    }
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
  return 0;
}

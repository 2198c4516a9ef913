// Continues prompts with a language model:
//
//   generate-example MODEL PROMPT...
//
// One prompt is streamed; several are continued together. An installed tessera builds it with
//
//   g++ -std=c++20 generate.cc -IPREFIX/include PREFIX/lib/tessera/libtessera.so
//     -Wl,-rpath,PREFIX/lib/tessera -Wl,-rpath-link,PREFIX/lib/tessera
#include <tessera/generate.h>

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s MODEL PROMPT...\n", argv[0]);
    return 2;
  }
  try {
    tessera::Generator model(argv[1]);
    tessera::GenerateSettings settings;
    settings.max_new_tokens = 32;
    settings.greedy = true;
    if (argc == 3) {
      const tessera::Generated reply =
          model.generate(argv[2], settings, [](std::string_view piece) {
            std::fwrite(piece.data(), 1, piece.size(), stdout);
            std::fflush(stdout);
            return true;  // false would end the reply here
          });
      std::printf("\n");
      std::fprintf(stderr, "%zu tokens, finished by %s\n", reply.ids.size(), reply.reason.c_str());
    } else {
      for (const tessera::Generated& reply :
           model.generate_all({argv + 2, argv + argc}, settings)) {
        std::printf("%s\n", reply.text.c_str());
      }
    }
    // The same settings with a form that the text must have.
    settings.json_schema = R"({"type": "array", "items": {"type": "integer"}, "maxItems": 3})";
    std::printf("%s\n", model.generate(argv[2], settings).text.c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
